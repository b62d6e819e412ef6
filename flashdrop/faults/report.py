"""The report: a table for the terminal and one in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flashdrop.faults.row import Row
from flashdrop.marked import table, write_between

BEGIN, END = "<!-- faults: written by --report -->", "<!-- end of faults -->"
HEADINGS = (
    "fault", "stock", "confirmed", "oversold", "over limit", "double", "lost", "stranded", "untrue", "wrong retries",
    "unkept", "500s", "errors seen by clients", "first order after", "in balance after", "verdict",
)  # fmt: skip


def terminal(rows: Sequence[Row]) -> str:
    """Columns aligned by spaces, then the notes of what is red."""
    cells = [list(HEADINGS), *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    lines += [f"  {row.fault}: {note}" for row in rows if row.broken for note in row.notes]
    return "\n".join(lines)


def markdown(rows: Sequence[Row]) -> str:
    """A table whose first column says what each fault is."""
    lines = ([f"**{row.fault}** {row.what}", *_cells(row)[1:]] for row in rows)
    return f"{table(HEADINGS, lines)}\n"


def write(path: Path, rows: Sequence[Row], heading: str) -> None:
    """Write the table between the page's marks; see `write_between`."""
    write_between(path, BEGIN, END, f"{heading}\n\n{markdown(rows)}")


def _cells(row: Row) -> list[str]:
    errors = ", ".join(f"{count} {code}" for code, count in row.errors.items()) or "none"
    return [
        row.fault,
        *("-" if number is None else str(number) for number in (
            row.stock, row.confirmed, row.oversold, row.over_limit, row.doubled, row.lost, row.stranded, row.untrue,
            row.wrong_retries, row.unkept, row.server_errors,
        )),
        errors,
        _seconds(row.recovered_after),
        _seconds(row.balanced_after),
        row.verdict,
    ]  # fmt: skip


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"
