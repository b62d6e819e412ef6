"""What a shop that has sold for years costs: sales that are long over, and the orders that a rebuild has to read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from flashdrop.bench.offers import settings_for, write_orders
from flashdrop.bench.row import Row
from flashdrop.metrics import resident_bytes

PAST_SALES = 10_000
AT_ONCE = 50
LOOKS = 200
TOLERATED_PERCENT = 25
REBUILT_ORDERS = 100_000
KB_FOR_A_THOUSAND = 64


def measure_past_sales(sales: int = PAST_SALES) -> list[Row]:
    """What a board's refresh and a worker's round take beside one archived sale, and beside very many.

    The quickest of many looks: a question to the stores takes a millisecond, and whatever else the machine does longer.
    """
    from flashdrop import loops

    async def measure() -> list[Row]:
        from orders import indexes
        from orders.worker import Worker
        from sales import publishing
        from sales.board import board

        await indexes.ensure_indexes()
        await publishing.publish(settings_for("bench-in-use", 1000))
        worker = Worker()

        async def refresh() -> None:
            board().ask_for_settings()
            await board().refresh()

        names = {"a board's refresh": refresh, "a worker's round": worker.round}
        await _archive(0, 1)
        few = {name: await _milliseconds(work) for name, work in names.items()}
        await _archive(1, sales)
        many = {name: await _milliseconds(work) for name, work in names.items()}
        return [_row(name, sales, few[name], many[name]) for name in names]

    return loops.run(measure)


def measure_rebuild(orders: int = REBUILT_ORDERS) -> list[Row]:
    """How long a rebuild takes, and what it holds in memory at its peak for each order that it reads."""
    from flashdrop import loops

    async def measure() -> list[Row]:
        from orders import indexes
        from orders.rebuild import rebuild
        from sales import publishing

        await indexes.ensure_indexes()
        sale = (await publishing.publish(settings_for("bench-rebuilt", orders * 2))).sale
        # Once with little: what the first rebuild of a process needs is not the orders'.
        await write_orders(sale, orders // 20)
        sale = (await rebuild(sale)).sale
        await write_orders(sale, orders, first=orders // 20 + 1)
        before = peak = resident_bytes()

        def look(done: int, total: int) -> None:
            nonlocal peak
            peak = max(peak, resident_bytes())

        rebuilt = await rebuild(sale, look)
        each = (peak - before) / rebuilt.orders * 1000 / 1024
        return [
            Row(f"a rebuild from {rebuilt.orders:,} orders", (rebuilt.seconds,), "s", "", None),
            Row(
                "memory of a rebuild, for each 1,000 orders",
                (each,),
                "KB",
                f"at most {KB_FOR_A_THOUSAND} KB",
                each <= KB_FOR_A_THOUSAND,
                (f"{(peak - before) / 2**20:,.1f} MB more at the peak",),
            ),
        ]

    return loops.run(measure)


async def _archive(first: int, count: int) -> None:
    """Put away sales that were over long ago, as a worker does."""
    from dataclasses import replace

    from sales import catalogue

    over = datetime.now(UTC).replace(microsecond=0) - timedelta(days=400)

    async def one(number: int) -> None:
        settings = settings_for(f"bench-past-{number}", 1000)
        sale = await catalogue.save(replace(settings, opens_at=over - timedelta(hours=1), closes_at=over))
        await catalogue.archive(sale, over)
        await catalogue.gone_from_gate(sale)

    for start in range(first, first + count, AT_ONCE):
        await asyncio.gather(*(one(number) for number in range(start, min(start + AT_ONCE, first + count))))


async def _milliseconds(work: Callable[[], Awaitable[object]]) -> float:
    found = []
    for _ in range(LOOKS):
        started = time.perf_counter()
        await work()
        found.append((time.perf_counter() - started) * 1000)
    return min(found)


def _row(name: str, sales: int, few: float, many: float) -> Row:
    grown = 100 * (many / few - 1)
    return Row(
        f"{name} beside {sales:,} past sales, against 1",
        (grown,),
        "%",
        f"within {TOLERATED_PERCENT}%",
        grown <= TOLERATED_PERCENT,
        (f"{few:.2f} ms, then {many:.2f} ms",),
    )
