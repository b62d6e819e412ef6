"""Small charts for the desk's pages: shapes over time, and bars by category.

Everything is worked out here, once, for the first paint, for the live page's updates and for paper: templates write
the result down (`desk/_chart.html`, `desk/_bars.html`), the browser only stretches it. Shapes live in a square of
`SHAPE` units that is stretched to the plot; words are not stretched, so that they are as large on a phone as on a
desk. Heights are CSS pixels and fixed. Colours are numbers, 1 to 5, for the variables in `css/desk-chart.css`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from sales.desk.scale import Tick, ago_ticks, clock_ticks, number, round_ticks, spread

SHAPE = 1000
# Of the plot; below it, what the times need.
HEIGHT = 160
FOOT = 24
# What a line of words needs.
LINE_HEIGHT = 16
MOST_ROWS = 12


class Kind(Enum):
    """What a value says of its time, and so what a row of the table may say of several."""

    RATE = "average"
    """So much in each second of its time: averages are true."""
    LEVEL = "at the end"
    """How much there was at the end of its time: only the last one is true."""
    COUNT = "in all"
    """So much in its whole time: sums are true."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values one after the other; the first one's time begins where the chart's does."""

    name: str
    values: Sequence[float]
    colour: int = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """One series as SVG paths, and what is said beside it: `label_at` pixels from the top."""

    name: str
    colour: int
    area: str
    line: str
    latest: str
    label_at: float


@dataclass(frozen=True, slots=True)
class Chart:
    """What `desk/_chart.html` writes down."""

    id: str
    title: str
    unit: str
    summary: str
    begins: float
    ends: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    shapes: list[Shape]
    head: list[str]
    rows: list[list[str]]
    is_stacked: bool
    marks: tuple[Tick, ...] = ()
    """What happened meanwhile, by numbers that the page explains."""
    height: int = HEIGHT
    total_height: int = HEIGHT + FOOT
    side: int = SHAPE


@dataclass(frozen=True, slots=True)
class Bar:
    """One category."""

    label: str
    value: str
    percent: float
    colour: int


@dataclass(frozen=True, slots=True)
class Bars:
    """What `desk/_bars.html` writes down."""

    id: str
    title: str
    unit: str
    summary: str
    bars: list[Bar]


def over_time(
    id: str,
    title: str,
    series: Sequence[Series],
    *,
    begins: float,
    step_seconds: float,
    unit: str,
    left: float | None = None,
    ends: float | None = None,
    kind: Kind = Kind.RATE,
    is_stacked: bool = False,
    is_ago: bool = False,
    top: float | None = None,
) -> Chart:
    """A chart of `series` from `begins` on (seconds since the epoch), a value for each `step_seconds`.

    `left` and `ends` are the edges, the beginning of the first value and the end of the last unless given. Stacked
    series add up, the first one lies at the bottom; else each starts from zero. With `is_ago` times count back from the
    right edge, else they are UTC. The plot is at least `top` high, such as the stock that the values count down from.
    """
    count = max((len(one.values) for one in series), default=0)
    ends = begins + max(1, count) * step_seconds if ends is None else ends
    left = begins if left is None else left
    floors = [0.0] * count
    bands: list[tuple[list[float], list[float]]] = []
    for one in series:
        values = [float(value) for value in one.values] + [0.0] * (count - len(one.values))
        roof = [low + value for low, value in zip(floors, values, strict=True)]
        bands.append((floors, roof))
        if is_stacked:
            floors = roof
    highest = max((max(roof, default=0.0) for _, roof in bands), default=0.0)
    y_values = round_ticks(max(highest, top or 0.0))
    scale = SHAPE / y_values[-1]
    x_step, x_first = step_seconds * SHAPE / (ends - left), (begins - left) * SHAPE / (ends - left)
    sides = [
        (_stairs(floor, x_first, x_step, scale), _stairs(roof, x_first, x_step, scale), floor, roof)
        for floor, roof in bands
    ]
    wanted = [(low[-1] + high[-1]) / 2 if is_stacked else high[-1] for _, _, low, high in sides if high]
    heights = [HEIGHT - value * HEIGHT / y_values[-1] for value in wanted]
    # From the top down, so that bands of no height keep their order.
    places = spread(heights[::-1], LINE_HEIGHT, 8, HEIGHT - 4)[::-1] or [HEIGHT / 2] * len(series)
    shapes = [
        Shape(
            one.name,
            one.colour,
            _closed(low, high),
            _path(high),
            number(one.values[-1] if one.values else 0),
            round(place, 1),
        )
        for one, (low, high, _, _), place in zip(series, sides, places, strict=True)
    ]
    head, rows = _table(series, begins, step_seconds, kind)
    return Chart(
        id=id,
        title=title,
        unit=unit,
        summary=_summary(title, series, unit, kind),
        begins=left,
        ends=ends,
        x_ticks=ago_ticks(ends - left) if is_ago else clock_ticks(left, ends),
        y_ticks=[Tick(round(HEIGHT - value * HEIGHT / y_values[-1], 1), number(value)) for value in y_values],
        shapes=shapes,
        head=head,
        rows=rows,
        is_stacked=is_stacked,
    )


def bars(id: str, title: str, found: Sequence[tuple[str, float, int]], *, unit: str) -> Bars:
    """A bar for each of `found`, which are labels, values and colours, in their order."""
    highest = max((value for _, value, _ in found), default=0.0)
    drawn = [
        Bar(label, number(value), round(100 * value / highest, 2) if highest else 0.0, colour)
        for label, value, colour in found
    ]
    told = "; ".join(f"{bar.label} {bar.value}" for bar in drawn) or "nothing yet"
    return Bars(id, title, unit, f"{title}, {unit}: {told}.", drawn)


def _stairs(values: Sequence[float], first: float, step: float, scale: float) -> list[tuple[float, float]]:
    """The corners of a line that keeps each value for its whole time; what stays the same needs none."""
    corners: list[tuple[float, float]] = []
    for place, value in enumerate(values):
        y = round(SHAPE - value * scale)
        if not corners:
            corners.append((round(first + place * step, 1), y))
        elif corners[-1][1] != y:
            x = round(first + place * step, 1)
            corners += [(x, corners[-1][1]), (x, y)]
    if corners:
        corners.append((min(round(first + len(values) * step, 1), SHAPE), corners[-1][1]))
    return corners


def _path(corners: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in corners) if corners else ""


def _closed(low: list[tuple[float, float]], high: list[tuple[float, float]]) -> str:
    return _path([*high, *reversed(low)]) + "Z" if high else ""


def _summary(title: str, series: Sequence[Series], unit: str, kind: Kind) -> str:
    told = []
    for one in series:
        if not any(one.values):
            told.append(f"{one.name}: none")
        elif kind is Kind.COUNT:
            told.append(f"{one.name}: {number(sum(one.values))} in all, at most {number(max(one.values))} at once")
        else:
            told.append(f"{one.name}: {number(one.values[-1])} at the end, at most {number(max(one.values))}")
    return f"{title}, {unit}. {'; '.join(told) or 'Nothing yet'}."


def _table(
    series: Sequence[Series], begins: float, step_seconds: float, kind: Kind
) -> tuple[list[str], list[list[str]]]:
    count = max((len(one.values) for one in series), default=0)
    together = max(1, math.ceil(count / MOST_ROWS))
    form = "%H:%M:%S" if step_seconds * together < 60 or begins % 60 else "%H:%M"
    rows = []
    for start in range(0, count, together):
        at = datetime.fromtimestamp(begins + start * step_seconds, UTC).strftime(form)
        rows.append([at, *(number(_together(one.values[start : start + together], kind)) for one in series)])
    return ["From (UTC)", *(f"{one.name}, {kind.value}" if together > 1 else one.name for one in series)], rows


def _together(values: Sequence[float], kind: Kind) -> float:
    if not values:
        return 0.0
    if kind is Kind.LEVEL:
        return float(values[-1])
    return sum(values) / (len(values) if kind is Kind.RATE else 1)
