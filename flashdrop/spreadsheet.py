"""CSV for spreadsheets: every file of ours that people open in one is written here, and read back from one.

A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula and runs it, and people choose their own
names. It takes `000123`, nineteen digits or `1e5` for numbers and `MARCH1` for a date, and saves something else. Such a
text gets an apostrophe in front, the spreadsheets' own sign for "this is text". One that opens a file with another
separator than ours sees cells begin in the middle of ours, so what follows a separator is treated the same.

`unmarked` takes exactly these apostrophes away: `unmarked(marked(text)) == text` for every text on one line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

CONTENT_TYPE = "text/csv; charset=utf-8; header=present"
# Without it, Excel takes the file for one in its own country's encoding.
BYTE_ORDER_MARK = "\ufeff"
# Line breaks too: what reads a file line by line must not find half an order.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# They turn the text around them, and nobody sees them.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]+")
# What spreadsheets skip before they look at a cell's first sign: white space, quotes, and what can't be seen.
_SKIPPED = '\\s"\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff'
# Other writings of the four as well: some spreadsheets take them for the plain ones.
_SIGNS = "=+\\-@\u207a\u207b\u208a\u208b\u207c\u208c\u2212\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20"
_MONTH = "(?:jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-zä]*+"
_NUMBER = f"(?=[^\\n]*\\d)(?:[\\d\\s.,:/+\\-%()$£¥€'\u2019]|(?<=[\\d.,])e(?=[\\d+\\-])|{_MONTH}|[ap]m)+\\Z"
# The start of a cell, in our file or in one that is cut at another separator.
_START = "(^|[,;|\t])"
# Also what begins with an apostrophe: a spreadsheet may take the first one for its own sign.
_NEEDS_MARK = re.compile(f"^(?=')|{_START}(?=[{_SKIPPED}']*[{_SIGNS}])|^(?={_NUMBER})", re.IGNORECASE)
_MARK = re.compile(f"^'(?=')|{_START}'(?=[{_SKIPPED}']*[{_SIGNS}])|^'(?={_NUMBER})", re.IGNORECASE)


class Plain(str):
    """A text of our own making, which is written as it is."""


def lines(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as RFC 4180 has them: texts quoted and, but for `Plain` ones, `marked`; numbers as they are."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n").writerows(map(_written, row) for row in rows)
    return text.getvalue()


def marked(text: str) -> str:
    """`text` on one line, and neither a formula nor a number to any spreadsheet."""
    if text.isalpha() or not text:
        return text
    return _NEEDS_MARK.sub(r"\1'", on_one_line(text))


def on_one_line(text: str) -> str:
    """Without control characters, and without what turns the text around it."""
    return _TURNING.sub("", _CONTROLS.sub(" ", text))


def unmarked(text: str) -> str:
    """What `marked` was given, or the same text where it bears no mark."""
    return _MARK.sub(r"\1", text)


def _written(cell: Any) -> Any:
    return marked(cell) if isinstance(cell, str) and not isinstance(cell, Plain) else cell
