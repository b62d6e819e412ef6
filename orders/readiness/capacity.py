"""Expected shoppers against what was measured: how long until it is sold out, how long until everybody is answered."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from flashdrop.config import BASE_DIR
from orders.readiness.line import Line, amber, green, red

NAME = "Expected shoppers"
FIGURES = BASE_DIR / "docs" / "reference" / "benchmarks.json"
# The web tier that the benchmark measures (`flashdrop/bench/shop.py`, which is not part of an installation).
BENCH_PROCESSES = 2
SLOW_SECONDS = 10.0
TOO_SLOW_SECONDS = 60.0
UNNAMED = "a machine that is not named"
PARTS = ("processor", "cores", "memory", "date")


class NotMeasured(Exception):
    """No figures are here."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What `make bench` found: answers a second of `processes` web processes, on `machine`."""

    machine: str
    processes: int
    orders: float
    sold_out: float
    pages: float
    stores_limit: float
    """Orders a second that the stores take, however many web processes there are."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long it takes, and what limits it."""

    sold_out_after: float | None
    """None when there are fewer shoppers than units."""
    answered_after: float
    orders_per_second: float


@cache
def measured(figures: Path = FIGURES) -> Measured:
    """The figures of the last benchmark that was kept.

    Raises:
        NotMeasured: there are none, or they are not the ones that are needed.
    """
    try:
        traffic = json.loads(figures.read_text(encoding="utf-8"))["traffic"]["rows"]
        row = {
            name: _figure(traffic, name) for name in ("confirmed orders", "sold-out", "full sale page", "the stores'")
        }
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise NotMeasured from error
    return Measured(
        _machine(figures.with_suffix(".md")),
        BENCH_PROCESSES,
        orders=row["confirmed orders"],
        sold_out=row["sold-out"],
        pages=row["full sale page"],
        stores_limit=row["the stores'"],
    )


def _figure(rows: list[dict[str, Any]], name: str) -> float:
    """The median of the runs, as the benchmark's own page has it."""
    return float(median(next(row["runs"] for row in rows if row["name"].startswith(name) and row["unit"] == "/s")))


def _machine(page: Path) -> str:
    try:
        text = page.read_text(encoding="utf-8")
    except OSError:
        return UNNAMED
    found = {part: match[1] for part in PARTS if (match := re.search(rf"(?m)^\| {part} \| (.+?) \|$", text))}
    if not found:
        return UNNAMED
    cores = found.pop("cores", "")
    parts = [
        found.get("processor", ""),
        f"{cores} cores" if cores else "",
        found.get("memory", ""),
        found.get("date", ""),
    ]
    return ", ".join(part for part in parts if part)


def web_processes() -> int:
    """Web processes of this host, by what they publish; at least the one that asks."""
    try:
        collector = MultiProcessCollector(CollectorRegistry())  # type: ignore[no-untyped-call]
        families = list(collector.collect())  # type: ignore[no-untyped-call]
    except (ValueError, OSError):  # by itself: nobody made a folder for several processes' figures
        return 1
    return max(
        1, *(int(one.samples[0].value) for one in families if one.name == "flashdrop_processes" and one.samples), 1
    )


def estimate(shoppers: int, units: int, figures: Measured, processes: int) -> Estimate:
    """Everybody comes at once, loads the page once more and tries to buy once; nobody orders more than once."""
    share = processes / figures.processes
    orders = min(figures.orders * share, figures.stores_limit)
    sold = min(units, shoppers)
    answered = sold / orders + (shoppers - sold) / (figures.sold_out * share) + shoppers / (figures.pages * share)
    return Estimate(units / orders if shoppers >= units else None, answered, orders)


def check_capacity(shoppers: int | None, units: int, figures: Path = FIGURES) -> Line:
    """One line; without a number of `shoppers` it asks for one."""
    if shoppers is None:
        found = "You have not said how many shoppers you expect, so nothing could be compared."
        return amber(NAME, found, "Give the number above. It is not kept.")
    try:
        there = measured(figures)
    except NotMeasured:
        return amber(
            NAME,
            f"{shoppers:,} shoppers; no measurement of this shop is at hand to compare with.",
            "Ask whoever runs the shop to measure it.",
            details=("`make bench ARGS=--full` writes docs/reference/benchmarks.json.",),
        )
    processes = web_processes()
    guess = estimate(shoppers, units, there, processes)
    sells = f"sold out within {_seconds(guess.sold_out_after)}" if guess.sold_out_after is not None else "not sold out"
    found = (
        f"{shoppers:,} shoppers for {units:,} units, all at once: {sells}, everybody answered within "
        f"{_seconds(guess.answered_after)}. An estimate, no promise: it can be half or double that."
    )
    details = (
        f"Counted with {processes} web process{'es' if processes != 1 else ''} seen on this server; others behind "
        "the same address are not seen, and come on top.",
        f"About {guess.orders_per_second:,.0f} orders/s. Measured with {there.processes} web processes and both stores "
        f"on {there.machine}: {there.orders:,.0f} orders/s, {there.sold_out:,.0f} sold-out answers/s, "
        f"{there.pages:,.0f} pages/s; the stores alone take {there.stores_limit:,.0f} orders/s.",
        "More processes than processor cores don't make it quicker. On another machine, measure: make bench.",
    )
    more = "Tell whoever runs the shop: more web processes or servers are needed, well before it opens."
    if guess.answered_after > TOO_SLOW_SECONDS:
        return red(NAME, found, more, details=details)
    if guess.answered_after > SLOW_SECONDS:
        return amber(NAME, found, more, details=details)
    return green(NAME, found, details=details)


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return "a second"
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
