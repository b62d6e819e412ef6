"""Websockets that take ready frames: uvicorn's protocol with a way past ASGI for what is sent to everybody.

Through ASGI each text is encoded, framed and written once for each connection, behind two coroutines and a check of
the connection's state: three quarters of the cost of telling ten thousand viewers. A consumer finds `push` in its
scope's extensions; under another server there is none, and it sends as usual.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

EXTENSION = "flashdrop.push"


def text_frame(text: str) -> bytes:
    """A whole text message as a server sends it: one frame, not masked."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class PushingProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):  # the handshake was in order; the consumer has not begun yet
            self.scope["extensions"][EXTENSION] = {"push": self.push}

    def push(self, frame: bytes) -> bool:
        """Write a frame made by `text_frame`. False when the client is gone or has not taken the last one yet."""
        transport = self.transport
        if not self.handshake_complete or self.close_sent or self.disconnected or transport.is_closing():
            return False
        if transport.get_write_buffer_size():
            return False
        transport.write(frame)
        return True
