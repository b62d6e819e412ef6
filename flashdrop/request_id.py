"""`X-Request-ID`: one name for a request in the logs of everybody it passes. Taken from the client, given back to it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

HEADER = "X-Request-ID"
RAW_HEADER = b"x-request-id"
# What others make up (UUIDs, ULIDs, trace ids), and nothing that could break a log line or a header.
ACCEPTED = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is being answered; empty outside of one."""


def given(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The client's, if it sent one that can be used."""
    for name, value in headers:
        if name == RAW_HEADER:
            return value if ACCEPTED.fullmatch(value) else None
    return None


def new() -> bytes:
    """One of our own."""
    return secrets.token_hex(8).encode()


class RequestIdMiddleware:
    """The same for what the stock handler answers; the fast doors do it themselves."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._async(request)
        name = _remember(request)
        response = self.get_response(request)
        assert isinstance(response, HttpResponseBase)
        response.headers.setdefault(HEADER, name)
        return response

    async def _async(self, request: HttpRequest) -> HttpResponseBase:
        name = _remember(request)
        found = self.get_response(request)
        assert not isinstance(found, HttpResponseBase)
        response = await found
        response.headers.setdefault(HEADER, name)
        return response


def _remember(request: HttpRequest) -> str:
    sent = request.headers.get(HEADER, "").encode("latin-1", "replace")
    name = (sent if ACCEPTED.fullmatch(sent) else new()).decode("ascii")
    request_id.set(name)
    return name
