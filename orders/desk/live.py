"""The live view of a sale: a page, and the figures that it asks for once a second.

The figures are a hot view: Django's middleware would cost more than all else, and many people watch an opening.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse

from flashdrop import loops
from flashdrop.api import page
from flashdrop.envelope import encode
from flashdrop.prepared import Prepared
from flashdrop.responses import Head, LeanResponse
from orders.desk.figures import Figures, lookout
from orders.desk.telling import told
from sales import permissions
from sales.desk.access import SignedOut, admits
from sales.desk.page import desk_page, frame, may
from sales.models import Sale

JSON, UNCACHED = "application/json", "private, no-store"
SIGN_IN, FORBIDDEN = (Head(status, {"Content-Type": JSON, "Cache-Control": UNCACHED}) for status in (401, 403))


@desk_page("desk:live")
def live(request: HttpRequest, sale: Sale) -> HttpResponseBase:
    """The page, with the figures of this moment."""
    figures = loops.run(lambda: lookout().look(sale.pk))
    control_url = _control_url(sale) if may(request, permissions.CONTROL) else None
    more: dict[str, Any] = {"live": told(figures), "control_url": control_url}
    return render(request, "desk/live.html", frame(request, "Live", sale, tab="live", **more))


@page("GET")
async def live_data(request: HttpRequest, sale_id: str) -> HttpResponse:
    """The same figures as JSON; at most a second old, the same for everybody."""
    try:
        if not await admits(request, "desk:live_data"):
            return LeanResponse(FORBIDDEN, b'{"code":"FORBIDDEN"}')
    except SignedOut:
        return LeanResponse(SIGN_IN, b'{"code":"UNAUTHORIZED"}')
    return _prepared(await lookout().look(sale_id)).response(request)


@lru_cache(16)
def _prepared(figures: Figures) -> Prepared:
    """Written and packed once for everybody."""
    return Prepared(encode(told(figures)), JSON, UNCACHED)


def _control_url(sale: Sale) -> str | None:
    try:
        return reverse("desk:control", args=[sale.pk])
    except NoReverseMatch:
        return None
