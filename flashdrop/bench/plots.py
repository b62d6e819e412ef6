"""The curves as pictures: SVG files for the pages, the same bytes for the same findings."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from flashdrop.bench.row import Curve, Findings, Points

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

INCHES = (8.4, 4.2)
# Okabe and Ito's colours, told apart by almost everybody; the shapes are for the others and for print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
TEXT, FAINT = "#222222", "#dddddd"
# Where labels begin right of the plot, how wide they may get, and how much of the height a line of theirs takes.
LABEL_X, LABEL_CHARACTERS, LABEL_LINE = 1.05, 22, 0.058
CONNECTIONS = (100, 5000)
PERCENTILES = (50, 75, 90, 95, 99, 99.9)
# All lines of totals together may go this many steps to the right, and as many up: more would be bytes nobody can see.
TOTALS_STEPS = 450
STYLE: dict[RcKeyType, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text: small files, and readable to screen readers
    "svg.hashsalt": "flashdrop",
    "text.parse_math": False,  # a dollar in a label is a dollar
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "axes.titlepad": 12,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 2,
    "lines.markersize": 6.5,
    "figure.facecolor": "white",  # the page behind may be dark
    "savefig.facecolor": "white",
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture: which points of a curve it can show, and how its axes are laid out for them."""

    title: str
    x_label: str
    y_label: str
    shown: Callable[[Points], Points]
    lay_out: Callable[[Axes, Points], None]
    is_stepped: bool = False


def draw(findings: Findings, folder: Path) -> list[Path]:
    """Write `bench-<plot>.svg` into `folder` for each plot that has a curve; returns the files, in their order.

    What a scale can't show is left out: the 100th percentile, and a latency of 0.
    """
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in PLOTS.items():
        curves = [Curve(name, c.label, plot.shown(c.points)) for c in findings.curves if c.plot == name]
        curves = [curve for curve in curves if curve.points]
        if curves:
            path = folder / f"bench-{name}.svg"
            path.write_text(svg(plot, curves), encoding="utf-8")
            written.append(path)
    return written


def svg(plot: Plot, curves: Sequence[Curve]) -> str:
    """The picture of `curves`, each of which has at least one point that the plot can show."""
    if plot.is_stepped:
        curves = _totals(curves)
    with _own_style():
        figure = Figure(figsize=INCHES)
        axes = figure.add_axes((0.1, 0.13, 0.65, 0.75))
        axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
        axes.yaxis.set_label_coords(-0.115, 0.5)
        plot.lay_out(axes, [point for curve in curves for point in curve.points])
        for place, curve in enumerate(curves):
            axes.plot(
                [x for x, _ in curve.points],
                [y for _, y in curve.points],
                # Totals have many points: a mark now and then.
                markevery=0.12 if plot.is_stepped else 1,
                drawstyle="steps-post" if plot.is_stepped else "default",
                clip_on=False,
                zorder=3,
                **_mark(place),
            )
        _label(axes, curves)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Title": plot.title, "Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


@contextmanager
def _own_style() -> Iterator[None]:
    """Matplotlib's defaults and ours, whatever the user's own settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def _label(axes: Axes, curves: Sequence[Curve]) -> None:
    """Name each curve right of its end, with a line between the two, and no two names on each other."""
    to_axes = axes.transData + axes.transAxes.inverted()
    texts = [textwrap.fill(curve.label, LABEL_CHARACTERS) for curve in curves]
    ends = [float(to_axes.transform(curve.points[-1])[1]) for curve in curves]
    heights = [LABEL_LINE * (text.count("\n") + 1) for text in texts]
    for place, (curve, text, y) in enumerate(zip(curves, texts, _apart(ends, heights), strict=True)):
        axes.annotate(
            "",
            curve.points[-1],
            (LABEL_X, y),
            textcoords=axes.transAxes,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "linestyle": ":", "color": _colour(place), "shrinkA": 0, "shrinkB": 4},
        )
        axes.plot(LABEL_X, y, transform=axes.transAxes, clip_on=False, **_mark(place))
        axes.text(LABEL_X + 0.02, y, text, transform=axes.transAxes, va="center")


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _mark(place: int) -> dict[str, Any]:
    return {"color": _colour(place), "marker": MARKERS[place % len(MARKERS)], "markeredgecolor": "white"}


def _apart(centres: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Centres as near to the wished ones as labels of these heights allow, between 0 and 1 if there is room."""
    places = list(centres)
    ceiling = 1.0 + LABEL_LINE
    order = sorted(range(len(places)), key=lambda place: -centres[place])
    for place in order:
        places[place] = min(places[place], ceiling - heights[place] / 2)
        ceiling = places[place] - heights[place] / 2
    floor = -LABEL_LINE
    for place in reversed(order):
        places[place] = max(places[place], floor + heights[place] / 2)
        floor = places[place] + heights[place] / 2
    return places


def _with_commas(value: float, _place: int | None = None) -> str:
    return f"{value:,.10g}"


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20, ... from the last that is at most `low` to the first that is at least `high`."""
    steps = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
    ]
    first = max(step for step in steps if step <= low)
    last = min(step for step in steps if step >= high)
    return [step for step in steps if first <= step <= last]


def _of_connections(axes: Axes, points: Points) -> None:
    connections = [x for x, _ in points]
    ticks = _round_numbers(min(CONNECTIONS[0], *connections), max(CONNECTIONS[1], *connections))
    axes.set_xscale("log")
    axes.set_xlim(ticks[0] / 1.1, ticks[-1] * 1.1)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_with_commas))


def _from_zero(axes: Axes, points: Points) -> None:
    axes.set_ylim(0, max(y for _, y in points) * 1.08 or 1)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_with_commas))


def _milliseconds(axes: Axes, points: Points) -> None:
    ticks = _round_numbers(min(y for _, y in points) / 1.02, max(y for _, y in points) * 1.02)
    axes.set_yscale("log")
    axes.set_ylim(ticks[0], ticks[-1])
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_with_commas))


def _throughput(axes: Axes, points: Points) -> None:
    _of_connections(axes, points)
    _from_zero(axes, points)


def _latency(axes: Axes, points: Points) -> None:
    _of_connections(axes, points)
    _milliseconds(axes, points)


def _percentiles(axes: Axes, points: Points) -> None:
    axes.set_xlim(_rarity(PERCENTILES[0]) - 0.05, max(_rarity(PERCENTILES[-1]), *(x for x, _ in points)) + 0.05)
    axes.xaxis.set_major_locator(FixedLocator([_rarity(share) for share in PERCENTILES]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rarity, _place: f"{100 - 100 / 10**rarity:.6g}"))
    _milliseconds(axes, points)


def over_time(axes: Axes, points: Points) -> None:
    """Seconds to the right, a count or a rate upwards from 0."""
    low, high = min(0.0, *(x for x, _ in points)), max(x for x, _ in points)
    axes.set_xlim(low, high if high > low else low + 1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(_with_commas))
    _from_zero(axes, points)


def _rarity(percentile: float) -> float:
    """How far right a percentile stands: as far again for each ten times fewer answers that are slower."""
    return -math.log10(1 - percentile / 100)


def _above_zero(points: Points) -> Points:
    return [(x, y) for x, y in points if x > 0 and y > 0]


def _by_rarity(points: Points) -> Points:
    return [(_rarity(x), y) for x, y in points if 0 <= x < 100 and y > 0]


def _totals(curves: Sequence[Curve]) -> list[Curve]:
    """Totals as they are drawn: thinned, and each as far right as the longest, for a total stays what it is."""
    last = max(curve.points[-1][0] for curve in curves)
    share = len(curves) / TOTALS_STEPS
    return [Curve(c.plot, c.label, [*_thinned(c.points, share), (last, c.points[-1][1])]) for c in curves]


def _thinned(points: Points, share: float) -> Points:
    """Without what differs from the point kept before by less than this share of the width and of the height."""
    wide, high = (max(values) - min(values) for values in zip(*points, strict=True))
    kept = points[:1]
    for x, y in points[1:-1]:
        if x - kept[-1][0] > wide * share or abs(y - kept[-1][1]) > high * share:
            kept.append((x, y))
    return kept + points[1:][-1:]


PLOTS = {
    "throughput": Plot("Answers per second", "connections", "answers/s", list, _throughput),
    "latency": Plot("Latency, 99th percentile", "connections", "p99, ms", _above_zero, _latency),
    "percentiles": Plot("Latency by percentile", "percentile", "latency, ms", _by_rarity, _percentiles),
    "opening": Plot("After the opening", "seconds since the opening", "total so far", list, over_time, True),
}
