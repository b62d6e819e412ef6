"""What grows with the shop, and what must not: orders in the ledger, sales on show, time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from statistics import median
from typing import TYPE_CHECKING

from flashdrop.bench.offers import mint_cookies, offer, write_orders
from flashdrop.bench.row import Row
from flashdrop.bench.shop import memory_bytes_of, running_shop
from flashdrop.bench.stores import Stores
from flashdrop.bench.traffic import ON_SHOW_SECONDS, PLENTY, Traffic, Untrue

if TYPE_CHECKING:  # Django is set up only once the stores run
    from sales.published import PublishedSale

FEW_ORDERS = 1000
SALES = 200
TOLERATED_PERCENT = 15
STEADY_PERCENT = 5
WARM_UP_SHARE = 0.2
LOOK_SECONDS = 0.5
STARTS = 3
START_SECONDS = 2.0


def measure_starts(stores: Stores, runs: int = STARTS) -> Row:
    """From the start of `serve` to its first answer."""
    seconds = []
    for _ in range(runs):
        with running_shop(stores) as shop:
            seconds.append(shop.seconds_to_answer)
    return Row("start: `serve` answers", tuple(seconds), "s", "within 2 s", median(seconds) <= START_SECONDS)


def fill_ledger(sale: PublishedSale, orders: int) -> None:
    """Write `orders` orders of `sale` into the ledger, and rebuild its gate so that it knows them."""
    from flashdrop import loops
    from flashdrop.redis_client import redis
    from orders.rebuild import RebuildImpossible, rebuild
    from sales import catalogue, stock

    async def fill() -> None:
        await write_orders(sale, orders)
        # A worker may have noticed before us that the gate has to be rebuilt.
        while (await stock.levels(redis(), [sale.id]))[1][0].issued < orders:
            current = await catalogue.get(sale.id)
            assert current is not None
            with contextlib.suppress(RebuildImpossible):
                await rebuild(current)
            await asyncio.sleep(LOOK_SECONDS)

    loops.run(fill)


def fill_sales(orders: int) -> list[PublishedSale]:
    """Three sales: one with a few orders, one with `orders`, and one more with a few.

    To be called before the shop runs: a worker would rebuild their gates again and again meanwhile.
    """
    from flashdrop import loops
    from orders import indexes

    loops.run(indexes.ensure_indexes)
    return [_filled("small", FEW_ORDERS), _filled("large", orders), _filled("beside-many", FEW_ORDERS)]


def measure_growth(traffic: Traffic, sales: list[PublishedSale]) -> list[Row]:
    """The cost of one order in a small and in a large sale, and with one and with many sales on show."""
    orders = traffic.extent.ledger_orders
    small, large, beside_many = sales
    few, many = _costs(traffic, small, large)
    rows = [_growth_row(f"an order's cost with {orders:,} orders in its sale, against {FEW_ORDERS:,}", few, many)]
    for number in range(SALES - len(sales)):
        offer(f"bench-shelf-{number}", PLENTY)
    (crowded,) = _costs(traffic, beside_many)
    rows.append(_growth_row(f"an order's cost with {SALES} sales on show, against a few", few, crowded))
    return rows


def measure_soak(traffic: Traffic) -> Row:
    """Memory of the web workers under steady purchases and page views."""
    offer("bench-open", PLENTY)
    time.sleep(ON_SHOW_SECONDS)
    seconds = traffic.extent.soak_seconds
    samples: list[tuple[float, float]] = []
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        newcomers = traffic.stores.folder / "newcomers.txt"
        mint_cookies(newcomers, traffic.extent.cookies // 4, prefix=f"soak-{len(samples)}-")
        traffic.buy_from("bench-open", newcomers)
        traffic.page()
        samples.append((elapsed, sum(map(memory_bytes_of, traffic.shop.web_pids())) / 2**20))
    settled = [megabytes for at, megabytes in samples if at >= WARM_UP_SHARE * seconds] or [samples[-1][1]]
    third = max(1, len(settled) // 3)
    grown = 100 * (median(settled[-third:]) / median(settled[:third]) - 1)
    return Row(
        f"memory of the web workers over {seconds:,} s of purchases and pages",
        (grown,),
        "%",
        f"flat: within {STEADY_PERCENT}% after warm-up",
        abs(grown) <= STEADY_PERCENT,
        (f"{settled[0]:,.0f} MB after warm-up, {settled[-1]:,.0f} MB at the end, both workers",),
    )


def _filled(name: str, orders: int) -> PublishedSale:
    sale = offer(f"bench-{name}-{secrets.token_hex(3)}", PLENTY)
    fill_ledger(sale, orders)
    return sale


def _costs(traffic: Traffic, *sales: PublishedSale) -> list[list[float]]:
    """Microseconds of processor time of one order in each of `sales`, measured in turn."""
    time.sleep(ON_SHOW_SECONDS)
    costs: list[list[float]] = [[] for _ in sales]
    for number in range(traffic.extent.runs):
        for sale, found in zip(sales, costs, strict=True):
            found.append(_cost_of_an_order(traffic, sale, number))
    return costs


def _cost_of_an_order(traffic: Traffic, sale: PublishedSale, number: int) -> float:
    """Of all processes but the generator: unlike a rate, it does not depend on what else the machine is doing."""
    cookies = traffic.stores.folder / f"growth-{number}.txt"
    if not cookies.exists():
        mint_cookies(cookies, traffic.extent.cookies // 2, prefix=f"growth-{number}-")
    before = traffic.shop.cpu_seconds()
    load = traffic.buy_from(sale.sku, cookies)
    after = traffic.shop.cpu_seconds()
    if load.refused:
        raise Untrue(f"{load.refused:,} of {load.requests:,} purchases were refused")
    return sum(after[part] - before[part] for part in after) / load.requests * 1e6


def _growth_row(name: str, before: list[float], after: list[float]) -> Row:
    grown = tuple(100 * (more / median(before) - 1) for more in after)
    return Row(
        name,
        grown,
        "%",
        f"within ±{TOLERATED_PERCENT}%",
        abs(median(grown)) <= TOLERATED_PERCENT,
        (f"processor time of all parts: {median(before):,.0f} µs, then {median(after):,.0f} µs",),
    )
