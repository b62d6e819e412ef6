"""Responses that cost little: a ready head, a body, and an `HttpResponse` only for whoever asks for one.

Building an `HttpResponse` takes longer than everything else a hot view does. The fast doors need only the bytes, so
`LeanResponse` keeps those and becomes an ordinary response when somebody looks inside: a middleware, a test, a view
that sets a cookie.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeGuard

from django.http import HttpResponse
from django.http.response import HttpResponseBase

from flashdrop.headers import SECURITY_HEADERS

RawHeaders = list[tuple[bytes, bytes]]
Messages = tuple[dict[str, Any], dict[str, Any]]
SECURITY_HEADERS_RAW: RawHeaders = [(n.lower().encode(), v.encode()) for n, v in SECURITY_HEADERS.items()]

# What `LeanResponse.__init__` sets.
AS_MADE = 3


def wire_head(status: int, headers: RawHeaders) -> bytes:
    """The status line and the headers, without the empty line that ends them."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()]
    lines += [b"%b: %b\r\n" % header for header in headers]
    return b"".join(lines)


class Head:
    """Status and headers of many answers, made once in each form a door needs.

    Args:
        status: the HTTP status.
        headers: without Content-Length, which each answer adds for itself; and without the security headers.
        has_body: false for a 304, which has no length to tell.
    """

    def __init__(self, status: int, headers: Mapping[str, str], *, has_body: bool = True) -> None:
        self.status = status
        self.headers = dict(headers)
        self.has_body = has_body
        self.raw = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        self.raw += SECURITY_HEADERS_RAW
        self.wire = wire_head(status, self.raw)


class LeanResponse(HttpResponse):
    """An `HttpResponse` that is only built out when somebody other than a fast door looks inside."""

    status_code: int

    def __init__(self, head: Head, body: bytes) -> None:
        # Not calling the base is the point: its headers and cookies are made in __getattr__, when asked for.
        self.head = head
        self.body = body
        self.status_code = head.status

    def __getattr__(self, name: str) -> Any:
        """Reached only for what is not there yet: build the ordinary response, once."""
        if "_resource_closers" in self.__dict__ or name.startswith("__"):
            raise AttributeError(name)
        HttpResponseBase.__init__(self, status=self.status_code, headers=self.head.headers)
        if "_container" not in self.__dict__:  # where somebody has put another content
            self.content = self.body
        return getattr(self, name)


def as_messages(response: HttpResponseBase) -> Messages:
    """The two ASGI messages of a response."""
    status, headers, content = _parts(response)
    start = {"type": "http.response.start", "status": status, "headers": headers}
    return start, {"type": "http.response.body", "body": content}


def as_wire(response: HttpResponseBase, more_headers: bytes) -> bytes:
    """The bytes of a response on the wire; `more_headers` are ready lines, each with its line end."""
    if is_lean(response):
        head, body = response.head, response.body
        if head.has_body:
            return b"%bcontent-length: %d\r\n%b\r\n%b" % (head.wire, len(body), more_headers, body)
        return b"%b%b\r\n" % (head.wire, more_headers)
    status, headers, content = _parts(response)
    return b"%b%b\r\n%b" % (wire_head(status, headers), more_headers, content)


def is_lean(response: HttpResponseBase) -> TypeGuard[LeanResponse]:
    """Whether the response is as it was made: nobody has looked inside or set anything."""
    return (
        isinstance(response, LeanResponse)
        and len(response.__dict__) == AS_MADE
        and response.status_code == response.head.status
    )


def _parts(response: HttpResponseBase) -> tuple[int, RawHeaders, bytes]:
    if is_lean(response):
        head, body = response.head, response.body
        length = [(b"content-length", b"%d" % len(body))] if head.has_body else []
        return head.status, head.raw + length, body
    content: bytes = response.content  # type: ignore[attr-defined]
    headers = [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    headers += [(b"set-cookie", morsel.OutputString().encode("ascii")) for morsel in response.cookies.values()]
    if "Content-Length" not in response.headers:
        headers.append((b"content-length", b"%d" % len(content)))
    return response.status_code, headers + SECURITY_HEADERS_RAW, content
