"""The report: a table for the terminal, and a page in Markdown with tables and plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from flashdrop.bench.row import Findings, Row
from flashdrop.marked import table, write_between

BEGIN, END = "<!-- bench: written by make bench -->", "<!-- end of bench -->"
IMAGES = "../images"
INTRODUCTION = """\
`make bench` measures the shop on real stores of its own and writes this page; `make bench ARGS=--full` gave these
figures. Each is the median of its runs, with the lowest and the highest in brackets. They hold for the machine below;
on another one, run it again."""
# What there is to see in each plot, by its file's name: in the words for those who can't, and in the sentence below it.
CAPTIONS = {
    "bench-throughput.svg": (
        "Answers per second by number of connections",
        "Where a line stays level, more connections cost no throughput; where it falls, they do.",
    ),
    "bench-latency.svg": (
        "99th percentile of the latency by number of connections",
        "99 of 100 answers came faster than this; where it doubles with the connections, they only queue.",
    ),
    "bench-percentiles.svg": (
        "Latency by percentile",
        "The further right, the fewer answers took longer; the flatter a line, the more alike everybody is treated.",
    ),
    "bench-opening.svg": (
        "Running totals after a sale has opened",
        "The height between two lines is what waits at that moment; where they meet, nobody waits any more.",
    ),
}


def terminal(findings: Findings) -> str:
    """Columns aligned by spaces; each row's notes stand below it."""
    cells = [["name", "median", "unit", "spread", "reach", "holds"]]
    cells += [
        [row.name, _median(row), row.unit, _spread(row), row.reach or "-", _holds(row, "yes", "NO", "-")]
        for row in findings.rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    # Figures end in one line under each other, the rest begins there.
    aligned = [
        "  ".join(
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    lines = aligned[:1]
    for line, row in zip(aligned[1:], findings.rows, strict=True):
        lines += [line, *(f"    {note}" for note in row.notes)]
    return "\n".join(lines)


def markdown(findings: Findings, machine: Sequence[tuple[str, str]], plots: Sequence[str]) -> str:
    """The page: the machine, the rows in their order, and the plots named by their files in `docs/images`.

    Raises:
        KeyError: a plot that has no caption.
    """
    rows = (
        [row.name, _with_unit(row), _runs(row), row.reach, _holds(row, "yes", "**no**", ""), "; ".join(row.notes)]
        for row in findings.rows
    )
    parts = [
        f"# Benchmarks\n\n{INTRODUCTION}",
        f"## Machine\n\n{table(('part', 'what it is'), machine)}",
        f"## Figures\n\n{table(('what', 'figure', 'runs', 'to reach', 'holds', 'notes'), rows)}",
    ]
    if plots:
        parts.append("## Curves")
    for name in plots:
        alt, seen = CAPTIONS[name]
        parts.append(f"![{alt}]({IMAGES}/{name})\n\n{seen}")
    return "\n\n".join(parts) + "\n"


def write(path: Path, text: str) -> None:
    """Put `text` between the page's marks; see `write_between`."""
    write_between(path, BEGIN, END, text)


def number(value: float) -> str:
    """With a comma for each thousand and three significant digits or more: `9,120`, `12.3`, `0.0450`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def _median(row: Row) -> str:
    return number(row.figure) if row.runs else "-"


def _with_unit(row: Row) -> str:
    if not row.runs:
        return "-"
    space = "" if row.unit in ("/s", "%", "x") else " "
    return f"{_median(row)}{space}{row.unit}"


def _spread(row: Row) -> str:
    if len(row.runs) < 2:
        return "one run" if row.runs else "not run"
    low, high = number(min(row.runs)), number(max(row.runs))
    return f"all {low}" if low == high else f"{low} to {high}"


def _runs(row: Row) -> str:
    return _spread(row) if len(row.runs) < 2 else f"median of {len(row.runs)} ({_spread(row)})"


def _holds(row: Row, yes: str, no: str, not_asked: str) -> str:
    return not_asked if row.holds is None else yes if row.holds else no
