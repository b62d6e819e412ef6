"""Decorators that every JSON endpoint shares."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext_noop as _

from flashdrop.config import config
from flashdrop.errors import plain_error
from flashdrop.lean import hot, runs_at_once
from flashdrop.ratelimit import limited

AsyncView = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def allow(*methods: str) -> Callable[[AsyncView], AsyncView]:
    """Answer any other method with 405 and `Allow`. HEAD comes with GET."""
    allowed = (*methods, "HEAD") if "GET" in methods else methods

    def decorate(view: AsyncView) -> AsyncView:
        # Hands on the view's own coroutine instead of awaiting it in one more.
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, HttpResponseBase]:
            if request.method not in allowed:
                return method_not_allowed(request, allowed)
            return view(request, *args, **kwargs)

        return markcoroutinefunction(checked)

    return decorate


def by_method(**views: AsyncView) -> AsyncView:
    """One URL, one view for each method: `by_method(GET=listing, POST=place)`."""
    allowed = (*views, "HEAD") if "GET" in views else tuple(views)

    def dispatch(request: HttpRequest, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, HttpResponseBase]:
        view = views.get("GET" if request.method == "HEAD" else request.method or "")
        if view is None:
            return method_not_allowed(request, allowed)
        return view(request, *args, **kwargs)

    return hot(markcoroutinefunction(dispatch))


async def method_not_allowed(request: HttpRequest, allowed: tuple[str, ...]) -> HttpResponse:
    response = plain_error(request, 405, "METHOD_NOT_ALLOWED", _("This address does not take that method."))
    response.headers["Allow"] = ", ".join(allowed)
    return response


def page(*methods: str, at_once: bool = False) -> Callable[[AsyncView], AsyncView]:
    """A hot page for `methods`; `at_once`: see `flashdrop.lean.runs_at_once`."""

    def decorate(view: AsyncView) -> AsyncView:
        found = hot(allow(*methods)(view))
        return runs_at_once(found) if at_once else found

    return decorate


def api(*methods: str, at_once: bool = False) -> Callable[[AsyncView], AsyncView]:
    """A hot, rate-limited JSON endpoint for `methods`; `at_once` as in `page`, while the limiter is off."""

    def decorate(view: AsyncView) -> AsyncView:
        found = hot(allow(*methods)(limited(view)))
        return runs_at_once(found) if at_once and not config.rate_limiter_enabled else found

    return decorate
