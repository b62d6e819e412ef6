"""HTTP by hand: the shop behind a real uvicorn in this process, and a client that writes bytes and reads answers.

Not a test module; `test_wire*.py` share it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from channels.routing import ProtocolTypeRouter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from conftest import eventually
from flashdrop.lean import LeanHandler, Receive, Route, Scope, Send
from flashdrop.tests.test_lean import Reply
from flashdrop.wire import WireProtocol
from flashdrop.wire_socket import PushingProtocol

ANSWER_SECONDS = 5.0
HOST = "testserver"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def request(
    method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"", *, version: str = "1.1"
) -> bytes:
    """A request as a browser would send it, byte by byte."""
    fields = {"Host": HOST} | ({"Content-Length": str(len(body))} if body or method == "POST" else {}) | (headers or {})
    lines = [f"{method} {target} HTTP/{version}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin1") + b"\r\n\r\n" + body


def get(target: str, **headers: str) -> bytes:
    return request("GET", target, {name.replace("_", "-"): value for name, value in headers.items()})


def upgrade(target: str, **headers: str) -> bytes:
    """A browser's request for a websocket."""
    handshake = {"Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    return get(target, Connection="Upgrade", Upgrade="websocket", Origin=f"http://{HOST}", **handshake, **headers)


async def wait_until(check: Callable[[], Any], seconds: float = 5.0) -> None:
    async def found() -> bool:
        return bool(check())

    await eventually(found, seconds)


class Line:
    """One connection, at the client's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, method: str = "GET") -> Reply:
        """The next answer, which must be framed so that nothing of another is in it."""
        async with asyncio.timeout(ANSWER_SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head[:-4].split(b"\r\n")
            version, status, _ = status_line.split(b" ", 2)
            assert version == b"HTTP/1.1"
            raw = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
            return Reply(int(status), raw, await self._body(method, int(status), dict(raw)))

    async def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
        self.write(request(method, target, headers, body))
        return await self.answer(method)

    async def end(self, seconds: float = ANSWER_SECONDS) -> bytes:
        """What else comes until the server closes, which it must do within `seconds`."""
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionResetError):
                return await self.reader.read()
            return b""

    async def stays_open(self, seconds: float = 0.1) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(1), seconds) != b""
        except TimeoutError:
            return True

    def reset(self) -> None:
        """Gone without a word, as when the phone's battery is."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def _body(self, method: str, status: int, headers: dict[bytes, bytes]) -> bytes:
        if method == "HEAD" or status < 200 or status in (204, 304):
            return b""
        if headers.get(b"transfer-encoding") == b"chunked":
            return b"".join([chunk async for chunk in self._chunks()])
        if b"content-length" not in headers:
            return await self.reader.read()  # it ends with the connection
        return await self.reader.readexactly(int(headers[b"content-length"]))

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readline(), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()


async def dial(port: int, receive_buffer: int | None = None) -> Line:
    """A connection; one with a small `receive_buffer` is soon full when nobody reads."""
    loop, sock = asyncio.get_running_loop(), socket.socket()
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Line(*await asyncio.open_connection(sock=sock, limit=receive_buffer or 2**16))


class NotingHandler(LeanHandler):
    """The lean handler, which notes what came through ASGI: those requests went the long way."""

    def __init__(self, fallback: Any) -> None:
        super().__init__(fallback)
        self.long_way: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.long_way.append(scope["path"])
        await super().__call__(scope, receive, send)


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals are pytest's."""
        yield


@dataclass
class Served:
    """The shop, as `manage.py serve` runs it, but in this process."""

    port: int
    handler: NotingHandler
    server: Server
    task: asyncio.Task[None]

    @property
    def connections(self) -> list[Any]:
        """The server's ends."""
        return list(self.server.server_state.connections)

    @contextlib.asynccontextmanager
    async def line(self, receive_buffer: int | None = None) -> AsyncIterator[Line]:
        line = await dial(self.port, receive_buffer)
        try:
            yield line
        finally:
            await line.close()

    def ends_of(self, line: Line) -> Any:
        """The server's end of a line: a protocol."""
        port = line.writer.get_extra_info("sockname")[1]
        (found,) = [connection for connection in self.connections if connection.client[1] == port]
        return found

    def put(self, path: str, view: Any) -> None:
        """A hot view of a test's own."""
        self.handler._routes[path] = Route(path.strip("/"), view, {})


@contextlib.asynccontextmanager
async def serving(
    protocol: type[HttpToolsProtocol] = WireProtocol,
    keep_alive_seconds: float = 5.0,
    socket_protocol: type[WebSocketsSansIOProtocol] = PushingProtocol,
    handler: NotingHandler | None = None,
) -> AsyncIterator[Served]:
    """The whole application, or another `handler` of requests, behind `protocol`."""
    from flashdrop import asgi

    handler = handler or NotingHandler(asgi.stock_handler)
    sockets = asgi.application.application_mapping["websocket"]  # type: ignore[attr-defined]
    config = uvicorn.Config(
        ProtocolTypeRouter({"http": handler, "websocket": sockets}),
        http=protocol,
        ws=socket_protocol,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=keep_alive_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=3,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))

    async def started() -> bool:
        return server.started and bool(server.server_state.default_headers)

    await eventually(started)
    try:
        yield Served(listener.getsockname()[1], handler, server, task)
    finally:
        server.should_exit = True
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await asyncio.wait_for(task, ANSWER_SECONDS)
