"""Scales for charts: round numbers and times along the edges, and words that keep clear of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

# As many as have room on a phone: a time of day needs more than a number of minutes.
MOST_CLOCK_TICKS = 4
MOST_AGO_TICKS = 6
MOST_Y_TICKS = 5
ROUND_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Tick:
    """A word beside the plot. `at` is in percent of the width, or in pixels from the top."""

    at: float
    label: str
    anchor: str = "middle"


def round_ticks(highest: float) -> list[float]:
    """From 0 to the first round number that is not below `highest`, in round steps: 1, 2 or 5 times a power of ten.

    No step is below 1: everything that is counted here is whole.
    """
    for power in range(12):
        for first in (1, 2, 5):
            step = first * 10**power
            if step * (MOST_Y_TICKS - 1) >= highest:
                steps = max(1, math.ceil(highest / step))
                return [float(step * place) for place in range(steps + 1)]
    return [0.0, highest]


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Places near the `wanted` ones that are `apart` from each other, between `low` and `high` while there is room."""
    places = list(wanted)
    order = sorted(range(len(places)), key=lambda place: places[place])
    for before, after in pairwise([None, *order]):
        least = low if before is None else places[before] + apart
        places[after] = max(places[after], least)  # type: ignore[index]
    most = high
    for place in reversed(order):
        places[place] = min(places[place], most)
        most = places[place] - apart
    return places


def number(value: float) -> str:
    """As people write it: 1,204 or 3.4."""
    if value and abs(value) < 10 and value != round(value):
        return f"{value:.1f}"
    return f"{value:,.0f}"


def clock_ticks(begins: float, ends: float) -> list[Tick]:
    """Round UTC times of day, or days, between two times in seconds since the epoch."""
    span = ends - begins
    step = next(
        (step for step in ROUND_SECONDS if span / step <= MOST_CLOCK_TICKS),
        86400 * math.ceil(span / 86400 / MOST_CLOCK_TICKS),
    )
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%-d %b"
    ticks = []
    for place in range(math.ceil(begins / step), math.floor(ends / step) + 1):
        at = 100 * (place * step - begins) / span
        ticks.append(Tick(round(at, 2), datetime.fromtimestamp(place * step, UTC).strftime(form), _anchor(at)))
    return ticks


def ago_ticks(span: float) -> list[Tick]:
    """Round times before the right edge, of a chart of `span` seconds."""
    step = next((step for step in ROUND_SECONDS if span / step <= MOST_AGO_TICKS), 86400)
    ticks: list[Tick] = []
    for place in range(math.floor(span / step), -1, -1):
        at = 100 - 100 * place * step / span
        ticks.append(Tick(round(at, 2), _ago(place * step, is_first=not ticks), _anchor(at)))
    return ticks


def _ago(seconds: float, is_first: bool) -> str:
    """Only the first one needs its unit."""
    if not seconds:
        return "now"
    unit, length = ("min", 60) if seconds >= 60 else ("s", 1)
    return f"-{seconds / length:g} {unit}" if is_first or seconds < 60 else f"-{seconds / length:g}"


def _anchor(at: float) -> str:
    return "start" if at < 5 else "end" if at > 95 else "middle"
