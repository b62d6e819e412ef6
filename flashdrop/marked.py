"""Markdown pages written half by hand, half by a program: what lies between two marks is the program's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def write_between(path: Path, begin: str, end: str, text: str) -> None:
    """Put `text` between the two marks and keep what is written by hand around them.

    A file without the marks gets them, with the text, at its end; a missing one is made.

    Raises:
        ValueError: the file has only one of the marks, or not in their order; it is left as it is.
    """
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    before, found, rest = old.partition(begin)
    _, closed, after = rest.partition(end)
    if found and closed:
        new = f"{before}{begin}\n{text}{end}{after}"
    elif begin in old or end in old:
        raise ValueError(f"{path.name} needs both marks, {begin} before {end}, or none.")
    else:
        by_hand = f"{old.rstrip()}\n\n" if old.strip() else ""
        new = f"{by_hand}{begin}\n{text}{end}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(new, encoding="utf-8")


def table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    rule = "|" + "---|" * len(headings)
    return "\n".join([_line(headings), rule, *map(_line, lines)])


def _line(cells: Sequence[str]) -> str:
    # A line break or a bare pipe would end the cell.
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
