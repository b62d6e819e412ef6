"""Strangers who send what they like, through the real nginx, while shoppers buy: no shopper notices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import websockets

from conftest import Processes, client_of, cookie_of, eventually, follows, settings_of, shopper
from flashdrop.embedded.process import free_port
from flashdrop.tests.behind_nginx import Asked, Front, answer, front, web
from flashdrop.tests.raw_http import JSON, get, request, upgrade
from flashdrop.tests.test_wire_limits import H2C, MALFORMED, handshake
from sales import publishing
from sales.published import PublishedSale

EACH_SECOND = 10
# More of them than a process may have open are closed, the oldest first.
MOST_OPEN = 300
THEN = b"-- and then --"


def impatient(prefix: Path) -> None:
    """nginx waits for answers a second, instead of half a minute: what counts against a process does so at once."""
    file = prefix / "nginx.conf"
    text = file.read_text()
    assert text.count("proxy_read_timeout") == 2
    file.write_text(text.replace("proxy_read_timeout 30s", "proxy_read_timeout 1s").replace("65s", "1s"))


def counting(prefix: Path) -> None:
    """As nginx does by itself: failures count, for pages and websockets in one list."""
    impatient(prefix)
    file = prefix / "upstream.conf"
    file.write_text(file.read_text().replace("max_fails=0", "max_fails=3 fail_timeout=2s"))
    file = prefix / "nginx.conf"
    file.write_text(
        file.read_text().replace("http://web_sockets", "http://web").replace("proxy_next_upstream off;", "")
    )


# nginx alone: web processes that are silent or break off, for whatever reason


def provoked(asked: Asked) -> bytes | None:
    if asked.target.startswith(("/ws/silent", "/silent")):
        return b""
    return None if asked.target.startswith(("/ws/break", "/break")) else answer()


async def lost_shoppers(tmp_path: Path, change: object) -> int:
    """How many of 60 shoppers were not served while strangers provoked both processes."""
    provocations = ["/ws/silent", "/ws/break", "/silent", "/break"] * 8
    async with web(provoked) as one, web(provoked) as other:
        with front(tmp_path, [one.port, other.port], change=change) as nginx:  # type: ignore[arg-type]
            async with nginx.client(timeout=20) as client:
                strangers = [
                    asyncio.create_task(client.get(path, headers={"Upgrade": "websocket", "Connection": "Upgrade"}))
                    for path in provocations
                ]
                statuses: list[int] = []
                for _ in range(60):
                    statuses.append((await client.get("/")).status_code)
                    await asyncio.sleep(0.05)
                await asyncio.gather(*strangers)
    return sum(status != 200 for status in statuses)


async def test_no_silence_of_a_web_process_takes_it_out_of_service(tmp_path: Path) -> None:
    assert await lost_shoppers(tmp_path, impatient) == 0


async def test_the_canary_that_counts_failures_loses_shoppers(tmp_path: Path) -> None:
    assert await lost_shoppers(tmp_path, counting) > 0


async def test_a_process_that_is_gone_costs_no_viewer_more_than_another_try(tmp_path: Path) -> None:
    """In turn: by the fewest connections a process that refuses would get every new one."""
    async with web() as process:
        with front(tmp_path, [process.port, free_port()]) as nginx:
            async with nginx.client() as client:
                found = [(await client.get("/ws/x")).status_code for _ in range(20)]
    assert 8 <= found.count(200) <= 12
    assert set(found) == {200, 503}


# The shop behind nginx


def big(*lines: str, method: str = "POST") -> bytes:
    """A request that is refused by its head, with more behind it than the kernel keeps for a reader who has left."""
    head = [f"{method} /api/orders HTTP/1.1", "Host: testserver", "Content-Length: 60000", *lines]
    return "\r\n".join(head).encode("latin1") + b"\r\n\r\n" + b"x" * 60_000


def masked(opcode: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame as a client sends it, under a mask of zeros."""
    return bytes([(0x80 if fin else 0) | opcode, 0x80 | len(data)]) + b"\0\0\0\0" + data


def hostile(sku: str) -> dict[str, bytes]:
    """Everything that strangers send; what is behind `THEN` once the first part was answered."""
    socket_of = upgrade(f"/ws/sales/{sku}/") + THEN
    chunked = request("POST", "/api/orders", {"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
    return MALFORMED | {
        "half a line": b"GET /hea",
        "half a head": b"GET /healthz HTTP/1.1\r\nHost: testserver\r\nX-Half: ",
        "half a body": request("POST", "/api/orders", JSON | {"Content-Length": "9"}, b"{"),
        "half a chunk": chunked + b"5\r\nab",
        "a broken chunk": chunked + b"3\r\nabc\r\nzz\r\n",
        "trailers": chunked + b"0\r\nX-User-Id: mallory\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
        "an unknown method": big(method="BREW"),
        "a control character and a body": big("X-Odd: a\x01b"),
        "two lengths": big("Content-Length: 6"),
        "length and chunks": big("Transfer-Encoding: chunked"),
        "expects a miracle": big("Expect: 100-continue"),
        "h2c": request("POST", "/api/orders", JSON | H2C, get("/healthz")),
        "h2c for a socket": handshake("/ws/x", body=b"abc", Upgrade="h2c", Content_Length="3"),
        "http/1.0": request("GET", "/ws/x", {"Upgrade": "websocket", "Connection": "Upgrade"}, version="1.0"),
        "nonsense": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
        "no such socket": upgrade("/ws/no-such"),
        "no such sale": upgrade("/ws/sales/no-such/"),
        "another origin": upgrade(f"/ws/sales/{sku}/").replace(b"Origin: http://", b"Origin: http://not."),
        "frames that are none": socket_of + b"\xff" * 2000,
        "no mask": socket_of + b"\x81\x05hello",
        "endless parts": socket_of + masked(1, b"a", fin=False) + masked(0, fin=False) * 5000,
        "pings": socket_of + masked(9, b"x" * 100) * 2000,
        "many messages": socket_of + masked(1, b"a") * 2000,
        "a page for nobody": get(f"/sales/{sku}/") * 300,
        "a page nobody waits for": get(f"/sales/{sku}/", Connection="close"),
        "the back office": request("POST", "/admin/login/", {"Content-Length": "70000"}, b"x" * 100),
    }


class Strangers:
    """Open a connection for each thing to send, a few every second, and never read."""

    def __init__(self, nginx: Front, things: dict[str, bytes]) -> None:
        self._port = nginx.port
        # Every other one is the handshake with a body, which four times a second was enough once.
        self._things = [thing for other in things.values() for thing in (MALFORMED["a body"], other)]
        self._open: deque[socket.socket] = deque()
        self.sent = 0

    async def run(self) -> None:
        loop, chance = asyncio.get_running_loop(), random.Random(1)
        while True:
            thing = self._things[self.sent % len(self._things)]
            sock = socket.socket()
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(sock, ("127.0.0.1", self._port))
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(0.2):  # what nginx does not take is not waited for
                    for part in thing.split(THEN):
                        await loop.sock_sendall(sock, part)
                        await asyncio.sleep(0.03 if THEN in thing else 0)
            self.sent += 1
            if chance.random() < 0.2:
                sock.close()
            else:
                self._open.append(sock)
            if len(self._open) > MOST_OPEN:
                self._open.popleft().close()
            await asyncio.sleep(1 / EACH_SECOND)

    def leave(self) -> None:
        for sock in self._open:
            sock.close()


async def buy(nginx: Front, sku: str, until: float, found: Counter[str]) -> None:
    """Shoppers one after another: a page, the numbers, an order."""
    async with nginx.client(timeout=10) as client:
        while time.monotonic() < until:
            headers = cookie_of(shopper()) | {"Origin": nginx.url}
            for path in (f"/sales/{sku}/", f"/api/products/{sku}/sale-status"):
                found[f"GET {(await client.get(path)).status_code}"] += 1
            made = await client.post("/api/orders", json={"sku": sku}, headers=headers)
            found[f"POST {made.status_code}"] += 1
            await asyncio.sleep(0.1)


async def watch(nginx: Front, sku: str, until: float, found: Counter[str]) -> None:
    """Viewers one after another, each of whom must see the banner."""
    address = f"{nginx.url.replace('http', 'ws')}/ws/sales/{sku}/"
    while time.monotonic() < until:
        async with websockets.connect(address, origin=websockets.Origin(nginx.url)) as viewer, asyncio.timeout(5):
            found["banner"] += 'id="banner"' in str(await viewer.recv())
        await asyncio.sleep(0.3)


@pytest.fixture
async def two_hosts(shop: str, processes: Processes) -> AsyncIterator[list[str]]:
    """The shop and another web host: nginx never takes an only one out of service, whatever it does."""
    port = free_port()
    processes.start("serve", "--port", str(port), "--workers", "1")
    other = f"http://127.0.0.1:{port}"

    async def answers() -> bool:
        with contextlib.suppress(Exception):
            async with client_of(other) as client:
                return (await client.get("/healthz")).status_code == 200
        return False

    await eventually(answers, 30)
    yield [shop, other]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("seconds", "patience"),
    [
        pytest.param(8.0, impatient, id="short"),
        # Longer than nginx takes to lose patience as it is shipped.
        pytest.param(120.0, None, id="two minutes", marks=pytest.mark.heavy),
    ],
)
async def test_shoppers_buy_while_strangers_send_what_they_like(
    two_hosts: list[str], tmp_path: Path, seconds: float, patience: object
) -> None:
    sale: PublishedSale = (await publishing.publish(settings_of(stock=100_000))).sale
    for host in two_hosts:
        await follows(host, sale)
    ports = [urlsplit(host).port or 0 for host in two_hosts]
    static_root = Path(os.environ["FLASHDROP_DATA_DIR"]) / "static"
    found: Counter[str] = Counter()
    with front(tmp_path, ports, static_root, change=patience) as nginx:  # type: ignore[arg-type]
        strangers = Strangers(nginx, hostile(sale.sku))
        sending = asyncio.create_task(strangers.run())
        until = time.monotonic() + seconds
        try:
            await asyncio.gather(
                *(buy(nginx, sale.sku, until, found) for _ in range(3)), watch(nginx, sale.sku, until, found)
            )
        finally:
            sending.cancel()
            strangers.leave()
        assert not sending.done() or sending.cancelled(), sending.exception()
        errors = nginx.error_log()
    assert set(found) == {"GET 200", "POST 201", "banner"}, found
    assert found["POST 201"] > seconds
    assert strangers.sent > 0.5 * EACH_SECOND * seconds
    assert "no live upstreams" not in errors
    # A process answered each of them.
    silent = [line for line in errors.splitlines() if "timed out" in line and "reading response header" in line]
    assert silent == []
