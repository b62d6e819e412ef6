"""What the figures are held against: the stores alone, in batches and one order at a time, and bare ASGI."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flashdrop.bench.offers import offer
from flashdrop.embedded.process import Server, free_port

if TYPE_CHECKING:  # Django is set up only once the stores run
    from sales.gate import Wish
    from sales.published import PublishedSale

BATCH = 256
IN_FLIGHT = 2
NAIVE_AT_ONCE = 64
PLENTY = 10_000_000
HELLO = Path(__file__).resolve().parent / "hello.py"
START_SECONDS = 15.0
Work = Callable[["PublishedSale", float], Awaitable[int]]


def stores_limit(seconds: float) -> float:
    """Durable orders a second, reserved, inserted and confirmed in full batches, without HTTP."""
    return _rate("limit", _in_batches, seconds)


def naive_rate(seconds: float) -> float:
    """Durable orders a second the way one would write it first: each order by itself, 64 of them at once, without HTTP.

    The same gate, the same write concern; one script call, one insert and one deletion for each order.
    """
    return _rate("naive", _one_at_a_time, seconds)


def gate_limit(seconds: float) -> float:
    """Reservations a second of one Redis, in full batches: what one sale can sell at most, on one core."""
    from flashdrop.bench.generator import run

    sale = offer(f"gate-{secrets.token_hex(4)}", PLENTY)
    return run(lambda: _reserve_and_release(sale, seconds))


@contextmanager
def bare_asgi(folder: Path) -> Iterator[str]:
    """An ASGI application that says hello, on one bare uvicorn worker; its address. `folder` takes its log."""
    port = free_port()
    server = Server("hello", [sys.executable, str(HELLO), str(port)], folder / "hello.log")
    url = f"http://127.0.0.1:{port}/"

    def answers() -> bool:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=1) as response:
            return bool(response.status == 200)
        return False

    try:
        server.wait_until(answers, START_SECONDS)
        yield url
    finally:
        server.stop()


def _rate(name: str, work: Work, seconds: float) -> float:
    from flashdrop.bench.generator import run

    sale = offer(f"{name}-{secrets.token_hex(4)}", PLENTY)

    async def timed() -> float:
        began = time.perf_counter()
        orders = await work(sale, seconds)
        return orders / (time.perf_counter() - began)

    return run(timed)


async def _repeat(lanes: int, seconds: float, step: Callable[[], Awaitable[int]]) -> int:
    """Run `step` again and again in `lanes` lanes; returns the sum of what it returned."""
    ends = time.perf_counter() + seconds

    async def lane() -> int:
        done = 0
        while time.perf_counter() < ends:
            done += await step()
        return done

    return sum(await asyncio.gather(*(lane() for _ in range(lanes))))


async def _in_batches(sale: PublishedSale, seconds: float) -> int:
    return await _repeat(IN_FLIGHT, seconds, lambda: _sell(sale, BATCH))


async def _one_at_a_time(sale: PublishedSale, seconds: float) -> int:
    return await _repeat(NAIVE_AT_ONCE, seconds, lambda: _sell(sale, 1))


async def _reserve_and_release(sale: PublishedSale, seconds: float) -> float:
    from flashdrop.redis_client import redis
    from sales import stock

    held: list[tuple[str, str]] = []

    async def step() -> int:
        wishes = _wishes(BATCH)
        held.extend((wish.shopper_id, wish.order_id) for wish in wishes)
        return len(await stock.reserve(redis(), sale.id, sale.epoch, wishes))

    began = time.perf_counter()
    rate = await _repeat(IN_FLIGHT, seconds, step) / (time.perf_counter() - began)
    # Not measured: otherwise a worker would make orders of them all while the next figures are taken.
    for start in range(0, len(held), BATCH):
        await stock.release(redis(), sale.id, held[start : start + BATCH])
    return rate


async def _sell(sale: PublishedSale, count: int) -> int:
    """The three steps of a purchase for `count` shoppers, as the product does them."""
    from flashdrop.redis_client import redis
    from orders import ledger
    from orders.ledger import Insertion
    from orders.order import pending_order
    from sales import stock

    answers = await stock.reserve(redis(), sale.id, sale.epoch, _wishes(count))
    reservations = [answer.reservation for answer in answers if answer.reservation is not None]
    written = await ledger.insert([pending_order(reservation) for reservation in reservations], datetime.now(UTC))
    await stock.confirm(redis(), sale.id, [reservation.entry_id for reservation in reservations])
    return written.count(Insertion.WRITTEN)


def _wishes(count: int) -> list[Wish]:
    from orders.order import context_of
    from sales.gate import Wish

    context = context_of("bench", "bench", "bench", None)
    ids = itertools.islice(iter(lambda: secrets.token_hex(12), None), count)
    return [Wish(order_id, order_id, 1, False, context) for order_id in ids]
