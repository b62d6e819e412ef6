"""What a benchmark found: one row of the table, and the curves behind the plots."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: the median of its runs, what is to be reached, and what has to be known to read it."""

    name: str
    runs: tuple[float, ...]
    unit: str
    """`/s`, `ms`, `s`, `KB`, `%`, `us` or `x`."""
    reach: str = ""
    """What the figure should be, for people: `at least 9,000/s`."""
    holds: bool | None = None
    """Whether it is; None where nothing is asked."""
    notes: tuple[str, ...] = ()

    @property
    def figure(self) -> float:
        return median(self.runs)


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one line of the plot `plot`; x and y in the units that the plot names."""

    plot: str
    """`throughput`, `latency`, `percentiles` or `opening`."""
    label: str
    points: Points


@dataclass(slots=True)
class Findings:
    """Everything one run of `make bench` found."""

    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values, to be kept beside the page that is written from them."""
        return {"rows": [asdict(row) for row in self.rows], "curves": [asdict(curve) for curve in self.curves]}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Findings:
        """What `as_json` gave."""
        rows = [Row(**row | {"runs": tuple(row["runs"]), "notes": tuple(row["notes"])}) for row in found["rows"]]
        curves = [Curve(c["plot"], c["label"], [(x, y) for x, y in c["points"]]) for c in found["curves"]]
        return cls(rows, curves)
