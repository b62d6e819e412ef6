"""A crowd of real browsers at an opening: `python -m flashdrop.bench.crowd [--browsers N] [--units N]`.

Each has its own cookies and a real page with scripts, partials and a websocket, signs in, waits, and presses the buy
button in the moment in which it can be pressed. In the end every page must show what the ledger holds. The button is
pressed from within the page: by the time that a driver had moved 200 pointers, the sale would be over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from playwright.async_api import Browser, Page

from flashdrop.bench.chromium import Watch, browsers, phone
from flashdrop.bench.generator import allow_open_files, side_by_side
from flashdrop.bench.offers import offer
from flashdrop.bench.pages import MOST_SHIFT, none_row
from flashdrop.bench.row import Row
from flashdrop.bench.shop import Shop, running_shop
from flashdrop.bench.stores import own_stores
from flashdrop.bench.verdict import Held, LastPage, untruths

if TYPE_CHECKING:  # Django is set up only once the stores run
    from sales.published import PublishedSale

BROWSERS, UNITS_SHARE = 200, 0.3
PER_CHROMIUM = 50
# More would only make each of them slower: two keep two cores busy.
ARRIVING_AT_ONCE = 2
FILES_PER_BROWSER = 20
# Far away, until everybody is there; then the opening is set this far ahead.
UNTIL_SET = timedelta(minutes=30)
LEAD = timedelta(seconds=6)
# Each web process reads the settings once a second.
ON_SHOW_SECONDS = 1.5
PAGE_MS = 30_000
# Who was refused and may press again reads that first, and looks whether there is still reason to.
AGAIN_MS = 1000
SETTLE_SECONDS, QUIET_SECONDS, AUDIT_SECONDS = 60.0, 2.0, 10.0
LONGEST_SECONDS = 420.0
MOST_SECONDS = 30


@dataclass(slots=True)
class Person:
    """Somebody with a browser of their own. Moments are in seconds since 1970."""

    name: str
    page: Page
    watch: Watch
    last: LastPage | None = None
    seen: dict[str, Any] = field(default_factory=dict)
    """What the page's recorder kept; see `browser/recorder.js`."""

    @property
    def changed_at(self) -> float:
        """When the page came to show what it shows in the end."""
        return float(self.seen["changedAt"]) / 1000


@dataclass(frozen=True, slots=True)
class Crowd:
    """What happened."""

    people: list[Person]
    sale: PublishedSale
    seconds_to_arrive: float
    untrue: list[str]
    audit: str
    """What the audit found broken; empty if it holds."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browsers", type=int, default=BROWSERS)
    parser.add_argument("--units", type=int, help="fewer than browsers; left out: three for ten of them")
    arguments = parser.parse_args()
    with own_stores() as stores:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("collectstatic", interactive=False, verbosity=0)
        allow_open_files(FILES_PER_BROWSER * arguments.browsers)
        with running_shop(stores) as shop:
            rows = measure_crowd(shop, arguments.browsers, arguments.units)
    for row in rows:
        print(f"{row.name}: {row.figure:,.3f} {row.unit} ({row.reach})", *row.notes, sep="\n  ")
    return 1 if any(row.holds is False for row in rows) else 0


def measure_crowd(shop: Shop, count: int = BROWSERS, units: int | None = None) -> list[Row]:
    """Let `count` browsers want one of fewer `units` each.

    Raises:
        ChromiumMissing: it is not installed.
        TimeoutError: they did not all arrive and leave within `LONGEST_SECONDS`.
        ExceptionGroup: one of them did not come as far as the open page.
    """
    from flashdrop import loops

    sku = f"crowd-{secrets.token_hex(4)}"
    stock = units or max(1, int(count * UNITS_SHARE))
    offer(sku, stock, UNTIL_SET)
    return _rows(loops.run(lambda: _bounded(shop.url, sku, count, stock)))


async def _bounded(url: str, sku: str, count: int, stock: int) -> Crowd:
    async with asyncio.timeout(LONGEST_SECONDS), browsers(-(-count // PER_CHROMIUM), give_way=True) as started:
        return await _open(started, url, sku, count, stock)


async def _open(started: list[Browser], url: str, sku: str, count: int, stock: int) -> Crowd:
    await asyncio.sleep(ON_SHOW_SECONDS)
    people: list[Person] = []
    began = time.monotonic()

    async def arrive(number: int) -> None:
        people.append(await _arrive(started[number % len(started)], url, sku, f"{sku} {number}"))

    await side_by_side((arrive(number) for number in range(count)), ARRIVING_AT_ONCE)
    seconds_to_arrive = time.monotonic() - began
    sale = await asyncio.to_thread(offer, sku, stock, LEAD)
    async with asyncio.TaskGroup() as group:
        for person in people:
            group.create_task(_buy(person, (sale.opens_at - datetime.now(UTC)).total_seconds() + SETTLE_SECONDS))
    await asyncio.sleep(QUIET_SECONDS)
    for person in people:
        await _read(person)
    held, audit = await _ledger(sale)
    pages = [person.last for person in people if person.last]
    return Crowd(people, sale, seconds_to_arrive, untruths(pages, held, stock), audit)


async def _arrive(browser: Browser, url: str, sku: str, name: str) -> Person:
    """Be on the page, signed in, with a websocket, before the sale opens."""
    # Painting is by processor here, and would be most of what the machine does.
    context = await phone(browser, url, is_plain=True)
    context.set_default_timeout(PAGE_MS)
    page = await context.new_page()
    person = Person(name, page, Watch(page, url))
    await page.goto(f"/sales/{sku}/")
    await page.fill('#me input[name="identifier"]', name)
    await page.press('#me input[name="identifier"]', "Enter")
    await page.wait_for_selector('#me[data-state="ready"]')
    await page.wait_for_selector('#banner[data-phase="upcoming"]')
    if await page.get_attribute("#buy", "aria-disabled") != "true":
        raise RuntimeError("the buy button can be pressed before the sale has opened")
    return person


async def _buy(person: Person, seconds: float) -> None:
    """Press whenever the button can be pressed, until nothing is left to be done or the time is up."""
    # The new opening time is on every banner by then, and what it moved is not the opening's doing.
    await asyncio.sleep(LEAD.total_seconds() / 2)
    await person.page.evaluate("() => void benchWait()")
    with contextlib.suppress(TimeoutError):  # what the page shows is read and judged all the same
        async with asyncio.timeout(seconds):
            await person.page.evaluate(f"benchBuy({AGAIN_MS})")


async def _read(person: Person) -> None:
    from orders.identity import shopper_id

    last = await person.page.evaluate("benchLast()")
    person.seen = last["seen"]
    person.last = LastPage(shopper_id(person.name), last["phase"], last["state"], tuple(last["units"]), last["may_buy"])


async def _ledger(sale: PublishedSale) -> tuple[list[Held], str]:
    """What the ledger holds of the sale, and what its audit finds broken once things have settled."""
    from orders import ledger
    from orders.audit import audit

    held = [Held(shopper, units) async for shopper, _, units, _ in ledger.holdings(sale.id)]
    deadline = time.monotonic() + AUDIT_SECONDS
    while True:
        found = await audit(sale)
        if found.holds or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    return held, "; ".join(f"{one.promise}: {one.figures}" for one in found.findings if not one.holds)


def _rows(crowd: Crowd) -> list[Row]:
    people, stock = crowd.people, crowd.sale.stock
    opened_at = crowd.sale.opens_at.timestamp()
    enabled = [one.seen["firstAt"]["active"] / 1000 - opened_at for one in people if "active" in one.seen["firstAt"]]
    pressed = [one.seen["pressedAt"] / 1000 - opened_at for one in people if one.seen["pressedAt"]]
    settled = sorted(one.changed_at - opened_at for one in people)
    answers = sum((person.watch.answers for person in people), Counter[int]())
    states = Counter(person.last.state if person.last else "none" for person in people)
    shifts = [float(person.seen["shift"]) for person in people]
    moved = Counter(name for person in people for name in person.seen["shifted"])
    untrue = [*crowd.untrue, *([f"audit: {crowd.audit}"] if crowd.audit else [])]
    return [
        Row(
            f"an opening in {len(people):,} real browsers, {stock:,} units: until every page is its last",
            (settled[-1],),
            "s",
            f"at most {MOST_SECONDS} s",
            settled[-1] <= MOST_SECONDS,
            (
                f"median {median(settled):.1f} s after the opening",
                f"on sale: {_spread(enabled)}",
                f"pressed, by {len(pressed):,} before all was gone: {_spread(pressed)}",
                f"answers by status: {_listed(answers)}",
                f"all had arrived, signed in, with {sum(p.watch.sockets for p in people):,} websockets,"
                f" in {crowd.seconds_to_arrive:.0f} s",
            ),
        ),
        none_row(
            "last pages that differ from the ledger",
            untrue,
            f"panels: {_listed(states)}",
            "the audit holds" if not crowd.audit else "the audit does not hold",
        ),
        none_row(
            "errors in the consoles of the crowd",
            [
                error
                for one in people
                for error in one.watch.errors + ["the buy button is covered"] * one.seen["covered"]
            ],
        ),
        Row(
            "requests and sockets of the crowd that got no answer in time, and were tried again",
            (float(sum(text.startswith("htmx:timeout") for one in people for text in one.watch.given_up)),),
            "",
            notes=(
                f"lines in the consoles: {_listed(Counter(text for one in people for text in one.watch.given_up))}",
            ),
        ),
        none_row("requests of the crowd to other origins", [one for person in people for one in person.watch.foreign]),
        Row(
            "layout shift when a sale opens, until the button is pressed, the worst browser",
            (max(shifts),),
            "",
            f"below {MOST_SHIFT}",
            max(shifts) < MOST_SHIFT,
            (f"median {median(shifts):.4f}", *([f"what moved: {_listed(moved)}"] if moved else [])),
        ),
    ]


def _spread(seconds: list[float]) -> str:
    """First, middle and last of some moments after the opening."""
    if not seconds:
        return "nowhere"
    return (
        f"the first after {min(seconds):.2f} s, half after {median(seconds):.2f} s, the last after {max(seconds):.2f} s"
    )


def _listed(counted: Counter[Any]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in sorted(counted.items(), key=str)) or "none"


if __name__ == "__main__":
    sys.exit(main())
