"""The report: a table for the terminal and one in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flashdrop.faults.row import Row

BEGIN, END = "<!-- faults: written by --report -->", "<!-- end of faults -->"
HEADINGS = (
    "fault", "stock", "confirmed", "oversold", "over limit", "double", "lost", "stranded", "untrue", "wrong retries",
    "unkept", "500s", "errors seen by clients", "first order after", "in balance after", "verdict",
)  # fmt: skip


def terminal(rows: Sequence[Row]) -> str:
    """Columns aligned by spaces, then the notes of what is red."""
    table = [list(HEADINGS), *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    lines += [f"  {row.fault}: {note}" for row in rows if row.broken for note in row.notes]
    return "\n".join(lines)


def markdown(rows: Sequence[Row]) -> str:
    """A table whose first column says what each fault is."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    for row in rows:
        cells = _cells(row)
        cells[0] = f"**{row.fault}** {row.what}"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write(path: Path, rows: Sequence[Row], heading: str) -> None:
    """Write the table to a file: between the two marks where it has them, else as all of it."""
    table = f"{heading}\n\n{markdown(rows)}"
    before, mark, rest = path.read_text(encoding="utf-8").partition(BEGIN) if path.exists() else ("", "", "")
    if mark:
        table = f"{before}{mark}\n{table}{END}{rest.partition(END)[2]}"
    path.write_text(table, encoding="utf-8")


def _cells(row: Row) -> list[str]:
    errors = ", ".join(f"{count} {code}" for code, count in row.errors.items()) or "none"
    return [
        row.fault,
        *(str(number) for number in (
            row.stock, row.confirmed, row.oversold, row.over_limit, row.doubled, row.lost, row.stranded, row.untrue,
            row.wrong_retries, row.unkept, row.server_errors,
        )),
        errors,
        _seconds(row.recovered_after),
        _seconds(row.balanced_after),
        "BROKEN: " + ", ".join(row.broken) if row.broken else "holds",
    ]  # fmt: skip


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"
