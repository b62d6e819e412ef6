"""A real opening: everybody is on the page and clicks: `python -m flashdrop.bench.opening [--shoppers N] [--units N]`.

Each shopper has the page, the panel and a websocket, as a browser does, and clicks once at a random moment of the first
two seconds. Who is told "not yet" or "try again" tries again, as the same attempt.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles

from flashdrop.bench.generator import allow_open_files, run, side_by_side, wait_until
from flashdrop.bench.offers import mint_cookies, offer, sold
from flashdrop.bench.row import Curve, Points, Row
from flashdrop.bench.shop import Shop, running_shop
from flashdrop.bench.shopper import BOUGHT, SOLD_OUT, Shopper
from flashdrop.bench.stores import Stores, own_stores

CLICK_SECONDS = 2.0
# Far away, until everybody is there; then the opening is set this far ahead.
UNTIL_SET = timedelta(minutes=30)
LEAD = timedelta(seconds=3)
# Each web process reads the settings once a second.
ON_SHOW_SECONDS = 1.5
ARRIVING_AT_ONCE = 100
LAST_BANNER_SECONDS = 5.0
MOST_ANSWER_SECONDS, MOST_BANNER_SECONDS = 3, 1
CURVE_POINTS = 200


@dataclass(frozen=True, slots=True)
class Opening:
    """What happened. Times are by `time.perf_counter()`."""

    shoppers: list[Shopper]
    opened_at: float
    seconds_to_arrive: float
    generator_share: float
    """Of one core, used by this process from the opening to the last answer."""

    def answers_at(self, statuses: set[int] | None = None) -> list[float]:
        """When the final answers came, those with `statuses` if they are named, the first one first."""
        return sorted(s.answered_at for s in self.shoppers if statuses is None or s.status in statuses)

    def shown_at(self, phase: bytes) -> list[float]:
        """When each websocket showed `phase`, the first one first."""
        return sorted(s.shown_at[phase] for s in self.shoppers if phase in s.shown_at)

    @property
    def gone_at(self) -> float | None:
        """The earliest moment at which the last unit was known to be taken; None when units are left."""
        refused, bought = self.answers_at({SOLD_OUT}), self.answers_at(BOUGHT)
        return min([*refused[:1], *bought[-1:]]) if refused else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shoppers", type=int, default=5000)
    parser.add_argument("--units", type=int, default=1000)
    arguments = parser.parse_args()
    allow_open_files(2 * arguments.shoppers)
    with own_stores() as stores:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("collectstatic", interactive=False, verbosity=0)
        with running_shop(stores) as shop:
            rows, _ = measure_opening(stores, shop, arguments.shoppers, arguments.units)
    for row in rows:
        print(f"{row.name}: {row.figure:,.2f} {row.unit} ({row.reach})", *row.notes, sep="\n  ")


def measure_opening(
    stores: Stores, shop: Shop, shoppers: int = 5000, units: int = 1000, cookies: Path | None = None
) -> tuple[list[Row], list[Curve]]:
    """Let `shoppers` people buy one of fewer `units` each. `cookies` has theirs, one a line; made when left out.

    The shop inherits its limit of open files: call `allow_open_files` before it is started.

    Raises:
        RuntimeError: the system does not allow as many open files.
        ExceptionGroup: a page was not served, or a connection not opened.
    """
    allow_open_files(2 * shoppers)
    if cookies is None:
        cookies = stores.folder / "opening-cookies.txt"
        mint_cookies(cookies, shoppers)
    lines = cookies.read_text().splitlines()[:shoppers]
    sku = f"opening-{secrets.token_hex(4)}"
    offer(sku, units, UNTIL_SET)
    people = [Shopper(shop.port, sku, line) for line in lines]
    found = run(lambda: _open(people, sku, units))
    return _rows(found, sku, units), _curves(found)


async def _open(people: list[Shopper], sku: str, units: int) -> Opening:
    await asyncio.sleep(ON_SHOW_SECONDS)
    began = time.perf_counter()
    await side_by_side((shopper.arrive() for shopper in people), ARRIVING_AT_ONCE)
    seconds_to_arrive = time.perf_counter() - began
    sale = await asyncio.to_thread(offer, sku, units, LEAD)
    opened_at = time.perf_counter() + (sale.opens_at - datetime.now(UTC)).total_seconds()
    clicks = [opened_at + random.uniform(0, CLICK_SECONDS) for _ in people]
    async with asyncio.TaskGroup() as group:
        for shopper, clicks_at in zip(people, clicks, strict=True):
            group.create_task(shopper.buy(clicks_at))
        await asyncio.sleep(opened_at - time.perf_counter())
        cpu_before = time.process_time()
    generator_share = (time.process_time() - cpu_before) / (time.perf_counter() - opened_at)
    found = Opening(people, opened_at, seconds_to_arrive, generator_share)
    if found.gone_at is not None:
        await wait_until(lambda: len(found.shown_at(b"sold_out")) == len(people), LAST_BANNER_SECONDS)
    for shopper in people:
        shopper.leave()
    return found


def _rows(found: Opening, sku: str, units: int) -> list[Row]:
    people, count = found.shoppers, len(found.shoppers)
    seconds = [shopper.seconds for shopper in people]
    statuses = Counter(shopper.status for shopper in people)
    put_off = sum((shopper.put_off for shopper in people), Counter[int]())
    active, sold_out = found.shown_at(b"active"), found.shown_at(b"sold_out")
    told_after = max(sold_out[-1] - found.gone_at, 0.0) if sold_out and found.gone_at else float("inf")
    untrue, orders = _untrue(people, sku, units), sold(sku)
    return [
        Row(
            f"an opening: {count:,} shoppers, {units:,} units, all click within {CLICK_SECONDS:.0f} s:"
            " slowest true answer",
            (max(seconds),),
            "s",
            f"at most {MOST_ANSWER_SECONDS} s",
            max(seconds) <= MOST_ANSWER_SECONDS,
            (
                f"median {median(seconds) * 1000:.0f} ms,"
                f" 99th percentile {quantiles(seconds, n=100, method='inclusive')[98] * 1000:.0f} ms",
                f"answers by status: {_listed(statuses)}",
                f"put off meanwhile: {_listed(put_off)}",
                f"pages, panels and websockets of all in {found.seconds_to_arrive:.1f} s",
                f"on sale on {len(active):,} banners, the last {(active or [0])[-1] - found.opened_at:.2f} s"
                " after the opening",
                f"the generator used {found.generator_share:.0%} of a core",
            ),
        ),
        Row(
            "sold out on every banner after the last unit",
            (told_after,),
            "s",
            f"at most {MOST_BANNER_SECONDS} s",
            told_after <= MOST_BANNER_SECONDS and len(sold_out) == count,
            (
                f"on {len(sold_out):,} of {count:,} websockets",
                "counted from the first answer that said so, or the last sale if that came first",
            ),
        ),
        Row("untrue answers", (float(untrue),), "", "none", untrue == 0, (f"{orders:,} orders in the ledger",)),
    ]


def _untrue(people: Iterable[Shopper], sku: str, units: int) -> int:
    """Shoppers who were told something else than the ledger says, or nothing definite; and units sold too often."""
    from flashdrop import loops
    from orders import ledger
    from orders.identity import COOKIE, read_cookie

    async def holders() -> list[str]:
        return [shopper_id async for shopper_id, *_ in ledger.holdings(sku)]

    held = loops.run(holders)
    buyers = set(held)
    untrue = abs(len(held) - len(buyers)) + max(len(held) - units, 0)
    for person in people:
        known = read_cookie(person.cookie.removeprefix(f"{COOKIE}="))
        has_order = known is not None and known.id in buyers
        is_definite = person.was_told_bought or (person.status == SOLD_OUT and len(held) >= units)
        untrue += has_order != person.was_told_bought or not is_definite
    return untrue


def _curves(found: Opening) -> list[Curve]:
    lines = {
        "orders confirmed": found.answers_at(BOUGHT),
        "answers": found.answers_at(),
        "banners that say sold out": found.shown_at(b"sold_out"),
    }
    return [Curve("opening", label, _cumulative(times, found.opened_at)) for label, times in lines.items()]


def _cumulative(times: list[float], since: float) -> Points:
    """How many of `times`, in order, have come by when, in seconds from `since`; thinned out."""
    step = max(1, len(times) // CURVE_POINTS)
    points = [(at - since, float(place)) for place, at in enumerate(times, start=1)]
    return [(0.0, 0.0), *points[step - 1 : -1 : step], *points[-1:]]


def _listed(counted: Counter[int]) -> str:
    return ", ".join(f"{status or 'none'}: {count:,}" for status, count in sorted(counted.items())) or "none"


if __name__ == "__main__":
    main()
