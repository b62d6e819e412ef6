"""Requests whose text no database can hold are refused at the door: PostgreSQL takes no NUL, in any value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.http.request import QueryDict
from django.utils.decorators import sync_and_async_middleware

from flashdrop.errors import bad_request

NUL = "\0"
Answer = HttpResponseBase | Awaitable[HttpResponseBase]


def holds_nul(request: HttpRequest) -> bool:
    """Whether there is one in the path, in a parameter of the address or of a form, or in a cookie (as an escape)."""
    return (
        NUL in request.path_info
        or _in_any(request.GET)
        or _in_any(request.POST)
        or any(NUL in value for value in request.COOKIES.values())
    )


@sync_and_async_middleware
def refuse_nul(get_response: Callable[[HttpRequest], Answer]) -> Callable[[HttpRequest], Answer]:
    """Middleware: 400 for what `holds_nul`, before anything asks the database about it."""
    if iscoroutinefunction(get_response):

        async def refuse(request: HttpRequest) -> HttpResponseBase:
            answer = bad_request(request) if holds_nul(request) else get_response(request)
            return answer if isinstance(answer, HttpResponseBase) else await answer

        return refuse
    return lambda request: bad_request(request) if holds_nul(request) else get_response(request)


def _in_any(given: QueryDict) -> bool:
    return any(NUL in name or any(NUL in value for value in values) for name, values in given.lists())
