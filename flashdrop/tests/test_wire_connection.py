"""The life of one connection at the wire: rows of requests, clients that leave or don't read, time-outs, shutdown.

What is answered is in `test_wire.py`. Where a test takes both protocols, uvicorn's own shows what is meant.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop
from django.http import HttpRequest, HttpResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from conftest import cookie_of, eventually, follows, settings_of, shopper, show
from flashdrop import loops
from flashdrop.lean import runs_at_once
from flashdrop.tests.raw_http import JSON, Line, Served, dial, get, request, serving, upgrade, wait_until
from flashdrop.wire import WireProtocol
from orders import ledger
from orders.identity import Shopper
from sales import publishing
from sales.hub import hub
from sales.published import PublishedSale

pytestmark = pytest.mark.usefixtures("may_close_connections")
HIGH_WATER_BYTES = 64 * 1024
READ_BYTES = 256 * 1024

both_protocols = pytest.mark.parametrize("protocol", [WireProtocol, HttpToolsProtocol], ids=["wire", "uvicorn"])


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving() as found:
        yield found


@pytest.fixture
async def line(served: Served) -> AsyncIterator[Line]:
    async with served.line() as found:
        yield found


@pytest.fixture
async def sale(ledger_indexes: None) -> PublishedSale:
    found = (await publishing.publish(settings_of(stock=1000, description="Bright. " * 500))).sale
    await show()
    return found


class SlowView:
    """A hot view that answers when it is told to."""

    def __init__(self, served: Served) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        served.put("/slow", self)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        self.begun.set()
        await self.may_end.wait()
        return HttpResponse(b"slow:" + request.body)


def order(sale: PublishedSale, who: Shopper | None = None) -> bytes:
    body = json.dumps({"sku": sale.sku}).encode()
    return request("POST", "/api/orders", JSON | cookie_of(who or shopper()), body)


async def sold(sale: PublishedSale) -> int:
    return (await ledger.tally(sale.id)).orders


# Several requests on one connection


async def test_many_requests_one_after_another(line: Line, sale: PublishedSale) -> None:
    for _ in range(10):
        assert (await line.ask("GET", f"/sales/{sale.sku}/")).status == 200
        assert (await line.ask("GET", "/nothing")).status == 404
        line.write(order(sale))
        assert (await line.answer()).status == 201
    assert await sold(sale) == 10


ROWS: dict[str, list[tuple[str, int | None]]] = {
    "hot and hot": [("/healthz", 200), ("/api/products/x/stock", 404)],
    "hot and not hot": [("/healthz", 200), ("/admin/login/", 200)],
    "not hot and hot": [("/admin/login/", 200), ("/healthz", 200)],
    "not hot and not hot": [("/admin/login/", 200), ("/metrics", 200), ("/nothing", 404)],
    "with stores and without": [("/readyz", None), ("/healthz", 200), ("/api/orders", 401)],
    "all mixed": [("/healthz", 200), ("/api/orders", 401), ("/admin/login/", 200), ("/healthz", 200), ("/x", 404)],
}


@pytest.mark.parametrize("row", ROWS)
async def test_a_row_in_one_segment_is_answered_in_order(line: Line, row: str) -> None:
    line.write(b"".join(get(path) for path, _ in ROWS[row]))
    for path, status in ROWS[row]:
        answer = await line.answer()
        assert answer.status == (status or answer.status), path


async def test_orders_in_one_segment_get_their_units_in_order(line: Line, sale: PublishedSale) -> None:
    line.write(b"".join(order(sale) for _ in range(12)))
    found = [json.loads((await line.answer()).body)["data"]["units"] for _ in range(12)]
    assert found == [[unit] for unit in range(1, 13)]


async def test_what_comes_behind_an_order_is_answered_behind_it(line: Line, sale: PublishedSale) -> None:
    line.write(order(sale) + get("/healthz") + get("/admin/login/") + get("/healthz"))
    assert [(await line.answer()).status for _ in range(4)] == [201, 200, 200, 200]


@pytest.mark.parametrize("behind", ["/healthz", "/admin/login/", "/api/orders"])
async def test_nothing_overtakes_a_slow_answer(served: Served, line: Line, behind: str) -> None:
    slow = SlowView(served)
    line.write(get("/slow"))
    await slow.begun.wait()
    line.write(get(behind))
    await asyncio.sleep(0.05)
    line.write(get("/healthz"))
    assert await line.stays_open(0.05)
    slow.may_end.set()
    assert (await line.answer()).body == b"slow:"
    assert b"slow" not in (await line.answer()).body
    assert json.loads((await line.answer()).body) == {"status": "ok"}


async def test_a_request_byte_by_byte(line: Line, sale: PublishedSale) -> None:
    for byte in order(sale) + get("/healthz"):
        line.write(bytes([byte]))
        await asyncio.sleep(0)
    assert [(await line.answer()).status for _ in range(2)] == [201, 200]


async def test_a_body_that_comes_later(line: Line, sale: PublishedSale) -> None:
    head, _, body = order(sale).partition(b"\r\n\r\n")
    for part in (head, b"\r\n\r", b"\n" + body[:3], body[3:] + get("/healthz")):
        line.write(part)
        await asyncio.sleep(0.02)
    assert [(await line.answer()).status for _ in range(2)] == [201, 200]


async def test_hundreds_in_one_segment(line: Line) -> None:
    line.write(get("/healthz") * 500)
    assert {(await line.answer()).status for _ in range(500)} == {200}


@both_protocols
@pytest.mark.parametrize(
    "first", [get("/healthz", Connection="close"), request("GET", "/healthz", version="1.0")], ids=["close", "1.0"]
)
async def test_what_comes_behind_the_last_request_is_not_answered(
    protocol: type[HttpToolsProtocol], sale: PublishedSale, first: bytes
) -> None:
    async with serving(protocol) as served, served.line() as line:
        line.write(first + order(sale))
        answer = await line.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await line.end() == b""
    assert await sold(sale) == 0


async def test_what_came_before_nonsense_still_stands(line: Line, sale: PublishedSale) -> None:
    line.write(order(sale) + b"nonsense\r\n\r\n")
    assert b"400 Bad Request" in await line.end()
    await wait_for_orders(sale, 1)


async def wait_for_orders(sale: PublishedSale, count: int) -> None:
    async def found() -> bool:
        return await sold(sale) == count

    await eventually(found)


# Clients that leave


@pytest.mark.parametrize("leave", ["closes", "resets", "ends"])
@pytest.mark.parametrize("after_seconds", [0, 0.001])
async def test_an_order_of_a_client_that_leaves_stands(
    served: Served, sale: PublishedSale, leave: str, after_seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    served.handler.long_way.clear()
    line = await dial(served.port)
    connection = await connected(served, line)
    line.write(order(sale))
    await wait_until(lambda: connection.cycle is not None or connection.parser is None)
    await asyncio.sleep(after_seconds)
    if leave == "resets":
        line.reset()
    elif leave == "ends":
        line.writer.write_eof()
    with caplog.at_level(logging.WARNING):
        await line.close()
        await wait_for_orders(sale, 1)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert served.handler.long_way == []
    await wait_until(lambda: not served.server.server_state.tasks)


async def connected(served: Served, line: Line) -> Any:
    """The server's end, once it knows of the connection."""
    port = line.writer.get_extra_info("sockname")[1]
    await wait_until(lambda: port in [connection.client[1] for connection in served.connections])
    return served.ends_of(line)


@pytest.mark.parametrize(
    "part", [b"GET /hea", b"POST /api/orders HTTP/1.1\r\nHost: testserver\r\nContent-Length: 9\r\n\r\n{"]
)
async def test_of_half_a_request_nothing_is_left(served: Served, part: bytes, caplog: pytest.LogCaptureFixture) -> None:
    line = await dial(served.port)
    connection = await connected(served, line)
    line.write(part)
    await asyncio.sleep(0.02)
    with caplog.at_level(logging.WARNING):
        line.reset()
        await wait_until(lambda: connection not in served.connections)
    assert caplog.records == []
    assert not served.server.server_state.tasks


async def test_of_a_connection_that_ended_nothing_is_left(served: Served, sale: PublishedSale) -> None:
    """No task, no timer, no object that would add up over a million shoppers."""
    line = await dial(served.port)
    line.write(get("/healthz") + order(sale) + get("/admin/login/") + get("/healthz"))
    for _ in range(4):
        await line.answer()
    connection = served.ends_of(line)
    assert connection.timeout_keep_alive_task is not None
    await line.close()
    await wait_until(lambda: connection not in served.connections)
    assert connection.timeout_keep_alive_task is None
    assert not served.server.server_state.tasks
    gone = weakref.ref(connection)
    connection = None

    def is_collected() -> bool:
        gc.collect()
        return gone() is None

    await wait_until(is_collected)


async def test_a_slow_answer_for_nobody_is_dropped(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    slow = SlowView(served)
    line = await dial(served.port)
    line.write(get("/slow") + get("/healthz"))
    await slow.begun.wait()
    line.reset()
    await asyncio.sleep(0.02)
    with caplog.at_level(logging.WARNING):
        slow.may_end.set()
        await wait_until(lambda: not served.server.server_state.tasks)
    assert caplog.records == []


# Clients that don't read


async def test_a_client_that_reads_nothing_is_read_no_further(served: Served, sale: PublishedSale) -> None:
    """What waits for it in memory is bounded: the answers by the high-water mark, the requests by one read."""
    page = get(f"/sales/{sale.sku}/")
    async with served.line(receive_buffer=4096) as deaf:
        size = len((await deaf.ask("GET", f"/sales/{sale.sku}/")).body)
        connection = served.ends_of(deaf)
        wanted = 40 * 1024 * 1024 // size
        for _ in range(wanted // 100):
            deaf.write(page * 100)
            await asyncio.sleep(0)
        await wait_until(lambda: connection.flow.read_paused)
        waiting = len(connection.pipeline)
        assert connection.transport.get_write_buffer_size() <= HIGH_WATER_BYTES + 2 * size
        assert waiting <= 2 * READ_BYTES / len(page)
        deaf.write(page * 10_000)
        await asyncio.sleep(0.1)
        assert len(connection.pipeline) == waiting
        deaf.reset()
        await wait_until(lambda: connection not in served.connections and not served.server.server_state.tasks)


async def test_a_client_that_reads_late_gets_every_answer(served: Served, sale: PublishedSale) -> None:
    async with served.line(receive_buffer=4096) as late:
        late.write(get(f"/sales/{sale.sku}/") * 1500)
        connection = await connected(served, late)
        await wait_until(lambda: connection.flow.write_paused)
        statuses = [(await late.answer()).status for _ in range(1500)]
        assert statuses == [200] * 1500
        assert (await late.ask("GET", "/healthz")).status == 200


async def test_an_order_of_a_client_that_does_not_read_stands_and_waits_for_it(
    served: Served, sale: PublishedSale
) -> None:
    async with served.line(receive_buffer=4096) as late:
        connection = await connected(served, late)
        late.write(get(f"/sales/{sale.sku}/") * 1000 + order(sale))
        await wait_until(lambda: connection.flow.write_paused)
        for _ in range(1000):
            await late.answer()
        assert (await late.answer()).status == 201


async def test_a_client_that_reads_nothing_takes_nobody_elses_time(served: Served, sale: PublishedSale) -> None:
    page = get(f"/sales/{sale.sku}/")
    async with served.line(receive_buffer=4096) as deaf, served.line() as other:
        deaf.write(page * 3000)
        longest = 0.0
        for _ in range(30):
            started = time.monotonic()
            assert (await other.ask("GET", "/healthz")).status == 200
            longest = max(longest, time.monotonic() - started)
        assert longest < 1.0
        deaf.reset()


# Idle connections


@both_protocols
async def test_an_idle_connection_is_closed(protocol: type[HttpToolsProtocol]) -> None:
    async with serving(protocol, keep_alive_seconds=0.3) as served, served.line() as line:
        await line.ask("GET", "/healthz")
        started = time.monotonic()
        assert await line.end(2) == b""
        assert 0.25 <= time.monotonic() - started < 1.0


@both_protocols
@pytest.mark.parametrize("path", ["/healthz", "/api/orders", "/admin/login/"])
async def test_a_connection_in_use_stays(protocol: type[HttpToolsProtocol], path: str) -> None:
    async with serving(protocol, keep_alive_seconds=0.4) as served, served.line() as line:
        for _ in range(4):
            await line.ask("GET", path)
            await asyncio.sleep(0.2)
        assert await line.end(2) == b""


@both_protocols
@pytest.mark.parametrize(
    "before", [b"", get("/healthz"), get("/admin/login/")], ids=["alone", "hot before", "long before"]
)
@pytest.mark.parametrize("together", [True, False])
async def test_a_slow_answer_is_not_cut_off(protocol: type[HttpToolsProtocol], before: bytes, together: bool) -> None:
    """However long it takes, and in whatever row it stands: nobody is idle meanwhile."""
    async with serving(protocol, keep_alive_seconds=0.1) as served, served.line() as line:
        slow = SlowView(served)
        line.write(before + (get("/slow") if together else b""))
        if before:
            await line.answer()
        if not together:
            line.write(get("/slow"))
        await slow.begun.wait()
        await asyncio.sleep(0.25)
        slow.may_end.set()
        assert (await line.answer()).body == b"slow:"
        assert (await line.ask("GET", "/healthz")).status == 200
        assert await line.end(2) == b""


@both_protocols
async def test_half_a_request_is_waited_for(protocol: type[HttpToolsProtocol], sale: PublishedSale) -> None:
    async with serving(protocol, keep_alive_seconds=0.1) as served, served.line() as line:
        await line.ask("GET", "/healthz")
        raw = order(sale)
        line.write(raw[:-5])
        await asyncio.sleep(0.25)
        line.write(raw[-5:])
        assert (await line.answer()).status == 201


async def test_a_websocket_is_not_closed_as_idle(sale: PublishedSale) -> None:
    """The connection that became one was idle before, and timed."""
    async with serving(keep_alive_seconds=0.1) as served, served.line() as line:
        await line.ask("GET", f"/sales/{sale.sku}/")
        line.write(upgrade(f"/ws/sales/{sale.sku}/"))
        assert (await line.answer()).status == 101
        await line.reader.readexactly(4)
        await asyncio.sleep(0.3)
        hub().publish(sale.id, lambda language: "still there")
        assert b"still there" in await asyncio.wait_for(line.reader.readuntil(b"still there"), 2)


async def test_an_idle_connection_keeps_nothing_of_the_last_body(served: Served, line: Line) -> None:
    """16 KiB for each of ten thousand idle shoppers would be a lot."""
    mark = b"a body that nobody needs any more"
    await line.ask("POST", "/api/orders", JSON, mark * 400)
    assert (await line.ask("GET", "/nothing")).status == 404
    assert mark not in b"".join(served.ends_of(line)._body)


async def test_a_row_in_one_segment_leaves_one_timer_of_each_kind(served: Served, line: Line) -> None:
    line.write(get("/healthz") * 20)
    for _ in range(20):
        await line.answer()
    loop = asyncio.get_running_loop()
    timers = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    mine = served.ends_of(line)
    ours = sorted(one._callback.__name__ for one in timers if getattr(one._callback, "__self__", None) is mine)
    assert ours == ["_look", "timeout_keep_alive_handler"]


# Shutdown


async def shut_down(served: Served) -> None:
    """SIGTERM: returns when the connections have been told."""
    listeners = served.server.servers
    served.server.should_exit = True
    await wait_until(lambda: not any(listener.is_serving() for listener in listeners))


@both_protocols
async def test_shutdown_closes_idle_connections(protocol: type[HttpToolsProtocol]) -> None:
    async with serving(protocol) as served, served.line() as used, served.line() as unused:
        await used.ask("GET", "/healthz")
        await shut_down(served)
        assert (await used.end(1), await unused.end(1)) == (b"", b"")
        await asyncio.wait_for(served.task, 2)


@both_protocols
async def test_shutdown_waits_for_the_request_under_way(protocol: type[HttpToolsProtocol]) -> None:
    async with serving(protocol) as served, served.line() as line:
        slow = SlowView(served)
        line.write(get("/slow"))
        await slow.begun.wait()
        await shut_down(served)
        assert not served.task.done()
        slow.may_end.set()
        assert (await line.answer()).body == b"slow:"
        assert await line.end(1) == b""
        await asyncio.wait_for(served.task, 2)
        assert not served.server.server_state.tasks


@both_protocols
async def test_the_last_answer_says_that_it_is_the_last(protocol: type[HttpToolsProtocol]) -> None:
    """Else the client sends its next request into a connection that is being closed."""
    async with serving(protocol) as served, served.line() as line:
        slow = SlowView(served)
        line.write(get("/slow"))
        await slow.begun.wait()
        await shut_down(served)
        slow.may_end.set()
        assert (await line.answer()).headers.get("connection") == "close"


@both_protocols
async def test_shutdown_waits_for_a_request_whose_body_is_coming(
    protocol: type[HttpToolsProtocol], sale: PublishedSale
) -> None:
    async with serving(protocol) as served, served.line() as line:
        await line.ask("GET", "/healthz")
        raw = order(sale)
        line.write(raw[:-5])
        await asyncio.sleep(0.05)
        await shut_down(served)
        line.write(raw[-5:])
        assert (await line.answer()).status == 201
        assert await line.end(1) == b""
    assert await sold(sale) == 1


@both_protocols
async def test_shutdown_answers_what_was_taken_on_behind_it_too(
    protocol: type[HttpToolsProtocol], sale: PublishedSale
) -> None:
    async with serving(protocol) as served, served.line() as line:
        slow = SlowView(served)
        line.write(get("/slow") + order(sale))
        await slow.begun.wait()
        await shut_down(served)
        slow.may_end.set()
        assert (await line.answer()).body == b"slow:"
        assert (await line.answer()).status == 201
        assert await line.end(1) == b""


@both_protocols
async def test_shutdown_is_not_held_up_for_ever(
    protocol: type[HttpToolsProtocol], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(protocol) as served, served.line() as line:
        served.server.config.timeout_graceful_shutdown = 1
        slow = SlowView(served)
        line.write(get("/slow"))
        await slow.begun.wait()
        served.server.should_exit = True
        await asyncio.wait_for(served.task, 4)


@both_protocols
async def test_shutdown_closes_a_connection_that_was_answered_at_once_a_moment_ago(
    protocol: type[HttpToolsProtocol],
) -> None:
    """Also when its view would have run without a task."""

    async def at_once(request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"now")

    async with serving(protocol) as served, served.line() as line:
        served.put("/now", runs_at_once(at_once))
        assert (await line.ask("GET", "/now")).body == b"now"
        await shut_down(served)
        assert await line.end(1) == b""


# The same on uvloop, whose transports are others


async def on_uvloop(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `scenario` on a loop like that of a web worker."""

    async def main() -> None:
        try:
            await asyncio.wait_for(scenario(), 20)
        finally:
            await loops.close_all()

    def work() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())

    await asyncio.to_thread(work)


async def test_on_uvloop_a_slow_answer_for_nobody_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving() as served:
            slow = SlowView(served)
            line = await dial(served.port)
            connection = await connected(served, line)
            line.write(get("/slow"))
            await slow.begun.wait()
            line.reset()
            await wait_until(lambda: connection not in served.connections)
            slow.may_end.set()
            await wait_until(lambda: not served.server.server_state.tasks)

    with caplog.at_level(logging.WARNING):
        await on_uvloop(scenario)
    assert caplog.records == []


async def test_on_uvloop_a_client_that_reads_nothing_is_read_no_further(sale: PublishedSale) -> None:
    async def scenario() -> None:
        await show()
        page = get(f"/sales/{sale.sku}/")
        async with serving() as served, served.line(receive_buffer=4096) as deaf:
            size = len((await deaf.ask("GET", f"/sales/{sale.sku}/")).body)
            connection = served.ends_of(deaf)
            for _ in range(400_000 // size):
                deaf.write(page * 100)
                await asyncio.sleep(0)
            await wait_until(lambda: connection.flow.read_paused)
            assert connection.transport.get_write_buffer_size() <= HIGH_WATER_BYTES + 2 * size
            assert len(connection.pipeline) <= 2 * READ_BYTES / len(page)
            deaf.reset()
            await wait_until(lambda: connection not in served.connections and not served.server.server_state.tasks)

    await on_uvloop(scenario)


async def test_on_uvloop_an_idle_connection_is_closed_and_one_in_use_stays() -> None:
    async def scenario() -> None:
        async with serving(keep_alive_seconds=0.4) as served, served.line() as line:
            for _ in range(4):
                assert (await line.ask("GET", "/healthz")).status == 200
                await asyncio.sleep(0.2)
            assert await line.end(2) == b""

    await on_uvloop(scenario)


# And by the two workers of a real shop


@pytest.fixture(scope="module")
async def shown(shop: str, ledger_indexes: None) -> PublishedSale:
    """A sale that both workers show."""
    found = (await publishing.publish(settings_of(stock=1000, description="Bright. " * 500))).sale
    await follows(shop, found)
    return found


@pytest.fixture
async def far(shop: str, shown: PublishedSale) -> AsyncIterator[Line]:
    line = await dial(urlsplit(shop).port or 0)
    yield line
    await line.close()


async def test_a_real_shop_answers_a_row_in_order(far: Line, shown: PublishedSale) -> None:
    far.write(get("/healthz") + order(shown) + get("/admin/login/") + get("/healthz") + order(shown) + get("/nothing"))
    assert [(await far.answer()).status for _ in range(6)] == [200, 201, 200, 200, 201, 404]


async def test_a_real_shop_puts_a_request_together(far: Line, shown: PublishedSale) -> None:
    for byte in order(shown) + get("/healthz"):
        far.write(bytes([byte]))
        await asyncio.sleep(0)
    assert [(await far.answer()).status for _ in range(2)] == [201, 200]


async def test_a_real_shop_keeps_late_readers_answers_and_serves_others_meanwhile(
    shop: str, far: Line, shown: PublishedSale
) -> None:
    port = urlsplit(shop).port or 0
    # Enough of them that both workers have some.
    late = [await dial(port, receive_buffer=4096) for _ in range(8)]
    for one in late:
        one.write(get(f"/sales/{shown.sku}/") * 1000)
    for _ in range(20):
        started = time.monotonic()
        assert (await far.ask("GET", "/healthz")).status == 200
        assert time.monotonic() - started < 1.0
    for one in late[:2]:
        assert {(await one.answer()).status for _ in range(1000)} == {200}
    for one in late:
        one.reset()
