"""The lean door: an ASGI handler for the few hot URLs, and for those that do not exist.

It runs ordinary Django async views and leaves out what costs thread hops: synchronous middleware, the request signals,
`response.close` in a thread, and the building of META before anyone asks. Routing is Django's own resolver, remembered
in a dictionary. Views opt in with `@hot`; every other URL goes to the stock handler. `flashdrop/wire.py` is a still
shorter way to the same views. All doors lead to the same room: `flashdrop/tests/test_lean.py` and `test_wire.py`
compare their answers.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, MutableMapping
from typing import Any, TypeVar

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponseBase, QueryDict
from django.http.cookie import parse_cookie
from django.http.multipartparser import MultiPartParserError
from django.http.request import HttpHeaders, validate_host
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from django.utils.functional import cached_property  # without functools' lock, which costs more than most of these

from flashdrop import metrics
from flashdrop.config import config
from flashdrop.errors import bad_host, bad_request, payload_too_large, server_error
from flashdrop.headers import must_become_https
from flashdrop.lean_headers import LeanHeaders
from flashdrop.nowhere import NOWHERE, begins_no_route, leads_nowhere, nothing_here
from flashdrop.proxies import believed
from flashdrop.request_id import RAW_HEADER, given, remember
from flashdrop.responses import as_messages

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
View = TypeVar("View", bound=Callable[..., Coroutine[Any, Any, HttpResponseBase]])

MAX_BODY_BYTES = 16 * 1024
MAX_REMEMBERED_PATHS = 4096
MAX_REMEMBERED_PATH_LENGTH = 256
MAX_REMEMBERED_HOSTS = 256
SLOW_SECONDS = 1.0  # an answer that takes longer is worth a line in the log
# What is counted for the front page, whose route is empty: Prometheus takes an empty label for none.
HOME = "/"
log = logging.getLogger(__name__)


def hot(view: View) -> View:
    """Mark an async view for the lean door.

    Such a view needs no session, no user, no messages and no ORM, reads a body of at most `MAX_BODY_BYTES`, and judges
    cross-site requests itself.
    """
    view.hot = True  # type: ignore[attr-defined]
    view.csrf_exempt = True  # type: ignore[attr-defined]
    return view


def runs_at_once(view: View) -> View:
    """Mark a hot view for GET that needs nothing but memory, so that no task has to be made for it.

    It may still have to wait now and then (for the board's first look at the stores). It then gives way with
    `asyncio.sleep(0)` before anything that needs a task, and is run once more in one.
    """
    view.at_once = True  # type: ignore[attr-defined]
    return view


class Route:
    """A hot view with the arguments of one path, and what is counted of it."""

    __slots__ = ("is_at_once", "kwargs", "name", "view")

    def __init__(self, name: str, view: Callable[..., Coroutine[Any, Any, HttpResponseBase]], kwargs: Any) -> None:
        self.name = name
        self.view = view
        self.kwargs = kwargs
        self.is_at_once = getattr(view, "at_once", False)


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
        by_name = dict(raw)
        if len(by_name) < len(raw):  # a repeated header: let Django join them
            return HttpHeaders(self.META)
        return LeanHeaders(by_name)  # type: ignore[return-value]

    @property
    def body(self) -> bytes:
        return self._lean_body

    @cached_property
    def GET(self) -> QueryDict:  # type: ignore[override]  # noqa: N802
        return QueryDict(self.scope["query_string"].decode())

    @cached_property
    def POST(self) -> QueryDict:  # type: ignore[override]  # noqa: N802
        if self.method == "POST" and self.headers.get("Content-Type", "") == "application/x-www-form-urlencoded":
            return QueryDict(self._lean_body)
        self.META  # noqa: B018  # the whole request is needed: anything rarer is Django's to parse
        return self._get_post()  # type: ignore[no-any-return]

    @cached_property
    def COOKIES(self) -> dict[str, str]:  # type: ignore[override]  # noqa: N802
        return parse_cookie(self.headers.get("cookie", ""))


def observe(route: Route, method: str, status: int, seconds: float) -> None:
    """Count one answer, and say so where it took long."""
    metrics.observe_request(route.name, method, status, seconds)
    if seconds > SLOW_SECONDS:
        log.warning("slow answer", extra={"route": route.name, "method": method, "status": status, "seconds": seconds})


class BodyTooLarge(Exception):
    """The request's body is over `MAX_BODY_BYTES`."""


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class LeanHandler:
    """Serves views marked `@hot`; hands everything else to `fallback`."""

    def __init__(self, fallback: AsgiApp) -> None:
        self._fallback = fallback
        self._routes: dict[str, Route] = {}
        self._hosts: set[bytes] = set()
        self._nowhere = Route(NOWHERE, nothing_here, {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"] = believed(scope["headers"], peer_of(scope))
        route = self.route(scope["path"])
        if route is None or scope.get("root_path") or must_become_https(scope["headers"], scope["path"]):
            await self._fallback(scope, receive, send)
            return
        started = time.perf_counter()
        name = given(scope["headers"])
        remember(name)
        try:
            response = await self._checked(route, scope, receive)
        except ClientGone:
            return
        start, body = as_messages(response)
        if name is not None:
            start["headers"] = [*start["headers"], (RAW_HEADER, name)]
        observe(route, scope["method"], response.status_code, time.perf_counter() - started)
        await send(start)
        await send(body)

    def route(self, path: str) -> Route | None:
        """The hot view behind a path, or the one for paths without any; None where it is the stock handler's."""
        known = self._routes.get(path)
        if known is not None:
            return known
        if begins_no_route(path):
            return self._nowhere
        try:
            match = resolve(path)
        except Resolver404:
            return self._nowhere if leads_nowhere(path) else None
        if not getattr(match.func, "hot", False):
            return None
        route = Route(match.route or HOME, match.func, match.kwargs)
        if len(self._routes) >= MAX_REMEMBERED_PATHS:
            self._routes.clear()
        if len(path) <= MAX_REMEMBERED_PATH_LENGTH:
            self._routes[path] = route
        return route

    async def respond(self, route: Route, request: LeanRequest) -> HttpResponseBase:
        """The view's response, or the answer to what went wrong in it."""
        try:
            return await route.view(request, **route.kwargs)
        except Exception as error:
            return self._failure(error, route, request)

    def respond_at_once(self, route: Route, request: LeanRequest) -> HttpResponseBase | None:
        """The response of a view marked `@runs_at_once`, run right here; None when it has to wait after all."""
        coroutine = route.view(request, **route.kwargs)
        try:
            coroutine.send(None)
        except StopIteration as done:
            response: HttpResponseBase = done.value
            return response
        except Exception as error:
            return self._failure(error, route, request)
        coroutine.close()
        return None

    async def _checked(self, route: Route, scope: Scope, receive: Receive) -> HttpResponseBase:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self.is_host_allowed(hosts[0]):
            return bad_host(LeanRequest(scope, b""))
        try:
            is_without = scope["method"] in ("GET", "HEAD") or route is self._nowhere
            body = b"" if is_without else await read_body(scope, receive)
        except BodyTooLarge:
            return payload_too_large(LeanRequest(scope, b""))
        return await self.respond(route, LeanRequest(scope, body))

    def _failure(self, error: Exception, route: Route, request: LeanRequest) -> HttpResponseBase:
        if isinstance(error, (UnicodeDecodeError, BadRequest, SuspiciousOperation, MultiPartParserError)):
            return bad_request(request)
        log.error("%s %s failed", request.method, route.name, exc_info=error)
        return server_error(request)

    def is_host_allowed(self, value: bytes) -> bool:
        """Whether a `Host` names this shop."""
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


def peer_of(scope: Scope) -> str | None:
    """The address of who is at the other end of the connection."""
    client = scope.get("client")
    return str(client[0]) if client else None


def hot_routes(patterns: Iterable[URLPattern | URLResolver] | None = None, prefix: str = "") -> Iterator[str]:
    """The routes of every hot view of the URLconf, as they are counted."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from hot_routes(pattern.url_patterns, route)
        elif getattr(pattern.callback, "hot", False):
            yield route or HOME


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
