"""Bounds for one connection, and one reading of what comes over it: uvicorn's HTTP protocol without its open ends.

- A request is read in one way only. An offer to speak another protocol (`Upgrade: h2c`) is ignored and the body read
  as announced (RFC 9110, 7.8); what follows a body is no header (6.5.1); what can't be read is answered behind the
  answers that are due, and ends the connection.
- Time: a head, a body and a client that reads nothing have deadlines. A proxy in front waits longer for a request's
  answer, and never takes a client's silence for ours.
- Memory: a row of requests is parsed as far as there is room in it; the rest waits as it came, and no more is read.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from flashdrop.large_forms import LARGEST

NEVER = float("inf")
# From its first byte to its last; nginx (deploy/nginx/nginx.conf) sends both at once, and waits 30 s for the answer.
HEAD_SECONDS = 10.0
BODY_SECONDS = 20.0
# A proxy that keeps an export for a slow client takes no more of it for minutes.
UNREAD_SECONDS = 300.0
# nginx lets 32 KiB of headers pass.
MAX_HEAD_BYTES = 40 * 1024
MAX_REQUEST_BYTES = LARGEST + 1024 * 1024  # the back office's largest form, and what travels around it
MAX_ROW = 16  # requests that wait behind one under way; browsers send none like that, and proxies neither
# Parsed in one go: at most a hundred small requests.
PIECE_BYTES = 4096
# After the last answer what still comes is read and dropped: closed at once, the kernel would reset the connection, and
# the client might never see the answer.
LINGER_SECONDS = 0.5
SOCKET_PREFIX = b"/ws/"
UPGRADE_FIELDS = (b"upgrade", b"http2-settings")


class _Nowhere(list[Any]):
    """Takes headers that come behind a body, and keeps none."""

    def append(self, item: Any) -> None:
        pass


_NOWHERE = _Nowhere()


class HoldingFlow(FlowControl):
    """Reads no further while something that was read waits to be parsed."""

    holds = False

    def resume_reading(self) -> None:
        if not self.holds:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Subclasses begin and end a request with `begin_request`, `head_is_read` and `end_request`."""

    flow: HoldingFlow

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held = b""
        self._is_feeding = False
        self._is_over = False
        self._refusal: bytes | None = None
        self._is_reading = self._in_head = False
        self._is_handshake = self._ignores_offer = False
        self._request_bytes = self._idle_bytes = 0
        self._reading_for: Any = None
        self._due = self._unread_until = NEVER
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = HoldingFlow(transport)
        self._is_due_in(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._held = b""
        self._stop_watching()

    # What one request consists of.

    def begin_request(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._reading_for = None
        self._is_reading = self._in_head = True
        self._request_bytes = self._idle_bytes = 0

    def head_is_read(self) -> bool:
        """Whether the request may be judged; one that offers another protocol is first read anew without the offer."""
        self._in_head = False
        self._due = NEVER
        if not self.parser.should_upgrade():
            return True
        if self.parser.get_method() == b"CONNECT":
            raise httptools.HttpParserError("we are no proxy")
        self._is_handshake = self._asks_for_a_socket()
        self._ignores_offer = not self._is_handshake
        return self._is_handshake

    def drop_what_follows(self) -> None:
        """From here on no header counts any more; what comes is the body for the newest cycle."""
        self.headers = _NOWHERE
        self._reading_for = self.cycle

    def end_request(self) -> bool:
        """Whether it is complete; false for one that is to be read anew."""
        self._is_reading = False
        self._due = NEVER
        return not self._ignores_offer

    @property
    def is_busy(self) -> bool:
        """Whether an answer is still due."""
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _asks_for_a_socket(self) -> bool:
        """Below one path only, as in nginx.conf; behind an answer that is due there is no room for another protocol."""
        offers = [value.strip().lower() for name, value in self.headers if name == b"upgrade"]
        return (
            offers == [b"websocket"]
            and self.url.startswith(SOCKET_PREFIX)
            and self.parser.get_http_version() == "1.1"
            and not self.is_busy
        )

    def _should_upgrade(self) -> bool:
        return self._is_handshake

    def _head_without_offer(self) -> bytes:
        parser = self.parser
        lines = [b"%b %b HTTP/%b" % (parser.get_method(), self.url, parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                value = b", ".join(option for option in options if option.lower() not in UPGRADE_FIELDS)  # noqa: PLW2901
            if name not in UPGRADE_FIELDS and (value or name != b"connection"):
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    # Parsing.

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._is_over:
            return
        if self._held:
            self._hold(self._held + data)
            return
        self._feed(data)

    def feed_on(self) -> None:
        """Parse what waits, as far as there is room now."""
        if self._held and not self._is_feeding and len(self.pipeline) < MAX_ROW:
            held, self._held = self._held, b""
            self.flow.holds = False
            self._feed(held)
            if not self.is_busy:
                self.flow.resume_reading()

    def _feed(self, data: bytes) -> None:
        self._is_feeding = True
        try:
            while data and not self._is_over and not self.transport.is_closing():
                if len(self.pipeline) >= MAX_ROW:
                    self._hold(data)
                    return
                data = self._parse(data[:PIECE_BYTES]) + data[PIECE_BYTES:]
        finally:
            self._is_feeding = False
        if self._is_reading and self._due == NEVER and not self._is_over:
            self._is_due_in(HEAD_SECONDS if self._in_head else BODY_SECONDS)

    def _parse(self, piece: bytes) -> bytes:
        """What is left of it, and is to be parsed next."""
        self._idle_bytes += len(piece)  # until `on_body` sees something of the body
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as offer:
            if self._is_handshake:
                self._is_over = True
                self._stop_watching()
                self.handle_websocket_upgrade()
                return b""
            # The parser can't be told to read on as if nothing had been offered, so another one reads the head again.
            self._ignores_offer = False
            head = self._head_without_offer()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            return head + piece[offer.args[0] :]
        except httptools.HttpParserError:
            self.refuse(400, "Invalid HTTP request received.")
            return b""
        if self._is_reading:
            self._request_bytes += len(piece)
            if self._idle_bytes > MAX_HEAD_BYTES:  # a head, trailers, a chunk's extensions: the parser keeps these
                self.refuse(431, "The headers are too large.")
            elif self._request_bytes > MAX_REQUEST_BYTES:
                self.refuse(413, "The request is too large.")
        return b""

    def _hold(self, data: bytes) -> None:
        self._held = data
        self.flow.holds = True
        self.flow.pause_reading()

    # The end.

    def refuse(self, status: int, reason: str) -> None:
        """Answer a request that can't be read or is not complete, behind the answers that are due, and read no more."""
        self._is_over, self._held = True, b""
        headers = [*self.server_state.default_headers, (b"content-type", b"text/plain; charset=utf-8")]
        headers += [(b"content-length", b"%d" % len(reason)), (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self._refusal = b"%b%b\r\n%b" % (STATUS_LINE[status], lines, reason.encode())
        cycle = self._reading_for if self._is_reading else None
        if cycle is not None:  # its own body is what fails: nobody is going to answer it
            if self.pipeline and self.pipeline[0][0] is cycle:
                self.pipeline.popleft()
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_complete or getattr(cycle, "response_started", False):
                self._refusal = b""  # answered before the body had come: a second answer would be for nothing
        elif self.is_busy:
            return
        self.end_with_refusal()

    def end_with_refusal(self) -> None:
        """Say it, if there is something to say; and leave time to read it."""
        if self._refusal is None or self.transport.is_closing():
            return
        said, self._refusal = self._refusal, None
        self._due = NEVER  # who does not read stays watched
        self.flow.holds = False
        self.flow.resume_reading()
        farewell(self.transport, said, self.loop)

    # Deadlines: one timer, and only while there is something to wait for.

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_until = self.loop.time() + UNREAD_SECONDS
        self._look_by(self._unread_until)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_until = NEVER

    def _is_due_in(self, seconds: float) -> None:
        self._due = self.loop.time() + seconds
        self._look_by(self._due)

    def _look_by(self, when: float) -> None:
        if self._watch is not None:
            if self._watch.when() <= when:
                return
            self._watch.cancel()
        self._watch = self.loop.call_at(when, self._look)

    def _look(self) -> None:
        self._watch = None
        now = self.loop.time()
        if self.transport.is_closing() and self._unread_until == NEVER:
            return
        if now >= self._unread_until:
            self.transport.abort()
        elif now < self._due:
            if min(self._due, self._unread_until) < NEVER:
                self._look_by(min(self._due, self._unread_until))
        elif self.flow.read_paused:  # it is we who wait
            self._is_due_in(BODY_SECONDS)
        elif self._is_reading:
            self.refuse(408, "The request did not come in time.")
        else:
            self.transport.close()

    def _stop_watching(self) -> None:
        self._due = self._unread_until = NEVER
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


def farewell(transport: asyncio.Transport, said: bytes, loop: asyncio.AbstractEventLoop) -> None:
    """Write the last answer and end the connection, so that a client that still sends reads it."""
    transport.write(said)
    if transport.can_write_eof():
        transport.write_eof()
    loop.call_later(LINGER_SECONDS, transport.close)
