"""Who gets a websocket, how many there are, and that nothing a viewer sends makes the process grow."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from channels.testing import WebsocketCommunicator
from prometheus_client import REGISTRY

from conftest import Processes, client_of, eventually, settings_of, show
from flashdrop import metrics, proxies
from flashdrop.bench.shop import children_of
from flashdrop.config import config
from flashdrop.embedded.process import free_port
from flashdrop.socket_door import SocketDoor, comes_from_here
from flashdrop.tests.raw_http import Line, Served, dial, get, request, serving, upgrade, wait_until
from flashdrop.tests.test_nginx_hostile import masked
from sales import publishing
from sales.published import PublishedSale

pytestmark = pytest.mark.usefixtures("may_close_connections")
MB = 1024 * 1024


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving() as found:
        yield found


@pytest.fixture(scope="module")
async def sale(ledger_indexes: None) -> PublishedSale:
    found = (await publishing.publish(settings_of(stock=100))).sale
    await show()
    return found


@pytest.fixture
def door() -> SocketDoor:
    """The shop's own, which has nobody inside."""
    from flashdrop import asgi

    found: SocketDoor = asgi.application.application_mapping["websocket"]  # type: ignore[attr-defined]
    return found


# From where


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ([], True),
        ([b"http://testserver"], True),
        ([b"https://testserver:8443"], True),
        ([b"http://TESTSERVER"], True),
        ([b"http://127.0.0.1:8000"], True),
        ([b"null"], False),
        ([b""], False),
        ([b"http://"], False),
        ([b"testserver"], False),
        ([b"http://evil.example"], False),
        ([b"http://testserver.evil.example"], False),
        ([b"http://testserver@evil.example"], False),
        ([b"http://[::1"], False),
        ([b"http://\xe9"], False),
        ([b"http://testserver", b"http://testserver"], False),
    ],
)
def test_a_page_of_another_site_is_told_from_ours_and_from_a_program(origins: list[bytes], expected: bool) -> None:
    assert comes_from_here({"headers": [(b"host", b"x"), *((b"origin", origin) for origin in origins)]}) is expected


@pytest.mark.parametrize(
    "path", ["/ws/nothing", "/ws/", "/ws/sales/", "/ws/%00", "/ws/sales/x/y/", "/ws/secret-of-mine/"]
)
async def test_an_unknown_address_is_a_plain_404(served: Served, path: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with served.line() as line:
            line.write(upgrade(path))
            answer = await line.answer()
            assert (answer.status, answer.body) == (404, b"Not found.\n")
            assert await line.end() == b""
    assert caplog.records == []


async def test_under_another_server_it_is_closed() -> None:
    """Daphne has no other answer to a handshake."""
    from flashdrop import asgi

    other = WebsocketCommunicator(asgi.application, "/ws/nothing")
    connected, _ = await other.connect()
    assert not connected


# How many


async def stays(line: Line, path: str) -> int:
    line.write(upgrade(path))
    return (await line.answer()).status


def counted(event: str) -> float:
    metrics.publish()
    return REGISTRY.get_sample_value("flashdrop_websockets_total", {"event": event}) or 0.0


@pytest.mark.parametrize(
    ("limit", "status", "event"), [("_most", 503, "refused_full"), ("_most_of_one", 429, "refused_address")]
)
async def test_over_a_limit_a_handshake_is_refused_and_says_so(  # noqa: PLR0917
    served: Served, sale: PublishedSale, door: SocketDoor, monkeypatch: pytest.MonkeyPatch,
    limit: str, status: int, event: str,
) -> None:  # fmt: skip
    await wait_until(lambda: door._total == 0)
    monkeypatch.setattr(door, limit, 2)
    path, before = f"/ws/sales/{sale.sku}/", counted(event)
    lines = [await dial(served.port) for _ in range(3)]
    assert [await stays(line, path) for line in lines[:2]] == [101, 101]
    lines[2].write(upgrade(path))
    refused = await lines[2].answer()
    assert (refused.status, refused.headers["retry-after"]) == (status, "10")
    assert b"Ask for the numbers instead." in refused.body
    assert counted(event) == before + 1
    # Its page is served as ever, and polls.
    polling = await dial(served.port)
    assert (await polling.ask("GET", f"/sales/{sale.sku}/banner")).status == 200
    lines[0].reset()
    await wait_until(lambda: door._total == 1)
    again = await dial(served.port)
    assert await stays(again, path) == 101
    for line in (*lines, again, polling):
        line.reset()
    await wait_until(lambda: door._total == 0)
    assert not door._open


async def test_handshakes_that_come_to_nothing_are_not_counted(
    served: Served, sale: PublishedSale, door: SocketDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wait_until(lambda: door._total == 0)
    monkeypatch.setattr(door, "_most_of_one", 2)
    for _ in range(5):
        for path in ("/ws/sales/no-such/", "/ws/nothing"):
            async with served.line() as line:
                assert await stays(line, path) in (403, 404)
            await wait_until(lambda: door._total == 0)
    async with served.line() as line:
        assert await stays(line, f"/ws/sales/{sale.sku}/") == 101


@pytest.mark.parametrize(
    ("proxies_in_front", "addresses", "expected"),
    [
        (1, ["198.51.100.1", "198.51.100.2", "198.51.100.1"], [101, 101, 429]),
        (1, ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], [101, 429, 101]),
        (1, ["6.6.6.6, 198.51.100.9", "7.7.7.7, 198.51.100.9"], [101, 429]),
        (0, ["198.51.100.1", "198.51.100.2"], [101, 429]),
    ],
)
async def test_who_is_counted_is_who_our_proxy_saw(  # noqa: PLR0917
    served: Served, sale: PublishedSale, door: SocketDoor, monkeypatch: pytest.MonkeyPatch,
    proxies_in_front: int, addresses: list[str], expected: list[int],
) -> None:  # fmt: skip
    await wait_until(lambda: door._total == 0)
    monkeypatch.setattr(door, "_most_of_one", 1)
    monkeypatch.setattr(proxies, "config", replace(config, trusted_proxy_count=proxies_in_front))
    lines, found = [], []
    for address in addresses:
        lines.append(await dial(served.port))
        lines[-1].write(upgrade(f"/ws/sales/{sale.sku}/", X_Forwarded_For=address))
        found.append((await lines[-1].answer()).status)
    assert found == expected
    for line in lines:
        line.reset()


def test_one_address_never_takes_all_of_a_process(door: SocketDoor) -> None:
    assert config.sockets_per_address * 8 <= config.sockets_max
    assert SocketDoor(door, most=10**9)._most < 10**9  # nor sockets all files that it may open


# What a viewer may send


async def viewer(served: Served, sale: PublishedSale) -> Line:
    line = await dial(served.port)
    assert await stays(line, f"/ws/sales/{sale.sku}/") == 101
    return line


FLOODS = {
    "parts of nothing": masked(1, b"a", fin=False) + masked(0, fin=False) * 100,
    "messages": masked(1, b"a") * 5000,
    "binary": masked(2) * 5000,
}


@pytest.mark.parametrize("what", FLOODS)
async def test_a_viewer_that_says_too_much_at_once_is_sent_away(served: Served, sale: PublishedSale, what: str) -> None:
    line = await viewer(served, sale)
    connection = served.ends_of(line)
    line.write(FLOODS[what])
    assert b"\x03\xf0" in await line.end(), "1008"
    assert connection.queue.qsize() < 20 and len(connection.frames) < 20
    await line.close()


async def test_a_viewer_that_says_a_little_is_ignored_as_ever(served: Served, sale: PublishedSale) -> None:
    line = await viewer(served, sale)
    for _ in range(50):
        line.write(masked(1, b"hello") + masked(1, b"in", fin=False) + masked(0, b"parts") + masked(9, b"ping"))
        await asyncio.sleep(0.005)
    async with asyncio.timeout(5):
        answered = await line.reader.readuntil(b"\x8a\x04ping")
    assert answered
    assert await line.stays_open(0.1)
    line.reset()


async def test_of_a_viewer_that_reads_nothing_nothing_stays(
    sale: PublishedSale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its buffers full, it answers no ping; closed politely, the connection would wait for it for ever."""
    monkeypatch.setattr(uvicorn.Config, "load", with_quick_pings(uvicorn.Config.load))
    async with serving() as served:
        line = await dial(served.port, receive_buffer=4096)
        assert await stays(line, f"/ws/sales/{sale.sku}/") == 101
        connection = served.ends_of(line)
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.transport.write(b"\x8a\x7d" + b"x" * 125 + b"\x8a\x7d" * 200_000)  # what it does not read
        await wait_until(lambda: connection not in served.connections)
        line.reset()


def with_quick_pings(load: Any) -> Any:
    def loaded(self: uvicorn.Config) -> None:
        self.ws_ping_interval = self.ws_ping_timeout = 0.2
        load(self)

    return loaded


# The memory of a real process


@pytest.fixture(scope="module")
def alone(migrated: None, static_files: None, sale: PublishedSale) -> Iterator[tuple[str, int]]:
    """A shop with one web worker; its address, and the worker's process."""
    started, port = Processes(), free_port()
    supervisor = started.start("serve", "--port", str(port), "--workers", "1")
    try:
        yield f"http://127.0.0.1:{port}", supervisor.pid
    finally:
        started.stop_all()


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


async def worker_of(alone: tuple[str, int], sale: PublishedSale) -> tuple[int, int]:
    """The port, and the process that serves it, once it has shown the sale."""
    url, supervisor = alone

    async def shows() -> bool:
        with contextlib.suppress(Exception):
            async with client_of(url) as client:
                return (await client.get(f"/sales/{sale.sku}/")).status_code == 200
        return False

    await eventually(shows, 30)
    (pid,) = children_of(supervisor)
    return urlsplit(url).port or 0, pid


def flood(port: int, start: bytes, first: bytes, piece: bytes, most: int) -> int:
    """Begin, then send `piece` over and over without reading, until `most` bytes or the end; how many were taken."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(1.0)
        sock.connect(("127.0.0.1", port))
        sent = 0
        with contextlib.suppress(OSError):
            sock.sendall(start)
            assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
            sock.sendall(first)
            while sent < most:
                sent += sock.send(piece)
        return sent


@pytest.mark.parametrize("what", ["pings", "empty parts", "messages"])
async def test_a_flood_over_a_websocket_does_not_grow_the_process(
    alone: tuple[str, int], sale: PublishedSale, what: str
) -> None:
    port, pid = await worker_of(alone, sale)
    start, first, piece = upgrade(f"/ws/sales/{sale.sku}/"), b"", masked(9, b"x" * 125) * 500
    if what == "empty parts":
        first, piece = masked(1, b"a", fin=False), masked(0, fin=False) * 10_000
    elif what == "messages":
        piece = masked(1, b"a") * 10_000
    before = resident(pid)
    sent = await asyncio.to_thread(flood, port, start, first, piece, 60 * MB)
    grown = resident(pid) - before
    assert grown < 8 * MB, f"{grown / MB:.0f} MB more after {sent / MB:.1f} MB"
    assert sent < 20 * MB, "it was sent away"


@pytest.mark.parametrize("path", ["/admin/login/", "/sales/{sku}/", "/nothing"])
async def test_a_row_of_requests_does_not_grow_the_process(
    alone: tuple[str, int], sale: PublishedSale, path: str
) -> None:
    """352 KB over 20 connections were 370 MB once."""
    port, pid = await worker_of(alone, sale)
    one = get(path.replace("{sku}", sale.sku)).replace(b"Host: testserver", b"Host:testserver")
    row, before, lines = one * (352_000 // len(one)), resident(pid), []
    try:
        for _ in range(20):
            line = await dial(port, receive_buffer=4096)
            lines.append(line)
            line.write(row)
        most = 0
        for _ in range(20):
            await asyncio.sleep(0.1)
            most = max(most, resident(pid))
    finally:
        for line in lines:
            line.reset()
    assert most - before < 48 * MB, f"{(most - before) / MB:.0f} MB more"
    answered = await dial(port)
    answered.write(request("GET", "/healthz"))
    assert (await answered.answer()).status == 200
    answered.reset()
