"""Websockets that take ready frames: uvicorn's protocol with a way past ASGI for what is sent to everybody.

Through ASGI each text is encoded, framed and written once for each connection, behind two coroutines and a check of
the connection's state: three quarters of the cost of telling ten thousand viewers. A consumer finds `push` in its
scope's extensions; under another server there is none, and it sends as usual.

A client costs what a viewer costs, whatever it sends: a handshake that can't be read, or that takes too long, is
answered and ends; what waits for a client that does not read, unread messages and the parts of one are bounded.
"""

from __future__ import annotations

from asyncio import BaseTransport
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame, Opcode

from flashdrop.wire_limits import PIECE_BYTES, farewell

EXTENSION = "flashdrop.push"
HANDSHAKE_SECONDS = 5.0
GOODBYE_SECONDS = 5.0
# A viewer's banner is 2 KB; what waits beyond this are answers to pings that nobody reads.
MAX_UNREAD_BYTES = 64 * 1024
# Viewers have nothing to say, but may try.
MAX_WAITING_MESSAGES = 16
MAX_FRAGMENTS = 16


def text_frame(text: str) -> bytes:
    """A whole text message as a server sends it: one frame, not masked."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class PushingProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._is_over = False
        self._deadline = self.loop.call_later(HANDSHAKE_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # The handshake comes as a whole, from the protocol that has read it. After it a little at a time: of a read's
        # worth of empty frames there would be forty thousand.
        size = PIECE_BYTES if self.handshake_initiated else len(data)
        for start in range(0, len(data), size):
            if self._is_over or self.transport.is_closing():
                return
            super().data_received(data[start : start + size])
            if not self.handshake_initiated:
                self._refuse(400, "This is no handshake of a websocket.")

    def handle_connect(self, event: Any) -> None:
        try:
            self.conn.process_request(event)
        except Exception:  # `data_received` refuses it, and leaves time to read why
            return
        super().handle_connect(event)
        if hasattr(self, "scope"):  # the handshake was in order; the consumer has not begun yet
            self.scope["extensions"][EXTENSION] = {"push": self.push}

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self.transport.abort()  # it asks, and does not read: no goodbye would reach it

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()  # closed only, it would wait for a client that reads nothing for as long as that likes

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < MAX_FRAGMENTS:
            super().handle_cont(event)
        else:
            self._fail(CloseCode.POLICY_VIOLATION, "a message in too many parts")

    def send_receive_event_to_app(self) -> None:
        if self.queue.qsize() < MAX_WAITING_MESSAGES:
            super().send_receive_event_to_app()
        else:
            self._fail(CloseCode.POLICY_VIOLATION, "too many messages")

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = self.close_sent  # refused in order: base would call it an error of the consumer's

    def push(self, frame: bytes) -> bool:
        """Write a frame made by `text_frame`. False when the client is gone or has not taken the last one yet."""
        transport = self.transport
        if not self.handshake_complete or self.close_sent or self.disconnected or transport.is_closing():
            return False
        if transport.get_write_buffer_size():
            return False
        transport.write(frame)
        return True

    def _fail(self, code: CloseCode, reason: str) -> None:
        if not self._is_over:
            self._is_over = True
            self.conn.fail(code, reason)
            self.handle_parser_exception()
            self.loop.call_later(GOODBYE_SECONDS, self.transport.abort)

    def _refuse(self, status: int, reason: str) -> None:
        self._is_over = self.handshake_complete = self.close_sent = True
        self._deadline.cancel()
        farewell(self.transport, self.conn.reject(status, reason).serialize(), self.loop)

    def _give_up(self) -> None:
        """Answer a handshake that the consumer has neither accepted nor refused, before a proxy does."""
        if not self.handshake_complete and not self.transport.is_closing():
            self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.TRY_AGAIN_LATER})
            self._refuse(503, "Try again later.")
