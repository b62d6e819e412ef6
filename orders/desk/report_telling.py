"""A report in words, tables and charts: the same for the page, for paper and for the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orders.desk.telling import ANSWERS
from orders.report import Report
from orders.report_audit import Promises
from sales.desk import words
from sales.desk.chart import Bars, Chart, Kind, Series, bars, over_time
from sales.desk.journal import Entry
from sales.desk.scale import Tick, number
from sales.money import format_minor

UNKNOWN = "not known"
PROMISES = {
    "1": "No unit was sold twice, and no more than the stock",
    "2": "Nobody has more than the limit",
    "3": "Every confirmed order is kept",
    "4": "Every unit is either sold or on sale",
    "1,": "The ledger refuses to keep a unit twice, or more than the limit",
}
SETTINGS = ("sku", "price_minor", "stock", "limit_per_shopper", "opens_at", "closes_at", "guests_allowed")
GOOD, REFUSED = 1, 3


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, what it is called and what it means."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise in a merchandiser's words, and the audit's figures."""

    holds: bool | None
    """None where it is not known."""
    words: str
    figures: str


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that was changed: `mark` is its number in the charts, empty when it happened before or after."""

    mark: str
    at: datetime
    words: str


def told(found: Report, entries: Iterable[Entry]) -> dict[str, Any]:
    """What `desk/_report.html` writes down."""
    happenings = _happenings(found, entries)
    return {
        "report": found,
        "headline": _headline(found),
        "state": _state(found),
        "figures": _figures(found),
        "charts": _charts(found, happenings) if found.steps else [],
        "answers": _answers(found),
        "promises": _promises(found.promises),
        "promises_note": _promises_note(found),
        "settings": [(words.LABELS[name], words.field(found.sale, name)) for name in SETTINGS],
        "happenings": happenings,
        "counted_at": words.moment(found.counted_at),
    }


def _headline(found: Report) -> str:
    sold, after = found.total("sold_units"), found.sold_out_after_seconds
    if not found.steps:
        return "Nothing was ordered" + (" yet" if found.counted_at < found.sale.closes_at else "")
    if after is not None:
        text = f"Sold out {words.duration(timedelta(seconds=after)) if after >= 1 else 'within a second'} after opening"
        if found.left:
            text += f"; {words.units(found.left)} came back by cancellation and {_is(found.left)} left"
        return text
    so_far = "So far" if found.is_running else "Did not sell out:"
    return f"{so_far} {words.units(sold)} sold, {number(found.left)} left"


def _state(found: Report) -> str:
    if found.is_running:
        return "The sale is still running: these figures move, and the report is final only once it is over."
    if found.counted_at < found.sale.opens_at:
        return f"The sale has not opened yet. It opens on {words.moment(found.sale.opens_at)}."
    return ""


def _figures(found: Report) -> list[Figure]:
    sold, orders = found.total("sold_units"), found.total("sold_orders")
    fulfilled, busiest = found.total("fulfilled_orders"), found.busiest
    figures = [
        Figure("Sold", words.units(sold), f"of {number(found.sale.stock)}, in {_orders(orders)}"),
        Figure("Revenue", format_minor(found.total("revenue_minor"), found.sale.currency), "cancelled orders left out"),
        Figure("Wanted to buy", *_demand(found)),
        Figure(
            "Fulfilled",
            f"{100 * fulfilled / orders:.0f} %" if orders else "0 %",
            f"{number(fulfilled)} of {number(orders)}",
        ),
        Figure("Given back", words.units(found.returned_units), _resold(found)),
        Figure("Orders per shopper", *_per_shopper(found)),
    ]
    if busiest:
        figures.append(
            Figure(
                "Busiest second",
                _orders(busiest.busiest_orders),
                f"{busiest.busiest_second.astimezone(UTC):%H:%M:%S} UTC",
            )
        )
    if found.confirmation_p50_ms is not None and found.confirmation_p95_ms is not None:
        figures.append(
            Figure(
                "From reserved to confirmed",
                _wait(found.confirmation_p50_ms),
                f"half of the orders were as quick; 95 in 100 within {_wait(found.confirmation_p95_ms)}",
            )
        )
    return figures


def _demand(found: Report) -> tuple[str, str]:
    if found.demand is None:
        return UNKNOWN, "kept for 30 days, and only when the gate answers" if found.steps else "nobody has tried yet"
    ratio = found.demand / found.sale.stock
    return f"{number(found.demand)} {'shopper' if found.demand == 1 else 'shoppers'}", f"{number(ratio)} for each unit"


def _resold(found: Report) -> str:
    if not found.returned_units:
        return "no order was cancelled"
    return f"by {_orders(found.total('cancelled_orders'))}; {number(found.resold_units)} sold again"


def _per_shopper(found: Report) -> tuple[str, str]:
    if not found.shoppers:
        return "none", ""
    shared = ", ".join(f"{number(shoppers)} with {orders}" for orders, shoppers in found.shoppers_by_orders.items())
    buyers = f"{number(found.shoppers)} {'buyer' if found.shoppers == 1 else 'buyers'}"
    return f"{found.total('sold_orders') / found.shoppers:.2f}".rstrip("0").rstrip("."), f"{buyers}: {shared}"


def _charts(found: Report, happenings: Sequence[Happening]) -> list[Chart]:
    count = max(
        found.steps[-1].number + 1,
        -int(-(found.ends - found.begins).total_seconds() // found.step_seconds),
    )
    sold, cancelled = [0] * count, [0] * count
    for step in found.steps:
        sold[step.number], cancelled[step.number] = step.sold_units, step.cancelled_units
    begins = found.begins.timestamp()
    ends = begins + count * found.step_seconds
    marks = tuple(
        Tick(round(100 * (one.at.timestamp() - begins) / (ends - begins), 2), one.mark)
        for one in happenings
        if one.mark
    )
    step_words = words.duration(timedelta(seconds=found.step_seconds))
    drawn = [
        over_time(
            "sold",
            "Units ordered",
            _series(sold, cancelled),
            begins=begins,
            step_seconds=found.step_seconds,
            unit=f"units per {step_words}" if found.step_seconds > 1 else "units per second",
            kind=Kind.COUNT,
            is_stacked=True,
        ),
        over_time(
            "all",
            "Units ordered, all told",
            _series(_summed(sold), _summed(cancelled)),
            begins=begins,
            step_seconds=found.step_seconds,
            unit=f"units, of {number(found.sale.stock)}",
            kind=Kind.LEVEL,
            is_stacked=True,
            top=found.sale.stock,
        ),
    ]
    # Beside each name stands how many there were in all, not in the last step.
    sums = [
        replace(shape, latest=in_all.latest) for shape, in_all in zip(drawn[0].shapes, drawn[1].shapes, strict=True)
    ]
    return [replace(drawn[0], shapes=sums, marks=marks), replace(drawn[1], marks=marks)]


def _series(sold: list[int], cancelled: list[int]) -> list[Series]:
    series = [Series("Sold", sold, 1)]
    return [*series, Series("Cancelled since", cancelled, 2)] if any(cancelled) else series


def _summed(values: list[int]) -> list[int]:
    total, found = 0, []
    for value in values:
        total += value
        found.append(total)
    return found


def _answers(found: Report) -> Bars | None:
    if not found.answers:
        return None
    counted = sorted(found.answers.items(), key=lambda one: -one[1])
    return bars(
        "answers",
        "What shoppers were told",
        [
            (
                ANSWERS.get(outcome, outcome.replace("_", " ").capitalize()),
                count,
                GOOD if outcome == "completed" else REFUSED,
            )
            for outcome, count in counted
        ],
        unit="answers",
    )


def _promises(found: Promises | None) -> list[Promise]:
    if found is None:
        return []
    return [
        Promise(one.verdict, PROMISES.get(one.promise.split()[0], one.promise), one.figures) for one in found.findings
    ]


def _promises_note(found: Report) -> str:
    audited = found.promises
    if audited is None:
        return "The gate can't be asked right now, so the promises could not be checked. Count again in a moment."
    notes = []
    if audited.in_flight:
        notes.append(
            f"{_orders(audited.in_flight)} {_is(audited.in_flight)} being confirmed at this moment; a promise that "
            "looks broken now may hold a few seconds later. Count again before you worry."
        )
    elif not audited.hold:
        notes.append(
            "Count again in a minute. If it still does not hold, call whoever runs the servers: "
            f"“manage.py audit_sale {found.sale.sku}” names the orders."
        )
    if not audited.is_order_by_order:
        notes.append("Counted by the stores, not order by order, because the sale is large.")
    return " ".join(notes)


def _happenings(found: Report, entries: Iterable[Entry]) -> list[Happening]:
    """Changes of the sale itself and what was done to its orders, oldest first. Without why, and without who but for
    what was done to many orders at once: the report may leave the house.
    """
    happenings: list[Happening] = []
    marked = 0
    for entry in sorted(entries, key=lambda entry: entry.at):
        spoken = [f"{one.field_label} from {one.before} to {one.after}" for one in entry.changes]
        if entry.tally is None and not spoken:
            continue
        is_within = bool(found.steps) and found.begins <= entry.at <= found.ends
        marked += is_within
        told = f"{entry.tally.words}, by {entry.by}" if entry.tally else f"{entry.action}: {'; '.join(spoken)}"
        happenings.append(Happening(str(marked) if is_within else "", entry.at, told))
    return happenings


def _orders(count: int) -> str:
    return f"{number(count)} {'order' if count == 1 else 'orders'}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _wait(ms: int) -> str:
    return f"{number(ms)} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
