"""Clients for the benchmarks: websockets and kept-alive HTTP connections, thousands of them in one process.

The protocols are our own because the generator shares the machine with the shop: asking must cost less than answering.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import httptools

HOST = "127.0.0.1"
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
FINAL = MASKED = 0x80
TWO_BYTES, EIGHT_BYTES = 126, 127
OPEN_SECONDS = 20.0
# What a server says that has nothing new (`sales/hub.py`).
BEAT = b"<!--beat-->"


class Refused(Exception):
    """The server did not open a websocket; the text is what it said instead."""


class Unexpected(Exception):
    """The server sent a frame that this shop never sends."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. Header names are in lower case; `at` is when its last byte came, by `time.perf_counter()`."""

    status: int
    headers: dict[str, str]
    body: bytes
    at: float


class Frames:
    """Cuts the stream of a websocket server into frames."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that `data` completes: pairs of opcode and payload.

        Raises:
            Unexpected: one is masked or a fragment.
        """
        data = self._rest + data
        found = []
        start = 0
        while len(data) - start >= 2:
            first, length = data[start], data[start + 1]
            if not first & FINAL or length & MASKED:
                raise Unexpected(f"a frame that begins with {data[start : start + 2].hex()}")
            body = start + {TWO_BYTES: 4, EIGHT_BYTES: 10}.get(length, 2)
            if length >= TWO_BYTES:
                length = int.from_bytes(data[start + 2 : body], "big")
            if len(data) < body + length:
                break
            found.append((first & 0x0F, data[body : body + length]))
            start = body + length
        self._rest = data[start:]
        return found


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A frame as a client has to send it, masked. `payload` has at most 125 bytes."""
    mask = secrets.token_bytes(4)
    body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes((FINAL | opcode, MASKED | len(payload))) + mask + body


class Answers:
    """Cuts the stream of an HTTP server into answers."""

    def __init__(self) -> None:
        self.keeps_alive = True
        """Whether the server will take another request after the last answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._complete: list[Answer] = []

    def feed(self, data: bytes) -> list[Answer]:
        """The answers that `data` completes.

        Raises:
            httptools.HttpParserError: this is not HTTP.
        """
        self._parser.feed_data(data)
        complete, self._complete = self._complete, []
        return complete

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.keeps_alive = self._parser.should_keep_alive()
        status, at = self._parser.get_status_code(), time.perf_counter()
        self._complete.append(Answer(status, self._headers, b"".join(self._body), at))
        self._headers, self._body = {}, []


class Socket(asyncio.Protocol):
    """One websocket. Hands each text but beats to `on_text` with itself and when it came by `time.perf_counter()`."""

    def __init__(self, handshake: bytes, on_text: OnText) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_open = False
        self._handshake = handshake
        self._on_text = on_text
        self._head = b""
        self._frames = Frames()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._handshake)

    def data_received(self, data: bytes) -> None:
        at = time.perf_counter()
        for opcode, payload in self._frames.feed(data if self.is_open else self._after_head(data)):
            if opcode == TEXT and payload != BEAT:
                self._on_text(self, at, payload)
            elif opcode == PING:
                self._transport.write(client_frame(PONG, payload))
            elif opcode == CLOSE:
                self._transport.write(client_frame(CLOSE, payload[:2]))
                self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if not self.opened.done():
            self.opened.set_exception(Refused("the server closed the connection"))

    def close(self) -> None:
        """End it without a farewell."""
        self._transport.close()

    def _after_head(self, data: bytes) -> bytes:
        head, separator, rest = (self._head + data).partition(b"\r\n\r\n")
        if not separator:
            self._head = head
            return b""
        self._head = b""
        status = head.partition(b"\r\n")[0].decode("latin-1")
        if " 101 " not in status:
            if not self.opened.done():
                self.opened.set_exception(Refused(status))
            self.close()
            return b""
        self.is_open = True
        self.opened.set_result(None)
        return rest


OnText = Callable[[Socket, float, bytes], None]


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection that is kept alive; one request at a time."""

    def __init__(self) -> None:
        self._answers = Answers()
        self._awaited: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport

    @property
    def is_open(self) -> bool:
        """Whether the server will, by all we know, take another request."""
        return self._answers.keeps_alive and not self._transport.is_closing()

    async def ask(self, message: bytes) -> Answer:
        """Send a request (see `request`) and wait for its answer.

        Raises:
            ConnectionResetError: the server closed the connection first; whether it saw the request is unknown.
        """
        self._awaited = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return await self._awaited

    def close(self) -> None:
        """End it."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for answer in self._answers.feed(data):
            if self._awaited is not None and not self._awaited.done():
                self._awaited.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(ConnectionResetError("closed before the answer"))


def request(method: str, port: int, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """An HTTP request to the shop on `port`, from one of its own pages."""
    fields = {"Host": f"{HOST}:{port}", "Origin": f"http://{HOST}:{port}", **headers}
    if body:
        fields["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


async def connect(port: int) -> Connection:
    """An open connection to the shop on `port`."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, HOST, port)
    return connection


async def open_socket(port: int, sku: str, on_text: OnText) -> Socket:
    """A websocket on the banner of the sale `sku`.

    Raises:
        Refused: the server did not open it.
        OSError: it can't be reached, or did not answer in time.
    """
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
    }
    handshake = request("GET", port, f"/ws/sales/{sku}/?beat=1", upgrade)
    _, socket = await asyncio.get_running_loop().create_connection(lambda: Socket(handshake, on_text), HOST, port)
    async with asyncio.timeout(OPEN_SECONDS):
        await socket.opened
    return socket
