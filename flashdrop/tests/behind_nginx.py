"""A real nginx on the shipped files, and web processes of our own making behind it.

Not a test module; `test_nginx*.py` share it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from conftest import client_of
from flashdrop.cluster import proxy_files
from flashdrop.embedded.process import Server, free_port

START_SECONDS = 5.0


@dataclass
class Front:
    """A running nginx."""

    prefix: Path
    port: int
    health_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> httpx.AsyncClient:
        return client_of(self.url, **options)

    def log(self) -> list[dict[str, Any]]:
        """What the access log says: something, since nginx writes a line only once it has sent the answer."""
        deadline = time.monotonic() + 2
        while not (text := (self.prefix / "logs/access.log").read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return [json.loads(line) for line in text.splitlines()]

    def error_log(self) -> str:
        return (self.prefix / "logs/error.log").read_text(errors="replace")


@contextmanager
def front(
    folder: Path,
    web_ports: Sequence[int],
    static_root: Path | None = None,
    change: Callable[[Path], None] | None = None,
) -> Iterator[Front]:
    """An nginx in front of `web_ports`; `change` may switch options on in its prefix before it starts."""
    port, health_port = free_port(), free_port()
    empty = folder / "no-static-files"
    empty.mkdir(exist_ok=True)
    conf = proxy_files.lay(
        folder / "nginx",
        port=port,
        web_ports=web_ports,
        static_root=static_root or empty,
        workers=1,
        health_port=health_port,
    )
    if change:
        change(conf.parent)
    log = conf.parent / "logs" / "error.log"
    server = Server("nginx", proxy_files.command(proxy_files.nginx_binary(), conf), log)
    try:
        server.wait_until(lambda: _accepts(port), START_SECONDS)
        yield Front(conf.parent, port, health_port)
    finally:
        server.stop()


def switch_on(*options: str) -> Callable[[Path], None]:
    """Copy examples to where nginx.conf's own list says."""

    def work(prefix: Path) -> None:
        for option in options:
            (prefix / places()[option]).write_text((prefix / f"{option}.conf.example").read_text())

    return work


def places() -> dict[str, str]:
    """Each example's name with the place it is copied to, from the list at the top of nginx.conf."""
    lines = (proxy_files.SHIPPED / "nginx.conf").read_text().splitlines()
    listed = [line.removeprefix("#").split() for line in lines if ".conf.example" in line]
    return {words[0].removesuffix(".conf.example"): words[2] for words in listed}


def _accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Asked:
    """A request as a web process got it; header names in lower case."""

    method: str
    target: str
    version: str
    headers: dict[str, str]
    body: bytes


Behaviour = Callable[[Asked], bytes | None]


@dataclass
class Web:
    """A web process that answers as told: the bytes of an answer, or None to break off after reading the request."""

    port: int
    behaviour: Behaviour
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, target, version = head[0].split(" ")
                asked = Asked(method, target, version, headers, body)
                self.asked.append(asked)
                answer = self.behaviour(asked)
                if answer is None:
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """The bytes of an answer."""
    fields = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def well(asked: Asked) -> bytes | None:
    return answer()


def breaks_off(asked: Asked) -> bytes | None:
    return None


@asynccontextmanager
async def web(behaviour: Behaviour = well, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Web]:
    """A web process on a free port (or `port`)."""
    made = Web(port, behaviour)
    server = await asyncio.start_server(made.serve, host, port)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


class Names(asyncio.DatagramProtocol):
    """A name server that knows the addresses in `addresses` for every name."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        end = data.index(b"\0", 12) + 5
        head = data[:2] + b"\x81\x80\0\1" + len(self.addresses).to_bytes(2, "big") + b"\0\0\0\0"
        records = [b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address) for address in self.addresses]
        self.transport.sendto(head + data[12:end] + b"".join(records), addr)
