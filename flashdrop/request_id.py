"""`X-Request-ID`: one name for a request in everybody's logs. Taken from the client, and given back to it."""

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


def remember(name: bytes | None) -> None:
    """From here on log lines name this request: as the client does, else by a name of our own."""
    request_id.set(name.decode("ascii") if name else secrets.token_hex(8))


def header_line(name: bytes | None) -> bytes:
    """The response's header on the wire; nothing for a request that came without a name."""
    return b"" if name is None else b"%b: %b\r\n" % (RAW_HEADER, name)


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
        name = _taken_from(request)
        response = self.get_response(request)
        assert isinstance(response, HttpResponseBase)
        return _given_back(response, name)

    async def _async(self, request: HttpRequest) -> HttpResponseBase:
        name = _taken_from(request)
        response = self.get_response(request)
        assert not isinstance(response, HttpResponseBase)
        return _given_back(await response, name)


def _taken_from(request: HttpRequest) -> bytes | None:
    sent = request.headers.get(HEADER, "").encode("latin-1", "replace")
    name = sent if ACCEPTED.fullmatch(sent) else None
    remember(name)
    return name


def _given_back(response: HttpResponseBase, name: bytes | None) -> HttpResponseBase:
    if name is not None:
        response.headers[HEADER] = name.decode("ascii")
    return response
