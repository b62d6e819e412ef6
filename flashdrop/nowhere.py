"""Addresses at which there is nothing: one cheap answer for all that scanners think of.

The stock handler would say the same after all its middleware and a database connection, at 45 times the cost of a page.
"""

from __future__ import annotations

from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, get_resolver, resolve

from flashdrop.errors import handler404

# What is counted for all of them.
NOWHERE = "nowhere"


async def nothing_here(request: HttpRequest) -> HttpResponse:
    """The 404, in the viewer's language or the API's envelope."""
    return handler404(request)


nothing_here.at_once = True  # type: ignore[attr-defined]


def begins_no_route(path: str) -> bool:
    """Whether a path needs no more looking up. While developing Django's own page explains what there is."""
    return path[1:].partition("/")[0] not in _beginnings() and not settings.DEBUG


def leads_nowhere(path: str) -> bool:
    """Whether a path without a route is not led on either: Django leads to what is there behind one slash more."""
    if settings.DEBUG:
        return False
    if path.endswith("/") or not settings.APPEND_SLASH:
        return True
    try:
        resolve(f"{path}/")
    except Resolver404:
        return True
    return False


@cache
def _beginnings() -> frozenset[str]:
    """The first parts of all routes; none of them is a variable (`test_nowhere`)."""
    return frozenset(str(pattern.pattern).partition("/")[0] for pattern in get_resolver().url_patterns)
