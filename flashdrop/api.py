"""Decorators that every JSON endpoint shares."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from flashdrop.errors import plain_error
from flashdrop.lean import hot
from flashdrop.ratelimit import limited

AsyncView = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def allow(*methods: str) -> Callable[[AsyncView], AsyncView]:
    """Answer any other method with 405 and `Allow`. HEAD comes with GET."""
    allowed = (*methods, "HEAD") if "GET" in methods else methods

    def decorate(view: AsyncView) -> AsyncView:
        @wraps(view)
        async def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method not in allowed:
                return method_not_allowed(request, allowed)
            return await view(request, *args, **kwargs)

        return checked

    return decorate


def by_method(**views: AsyncView) -> AsyncView:
    """One URL, one view for each method: `by_method(GET=listing, POST=place)`."""
    allowed = (*views, "HEAD") if "GET" in views else tuple(views)

    async def dispatch(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        view = views.get("GET" if request.method == "HEAD" else request.method or "")
        if view is None:
            return method_not_allowed(request, allowed)
        return await view(request, *args, **kwargs)

    return hot(dispatch)


def method_not_allowed(request: HttpRequest, allowed: tuple[str, ...]) -> HttpResponse:
    response = plain_error(request.path, 405, "METHOD_NOT_ALLOWED", "This address does not take that method.")
    response.headers["Allow"] = ", ".join(allowed)
    return response


def page(*methods: str) -> Callable[[AsyncView], AsyncView]:
    """A hot page for `methods`."""

    def decorate(view: AsyncView) -> AsyncView:
        return hot(allow(*methods)(view))

    return decorate


def api(*methods: str) -> Callable[[AsyncView], AsyncView]:
    """A hot, rate-limited JSON endpoint for `methods`."""

    def decorate(view: AsyncView) -> AsyncView:
        return hot(allow(*methods)(limited(view)))

    return decorate
