"""The wire: uvicorn's HTTP protocol, with a shorter way for hot requests.

Through ASGI a request costs a task, an event, a cycle object and two messages before any view runs: as much again as
the view. Here a plain request for a hot view (HTTP/1.1, kept alive, a small body of known length) goes from the parser
straight to the lean handler's view, and the answer is one write. A view that needs nothing but memory runs without a
task. Everything else takes uvicorn's own way: other views, upgrades, pipelined requests behind one under way, chunked
bodies, `Expect`, HTTP/1.0, a client that does not read. Measured in docs/decisions/0006-a-shorter-way-to-hot-views.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from django.http import HttpResponseBase

from flashdrop.config import config
from flashdrop.headers import must_become_https
from flashdrop.lean import MAX_BODY_BYTES, LeanHandler, LeanRequest, Route, observe
from flashdrop.proxies import PROXY_FIELDS, is_trusted
from flashdrop.request_id import given, header_line, remember
from flashdrop.responses import as_wire
from flashdrop.wire_limits import NEVER, BoundedProtocol

BUSY = NEVER
LAST_ANSWER = b"connection: close\r\n"
# How long a proxy may go on using the connections it holds to a worker that drains. Longer than it keeps an idle one
# (deploy/nginx/upstream.conf: 4 s), so that it is the proxy who closes them, never we while it sends a request.
LINGER_SECONDS = 6.0
log = logging.getLogger(__name__)


class HotCycle:
    """A hot request under way, with what uvicorn's protocol asks of the request it is busy with."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self) -> None:
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.message_event = _NOBODY_WAITS


class _NobodyWaits:
    def set(self) -> None:
        """The body was complete before the view began: nobody waits for more of it."""


_NOBODY_WAITS = _NobodyWaits()


class WireProtocol(BoundedProtocol):
    """One connection. Its application's HTTP handler must be a `LeanHandler`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lean: LeanHandler = self.app.application_mapping["http"]
        self._route: Route | None = None
        self._body: list[bytes] = []
        self._busy_with = HotCycle()
        self._idle_since = 0.0
        self._is_draining = False
        self._is_proxy = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_proxy = is_trusted(self.client[0] if self.client else None)

    def shutdown(self) -> None:
        """The server stops: the answer under way is the last. Behind a proxy an idle connection is good for one more.

        Closed at once, it could cross with a request that the proxy has just sent, and must not send again.
        """
        if not config.trusted_proxy_count:
            super().shutdown()
        elif not self._is_draining:
            self._is_draining = True
            if self.cycle is not None:
                self.cycle.keep_alive = False
            self.loop.call_later(LINGER_SECONDS, super().shutdown)

    # The parser's callbacks, in the order in which they come.

    def on_message_begin(self) -> None:
        self.begin_request()
        self._route = None
        self._idle_since = BUSY  # also when it follows another request in one segment

    def on_headers_complete(self) -> None:
        if not self.head_is_read():
            return
        self._route = self._hot_route()
        if self._route is not None:
            self._body = []
            if not self._route.is_at_once:
                # Busy from now on: at shutdown the rest of the body is waited for.
                self._busy_with = self.cycle = self._reading_for = HotCycle()  # type: ignore[assignment]
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        self.drop_what_follows()
        if self._is_draining and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        if self._route is None:
            super().on_body(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if not self.end_request():
            return
        if self._route is None:
            super().on_message_complete()
        else:
            self._answer(self._route)

    # The shorter way.

    def _hot_route(self) -> Route | None:
        """The hot view that this request is for, when it may take the shorter way."""
        parser = self.parser
        if (
            (self.cycle is not None and not self.cycle.response_complete)
            or self.flow.write_paused
            or self._is_draining
            or self.expect_100_continue
            or self.root_path
            or parser.get_http_version() != "1.1"
            or not parser.should_keep_alive()
            or self._is_handshake
        ):
            return None
        headers = dict(self.headers)
        host = headers.get(b"host")
        if not self._is_proxy and not PROXY_FIELDS.isdisjoint(headers):
            return None  # the lean handler drops them
        if len(headers) != len(self.headers) or host is None or not self._lean.is_host_allowed(host):
            return None
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or len(length) > 5 or int(length) > MAX_BODY_BYTES:
            return None
        method = parser.get_method()
        if method != b"POST" and (method != b"GET" or length != b"0"):
            return None
        path = self.url.partition(b"?")[0]
        # A path that has to be decoded, or that is not one, is uvicorn's to understand.
        if not path.startswith(b"/") or not path.isascii() or b"%" in path or b"#" in self.url:
            return None
        text = path.decode("ascii")
        return None if must_become_https(self.headers, text) else self._lean.route(text)

    def _answer(self, route: Route) -> None:
        started = time.perf_counter()
        path, _, query = self.url.partition(b"?")
        scope = {
            "type": "http",
            "method": self.parser.get_method().decode("ascii"),
            "path": path.decode("ascii"),
            "query_string": query,
            "headers": self.headers,
            "client": self.client,
            "server": self.server,
            "scheme": self.scheme,
            "http_version": "1.1",
        }
        body, self._body = b"".join(self._body), []
        request = LeanRequest(scope, body)
        name = given(self.headers)
        if route.is_at_once:
            response = self._lean.respond_at_once(route, request)
            if response is not None:
                self._write(route, request, response, started, header_line(name))
                self.on_response_complete()
                return
            self._busy_with = self.cycle = HotCycle()  # type: ignore[assignment]
        task = self.loop.create_task(self._respond(self._busy_with, route, request, started, name))
        self.tasks.add(task)

    async def _respond(
        self, cycle: HotCycle, route: Route, request: LeanRequest, started: float, name: bytes | None
    ) -> None:
        remember(name)
        try:
            response = await self._lean.respond(route, request)
        finally:
            self.tasks.discard(asyncio.current_task())
        cycle.response_complete = True
        if cycle.disconnected or self.transport.is_closing():
            observe(route, request.method or "", response.status_code, _since(started))
            return
        self._write(route, request, response, started, header_line(name) + (b"" if cycle.keep_alive else LAST_ANSWER))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _write(
        self, route: Route, request: LeanRequest, response: HttpResponseBase, started: float, lines: bytes = b""
    ) -> None:
        try:
            self.transport.write(as_wire(response, self._default_lines() + lines))
        except Exception:  # nobody would ever answer: the client had better know
            log.exception("%s %s: the response can't be sent", request.method, route.name)
            self.transport.close()
            return
        observe(route, request.method or "", response.status_code, _since(started))

    def _default_lines(self) -> bytes:
        """What uvicorn adds to each answer (Date), as lines; it renews them every second."""
        global _default_lines
        headers = self.server_state.default_headers
        if _default_lines[0] is not headers:
            _default_lines = (headers, b"".join(b"%b: %b\r\n" % header for header in headers))
        return _default_lines[1]

    # The keep-alive timer: one for a connection, which looks when it fires, instead of a new one with each request.

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = BUSY

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            self.feed_on()
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)
        self.feed_on()
        self.end_with_refusal()

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self.transport.is_closing():
            return
        idle_seconds = self.loop.time() - self._idle_since
        if idle_seconds >= self.timeout_keep_alive:
            self.transport.close()
        elif idle_seconds >= 0:
            self._look_again_in(self.timeout_keep_alive - idle_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)


_default_lines: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")


def _since(started: float) -> float:
    return time.perf_counter() - started
