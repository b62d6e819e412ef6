"""The live page's words, numbers and charts: the same for the first paint and for each update after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.template.loader import render_to_string

from flashdrop.envelope import to_ms
from orders.desk.figures import WATCHED_SECONDS, Figures
from sales.desk.chart import Kind, Series, bars, over_time
from sales.desk.scale import number
from sales.showing import Phase
from sales.tally import RATE_LIMITED, Outcomes
from sales.workers import WorkerState

# Orders per second are the mean of the last so many.
RATE_SECONDS = 5
STEP_SECONDS = 5

PHASES = {
    Phase.UPCOMING: ("Not open yet", "Shoppers see a countdown. It opens by itself."),
    Phase.ACTIVE: ("Open", "Shoppers can buy."),
    Phase.PAUSED: ("Paused", "Nobody can buy until somebody resumes it. Shoppers are asked to stay on the page."),
    Phase.SOLD_OUT: ("Sold out", "Nothing is left. A cancelled order or more stock puts it back on sale at once."),
    Phase.ENDED: ("Over", "The window has closed. Nobody can buy."),
    Phase.NOT_READY: (
        "Not selling",
        "Shoppers hear “try again in a moment”. It is made ready by itself, usually within seconds. "
        "If it lasts, look at the checks below and call whoever runs the servers.",
    ),
}
WORKER_ILL: dict[WorkerState | None, str] = {
    WorkerState.WAITING: "The workers run, but get nothing done: they wait for the ledger, or rebuild a gate. "
    "What a crash leaves behind waits with them.",
    WorkerState.MISSING: "No worker is running. Orders go on, but what a crash leaves behind waits. "
    "Ask for one to be started.",
}
NOT_ON_SHOW = ("Not on show", "Shoppers can't see this sale. Publish it under Settings.")
UNKNOWN = ("Not known", "The stores have not answered yet.")

ORDERED = ("completed", "pending")
TRY_AGAIN = ("sale_not_ready", "overloaded", RATE_LIMITED)
# Name, colour and outcomes of each band, the lowest first; what is in none of them is "Other".
BANDS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("Orders", 1, ORDERED),
    ("Out of stock", 3, ("out_of_stock",)),
    ("Over the limit", 5, ("limit_exceeded",)),
    ("Try again", 2, TRY_AGAIN),
)
OTHER = ("Other", 4)
ANSWERS = {
    "completed": "Order confirmed",
    "pending": "Order reserved, being confirmed",
    "repeated": "Same order again (a retry)",
    "out_of_stock": "Out of stock",
    "limit_exceeded": "Already bought as many as allowed",
    "price_changed": "Asked again: the price had changed",
    "flash_sale_not_started": "Not started yet",
    "flash_sale_ended": "The sale is over",
    "sale_paused": "Paused",
    "unauthorized": "Sign in first",
    "product_not_found": "Not on sale here",
    "idempotency_key_reused": "That try was used before",
    "sale_not_ready": "Try again: the sale was not ready",
    "overloaded": "Try again: too busy",
    RATE_LIMITED: "Too many requests (whole shop)",
}


def told(figures: Figures) -> dict[str, Any]:
    """All of the page, for the template and as JSON. A figure or chart that is None is not known now."""
    words, note = _phase(figures)
    return {
        "now": to_ms(figures.now),
        "phase": figures.phase.value if figures.phase else "",
        "phase_words": words,
        "phase_note": note,
        "edge": _edge(figures),
        "left_percent": round(100 * figures.left / figures.total, 1) if figures.total and figures.left else 0,
        "figures": _numbers(figures),
        "checks": _checks(figures),
        "charts": _charts(figures.outcomes) if figures.outcomes else None,
    }


def _phase(figures: Figures) -> tuple[str, str]:
    if figures.phase is not None:
        return PHASES[figures.phase]
    return NOT_ON_SHOW if figures.ledger_answers else UNKNOWN


def _edge(figures: Figures) -> dict[str, Any] | None:
    """What the page counts down to."""
    sale = figures.sale
    if sale is None or not sale.published or figures.now >= sale.closes_at:
        return None
    word, at = ("Opens in", sale.opens_at) if figures.now < sale.opens_at else ("Closes in", sale.closes_at)
    return {"word": word, "at": to_ms(at)}


def _numbers(figures: Figures) -> dict[str, Any]:
    left = sold = pending = rate = viewers = tried = None
    if figures.left is not None and figures.total is not None:
        left = _figure(figures.left, f"of {figures.total:,} · {figures.total - figures.left:,} taken")
    if figures.sold is not None:
        counted = f"in {_count(figures.sold.orders, 'order')}, counted at {figures.sold.counted_at:%H:%M:%S} UTC"
        sold = _figure(figures.sold.units, counted)
    if figures.pending is not None:
        oldest = (
            f"the oldest for {_seconds(figures.pending.oldest_seconds)}" if figures.pending.orders else "none waits"
        )
        pending = _figure(figures.pending.orders, oldest)
    if figures.outcomes is not None:
        orders = _sum(figures.outcomes, ORDERED)
        latest = orders[-RATE_SECONDS:]
        rate = _figure(sum(latest) / len(latest), f"most in one second: {max(orders):,}")
        viewers = _figure(max(figures.outcomes.viewers[-2:]), f"most in 5 minutes: {max(figures.outcomes.viewers):,}")
    if figures.tried is not None:
        tried = _figure(figures.tried, "different shoppers, about")
    return {"left": left, "sold": sold, "rate": rate, "pending": pending, "viewers": viewers, "tried": tried}


def _figure(value: float, note: str) -> dict[str, str]:
    return {"value": number(value), "note": note}


def _checks(figures: Figures) -> list[dict[str, str]]:
    return [
        _check(
            "gate",
            figures.gate_answers,
            "The gate (Redis, counts stock) answers.",
            "The gate (Redis, counts stock) does not answer. Shoppers are told to try again; nothing is sold twice.",
        ),
        _check(
            "ledger",
            figures.ledger_answers,
            "The ledger (MongoDB, keeps orders) answers.",
            "The ledger (MongoDB, keeps orders) does not answer. New orders wait as pending until it is back.",
        ),
        _check(
            "worker",
            None if figures.worker in (None, WorkerState.UNKNOWN) else figures.worker is WorkerState.AT_WORK,
            "The worker (finishes what was left behind) is at work.",
            WORKER_ILL.get(figures.worker, ""),
        ),
    ]


def _check(name: str, is_well: bool | None, well: str, ill: str) -> dict[str, str]:
    if is_well is None:
        return {"name": name, "state": "unknown", "words": f"Not known: {well[0].lower()}{well[1:-1]}?"}
    return {"name": name, "state": "ok" if is_well else "bad", "words": well if is_well else ill}


def _charts(outcomes: Outcomes) -> Mapping[str, str]:
    ends, left = outcomes.ends_at, outcomes.ends_at - WATCHED_SECONDS
    begins = -(-left // STEP_SECONDS) * STEP_SECONDS
    steps = (ends - begins) // STEP_SECONDS
    everything = _sum(outcomes, list(outcomes.by_outcome))
    bands, rest = [], list(everything)
    for name, colour, names in BANDS:
        counts = _sum(outcomes, names)
        rest = [total - count for total, count in zip(rest, counts, strict=True)]
        bands.append(Series(name, _means(counts, begins - left, steps), colour))
    bands.append(Series(OTHER[0], _means(rest, begins - left, steps), OTHER[1]))
    drawn = {
        "rate": over_time(
            "rate",
            "Orders",
            [Series("Orders", _sum(outcomes, ORDERED))],
            begins=left,
            step_seconds=1,
            unit="per second, last 5 minutes",
            is_ago=True,
        ),
        "answers": over_time(
            "answers",
            "Answers to shoppers who tried",
            bands,
            begins=begins,
            step_seconds=STEP_SECONDS,
            unit="per second, stacked, last 5 minutes",
            left=left,
            ends=ends,
            is_stacked=True,
            is_ago=True,
        ),
        "viewers": over_time(
            "viewers",
            "Watching",
            [Series("Open pages", outcomes.viewers, 5)],
            begins=left,
            step_seconds=1,
            unit="open pages with a live connection, last 5 minutes",
            kind=Kind.LEVEL,
            is_ago=True,
        ),
    }
    sums = sorted(((sum(counts), name) for name, counts in outcomes.by_outcome.items() if any(counts)), reverse=True)
    found = [(ANSWERS.get(name, name.replace("_", " ")), count, _colour(name)) for count, name in sums]
    written = {name: render_to_string("desk/_chart.html", {"chart": chart}) for name, chart in drawn.items()}
    by_outcome = bars("outcomes", "What they were told", found, unit="answers, last 5 minutes")
    return written | {"outcomes": render_to_string("desk/_bars.html", {"chart": by_outcome})}


def _sum(outcomes: Outcomes, names: Sequence[str]) -> list[int]:
    """In each second, of all of `names` together."""
    found = [outcomes.by_outcome[name] for name in names if name in outcomes.by_outcome]
    return [sum(counts) for counts in zip(*found, strict=True)] if found else [0] * len(outcomes.viewers)


def _means(counts: Sequence[int], first: int, steps: int) -> list[float]:
    """Per second, for each step from `first` on."""
    starts = (first + step * STEP_SECONDS for step in range(steps))
    return [sum(counts[start : start + STEP_SECONDS]) / STEP_SECONDS for start in starts]


def _colour(outcome: str) -> int:
    return next((colour for _, colour, names in BANDS if outcome in names), OTHER[1])


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
