"""Ready frames past ASGI: what is pushed is what a client reads, and who doesn't read is nobody else's trouble."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any
from urllib.parse import urlsplit

import pytest
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader
from websockets.typing import Origin

import sales.hub
from conftest import client_of, cookie_of, follows, settings_of, shopper, show
from flashdrop.tests.raw_http import HOST, Line, Served, dial, serving, upgrade, wait_until
from flashdrop.wire_socket import EXTENSION, PushingProtocol, text_frame
from sales import publishing
from sales.hub import hub
from sales.published import PublishedSale

pytestmark = pytest.mark.usefixtures("may_close_connections")
# More than a socket's buffers hold when one end has made them small and does not read.
LARGE = "x" * 8_000_000


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving() as found:
        yield found


@pytest.fixture
async def sale(ledger_indexes: None) -> PublishedSale:
    found = (await publishing.publish(settings_of(stock=100))).sale
    await show()
    return found


def watch(port: int, sku: str) -> connect:
    page = Origin(f"http://{HOST}")
    return connect(f"ws://{HOST}/ws/sales/{sku}/", host="127.0.0.1", port=port, origin=page, max_size=2**24)


def just(text: str) -> Callable[[str], str]:
    """The same text in every language."""
    return lambda language: text


async def text_of(viewer: ClientConnection, seconds: float = 5.0) -> str:
    return str(await asyncio.wait_for(viewer.recv(), seconds))


# Frames


def parsed(data: bytes) -> tuple[Frame, bytes]:
    """A frame as the websockets library reads it, and what is left behind it."""
    reader = StreamReader()
    reader.feed_data(data)
    parser: Generator[None, None, Frame] = Frame.parse(reader.read_exact, mask=False)
    try:
        next(parser)
    except StopIteration as done:
        return done.value, bytes(reader.buffer)
    raise AssertionError("the frame is longer than it says")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_frame_is_read_as_the_text_it_carries(size: int) -> None:
    frame, left = parsed(text_frame("x" * size))
    assert (frame.opcode, frame.fin, bytes(frame.data), left) == (Opcode.TEXT, True, b"x" * size, b"")
    assert not (frame.rsv1 or frame.rsv2 or frame.rsv3)


@pytest.mark.parametrize("text", ["é", "₤ 129.00", "💥" * 40, "<p>\n\0</p>"])
def test_a_frame_says_its_length_in_bytes(text: str) -> None:
    frame, left = parsed(text_frame(text))
    assert (bytes(frame.data).decode(), left) == (text, b"")


# Pushing


async def test_the_consumer_is_offered_the_push(served: Served, sale: PublishedSale) -> None:
    async with watch(served.port, sale.sku) as viewer:
        await text_of(viewer)
        (connection,) = [one for one in served.connections if isinstance(one, PushingProtocol)]
        assert connection.scope["extensions"][EXTENSION] == {"push": connection.push}


@pytest.mark.parametrize("size", [10, 126, 65_536, 1_000_000])
@pytest.mark.parametrize("socket_protocol", [PushingProtocol, WebSocketsSansIOProtocol])
async def test_every_viewer_reads_what_is_published(
    sale: PublishedSale, size: int, socket_protocol: type[WebSocketsSansIOProtocol]
) -> None:
    """With frames and, under another server, without."""
    async with (
        serving(socket_protocol=socket_protocol) as served,
        watch(served.port, sale.sku) as one,
        watch(served.port, sale.sku) as other,
    ):
        for viewer in (one, other):
            await text_of(viewer)
        for number in range(3):
            hub().publish(sale.id, just(f"{number}" * size))
            assert [await text_of(viewer) for viewer in (one, other)] == [f"{number}" * size] * 2


async def test_a_push_and_a_ping_do_not_mix(served: Served, sale: PublishedSale) -> None:
    async with watch(served.port, sale.sku) as viewer:
        await text_of(viewer)
        for number in range(20):
            answered = await viewer.ping()
            hub().publish(sale.id, just(f"{number}" * 1000))
            assert await text_of(viewer) == f"{number}" * 1000
            await asyncio.wait_for(answered, 5)


async def test_nothing_is_pushed_to_a_client_that_left(served: Served, sale: PublishedSale) -> None:
    async with watch(served.port, sale.sku) as viewer:
        await text_of(viewer)
        (connection,) = [one for one in served.connections if isinstance(one, PushingProtocol)]
    await wait_until(lambda: connection not in served.connections)
    assert connection.push(text_frame("1")) is False


async def test_nothing_is_pushed_behind_the_goodbye(served: Served, sale: PublishedSale) -> None:
    async with watch(served.port, sale.sku) as viewer:
        await text_of(viewer)
        (connection,) = [one for one in served.connections if isinstance(one, PushingProtocol)]
        connection.shutdown()
        assert connection.push(text_frame("1")) is False
        await asyncio.wait_for(viewer.wait_closed(), 5)
        assert viewer.close_code == 1012


async def test_nothing_is_pushed_before_the_handshake(served: Served) -> None:
    async with served.line() as line:
        await line.ask("GET", "/healthz")
        connection = PushingProtocol(served.server.config, served.server.server_state, {})
        connection.connection_made(served.ends_of(line).transport)
        assert connection.push(text_frame("1")) is False
        served.server.server_state.connections.discard(connection)
        assert await line.stays_open(0.02)


@pytest.mark.parametrize("headers", [{"Sec_WebSocket_Version": "12"}, {"Origin": "https://elsewhere.example"}])
async def test_a_handshake_that_is_refused_is_no_error(
    served: Served, sale: PublishedSale, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    raw = upgrade(f"/ws/sales/{sale.sku}/")
    for name, value in headers.items():
        plain = name.replace("_", "-").encode()
        raw = b"\r\n".join(
            plain + b": " + value.encode() if part.startswith(plain + b":") else part for part in raw.split(b"\r\n")
        )
    async with served.line() as line:
        line.write(raw)
        assert (await line.answer()).status in (400, 403, 426)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# Viewers that don't read


async def deaf_viewer(served: Served, sale: PublishedSale) -> tuple[Line, Any]:
    """A viewer that has read the first banner and will read no more, and the server's end of it."""
    line = await dial(served.port, receive_buffer=4096)
    line.write(upgrade(f"/ws/sales/{sale.sku}/"))
    assert (await line.answer()).status == 101
    start = await line.reader.readexactly(4)
    await line.reader.readexactly(int.from_bytes(start[2:]))
    connection = served.ends_of(line)
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return line, connection


async def test_a_viewer_that_reads_nothing_is_skipped_and_then_dropped(
    served: Served, sale: PublishedSale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sales.hub, "SLOW_SECONDS", 0.4)
    before = hub().count()
    line, connection = await deaf_viewer(served, sale)
    async with watch(served.port, sale.sku) as brisk:
        await text_of(brisk)
        assert hub().count() == before + 2
        texts, waiting = [LARGE, *(f"news {number}" for number in range(12))], []
        for text in texts:
            hub().publish(sale.id, just(text))
            started = time.monotonic()
            assert await text_of(brisk) == text
            assert time.monotonic() - started < 1.0
            waiting.append(connection.transport.get_write_buffer_size())
            await asyncio.sleep(0.1)
        assert max(waiting) <= len(LARGE) + 100, "one text waits for the deaf one, and no other"
        assert hub().count() == before + 1
    line.reset()
    await wait_until(lambda: hub().count() == before)


async def test_a_viewer_that_reads_again_in_time_skips_to_the_newest(served: Served, sale: PublishedSale) -> None:
    line, _ = await deaf_viewer(served, sale)
    for text in (LARGE, "on its way", "passed over", "too", "newest"):
        hub().publish(sale.id, just(text))
        await asyncio.sleep(0.02)
    async with asyncio.timeout(10):
        assert [await frame_on(line) for _ in range(3)] == [LARGE, "on its way", "newest"]
    assert await line.stays_open(0.05)
    hub().publish(sale.id, just("and on"))
    assert await asyncio.wait_for(frame_on(line), 2) == "and on"
    await line.close()


async def frame_on(line: Line) -> str:
    """The next text on a line, which is not masked."""
    first, length = await line.reader.readexactly(2)
    assert first == 0x81
    if length >= 126:
        length = int.from_bytes(await line.reader.readexactly(2 if length == 126 else 8))
    return (await line.reader.readexactly(length)).decode()


async def test_a_real_shops_viewers_are_told_beside_some_that_do_not_read(shop: str, sale: PublishedSale) -> None:
    await follows(shop, sale)
    port = urlsplit(shop).port or 0
    deaf = [await dial(port, receive_buffer=4096) for _ in range(20)]
    for line in deaf:
        line.write(upgrade(f"/ws/sales/{sale.sku}/"))
        assert (await line.answer()).status == 101
    viewers = [await watch(port, sale.sku) for _ in range(6)]
    for viewer in viewers:
        assert 'data-available="100"' in await text_of(viewer)
    async with client_of(shop) as client:
        for left in (99, 98, 97):
            answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))
            assert answer.status_code == 201
            found = await asyncio.gather(*(text_of(viewer, 1.0) for viewer in viewers))
            assert all(f'data-available="{left}"' in text for text in found)
    for line in deaf:
        line.reset()
    for viewer in viewers:
        await viewer.close()
