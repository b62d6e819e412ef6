"""The lean door: an ASGI handler for the few hot URLs.

It runs ordinary Django async views and leaves out what costs thread hops: synchronous middleware, the request signals,
`response.close` in a thread, and the building of META before anyone asks. Routing is Django's own resolver, remembered
in a dictionary. Views opt in with `@hot`; every other URL goes to the stock handler. Both doors lead to the same room:
`flashdrop/tests/test_lean.py` compares their answers.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from functools import cached_property
from typing import Any, TypeVar

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponseBase
from django.http.cookie import parse_cookie
from django.http.multipartparser import MultiPartParserError
from django.http.request import HttpHeaders, validate_host
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils.datastructures import CaseInsensitiveMapping

from flashdrop import metrics
from flashdrop.config import config
from flashdrop.errors import bad_host, bad_request, payload_too_large, server_error
from flashdrop.prepared import SECURITY_HEADERS_RAW, PreparedResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
View = TypeVar("View", bound=Callable[..., Coroutine[Any, Any, HttpResponseBase]])

MAX_BODY_BYTES = 16 * 1024
MAX_REMEMBERED_PATHS = 4096
MAX_REMEMBERED_PATH_LENGTH = 256
MAX_REMEMBERED_HOSTS = 256
log = logging.getLogger(__name__)


def hot(view: View) -> View:
    """Mark an async view for the lean door.

    Such a view needs no session, no user, no messages and no ORM, reads a body of at most `MAX_BODY_BYTES`, and judges
    cross-site requests itself.
    """
    view.hot = True  # type: ignore[attr-defined]
    view.csrf_exempt = True  # type: ignore[attr-defined]
    return view


class LeanRequest(ASGIRequest):
    """An `ASGIRequest` that parses nothing until it is asked."""

    def __init__(self, scope: Scope, body: bytes) -> None:
        # Not calling the base is the point: __getattr__ does it for the rare reader of META.
        self.scope = scope
        self.path = self.path_info = scope["path"]
        self.method = scope["method"].upper()
        self._lean_body = body

    def __getattr__(self, name: str) -> Any:
        """Reached only for what is not there yet: build the whole request, once."""
        if "META" in self.__dict__ or name.startswith("__"):
            raise AttributeError(name)
        ASGIRequest.__init__(self, self.scope, io.BytesIO(self._lean_body))
        if name in self.__dict__:
            return self.__dict__[name]
        raise AttributeError(name)

    @cached_property
    def headers(self) -> HttpHeaders:
        raw = self.scope["headers"]
        found = {name.decode("latin1"): value.decode("latin1") for name, value in raw}
        if len(found) < len(raw):  # a repeated header: let Django join them
            return HttpHeaders(self.META)
        return CaseInsensitiveMapping(found)  # type: ignore[return-value]

    @property
    def body(self) -> bytes:
        return self._lean_body

    @cached_property
    def COOKIES(self) -> dict[str, str]:  # type: ignore[override]  # noqa: N802
        return parse_cookie(self.headers.get("cookie", ""))


class BodyTooLarge(Exception):
    """The request's body is over `MAX_BODY_BYTES`."""


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class LeanHandler:
    """Serves views marked `@hot`; hands everything else to `fallback`."""

    def __init__(self, fallback: AsgiApp) -> None:
        self._fallback = fallback
        self._routes: dict[str, ResolverMatch] = {}
        self._hosts: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = self._routes.get(scope["path"]) or self._resolve(scope["path"])
        if match is None or scope.get("root_path"):
            await self._fallback(scope, receive, send)
            return
        started = time.perf_counter()
        try:
            response = await self._answer(match, scope, receive)
        except ClientGone:
            return
        status = response.status_code
        if isinstance(response, PreparedResponse):
            start, body = response.messages()
        else:
            start, body = _messages(response)
        metrics.observe_request(match.route, scope["method"], status, time.perf_counter() - started)
        await send(start)
        await send(body)

    def _resolve(self, path: str) -> ResolverMatch | None:
        try:
            match = resolve(path)
        except Resolver404:
            return None
        if not getattr(match.func, "hot", False):
            return None
        if len(self._routes) >= MAX_REMEMBERED_PATHS:
            self._routes.clear()
        if len(path) <= MAX_REMEMBERED_PATH_LENGTH:
            self._routes[path] = match
        return match

    async def _answer(self, match: ResolverMatch, scope: Scope, receive: Receive) -> HttpResponseBase:
        request: HttpRequest | None = None
        try:
            if not self._host_allowed(scope):
                return bad_host(scope["path"])
            body = b"" if scope["method"] in ("GET", "HEAD") else await read_body(scope, receive)
            request = LeanRequest(scope, body)
            response: HttpResponseBase = await match.func(request, **match.kwargs)
            return response
        except BodyTooLarge:
            return payload_too_large(scope["path"])
        except (UnicodeDecodeError, BadRequest, SuspiciousOperation, MultiPartParserError):
            return bad_request(scope["path"])
        except ClientGone:
            raise
        except Exception:
            log.exception("%s %s failed", scope["method"], match.route)
            return server_error(request, scope["path"])

    def _host_allowed(self, scope: Scope) -> bool:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return False
        (value,) = hosts
        if value in self._hosts:
            return True
        allowed = list(config.allowed_hosts)
        host = value.decode("latin1").lower()
        domain = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
        if not validate_host(domain.removesuffix("."), allowed):
            return False
        if len(self._hosts) < MAX_REMEMBERED_HOSTS:
            self._hosts.add(value)
        return True


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole request body.

    Raises:
        BodyTooLarge: it is over `MAX_BODY_BYTES`; the rest is not read.
        ClientGone: the client left first.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise BodyTooLarge
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def _messages(response: HttpResponseBase) -> tuple[dict[str, Any], dict[str, Any]]:
    content: bytes = response.content  # type: ignore[attr-defined]
    headers = [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    headers += [(b"set-cookie", morsel.OutputString().encode("ascii")) for morsel in response.cookies.values()]
    if "Content-Length" not in response.headers:
        headers.append((b"content-length", str(len(content)).encode("ascii")))
    start = {
        "type": "http.response.start",
        "status": response.status_code,
        "headers": headers + SECURITY_HEADERS_RAW,
    }
    return start, {"type": "http.response.body", "body": content}
