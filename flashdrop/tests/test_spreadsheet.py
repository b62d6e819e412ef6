"""Files for spreadsheets: no cell is run, none is taken for a number, and every text can be had back."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import BASE_DIR
from flashdrop import spreadsheet
from flashdrop.spreadsheet import Plain, marked, unmarked

FORMULAS = [
    "=1+1",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    " =1+1",
    "\t=1+1",
    "\r\n=1+1",
    "\x00=1",
    ' "=1+1',
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20A1",
    "\ufe661",
    "\u22121",
    "\ufeff=1",
    "\u200b=1",
    "\u202e=1",
    "Müller; =1+1",
    "Müller;=1+1",
    "a,=1",
    "a|@x",
    'a;"=1"',
]
NUMBERS = [
    "000123",
    "1" * 19,
    "1e5",
    "6500e12",
    "1,5",
    "1.5",
    "12:30",
    "2026-11-23",
    "1/2",
    "5 %",
    "MARCH1",
    "2-Sep",
    "٣",
]
HARMLESS = ["Ann", "Jean-Luc O'Neil", "a=b", "m@x.org", "中文", "", "65a0f1", "No. 1", "may", "A - B", "x1"]
# What a spreadsheet may take for the start of a cell, for a sign, or leave out before it looks.
NASTY = st.text(
    st.sampled_from("=+-@'\", ;|1e5.:a\u200b\uff1d\uff0djanJAN%") | st.characters(codec="utf-8"), max_size=20
)


def as_cut_by(text: str, separator: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) for cell in row]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula_wherever_the_file_is_cut(text: str) -> None:
    line = spreadsheet.lines([[text, "next"]])
    assert not re.search("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]", line)
    assert line.count("\n") == line.count("\r") == 1
    for separator in ",;|\t":
        for cell in as_cut_by(line, separator):
            plain = unicodedata.normalize("NFKC", cell)
            seen = "".join(one for one in plain if unicodedata.category(one)[0] not in "CZ").lstrip('"')
            assert not seen.startswith(("=", "+", "-", "\u2212", "@")), (separator, cell)


@pytest.mark.parametrize("text", NUMBERS)
def test_what_reads_like_a_number_is_marked_as_a_text(text: str) -> None:
    assert marked(text) == f"'{text}" and unmarked(f"'{text}") == text


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    assert marked(text) == unmarked(text) == text


def test_numbers_and_our_own_texts_are_written_as_they_are() -> None:
    assert spreadsheet.lines([[1, "1", Plain("1"), "=1"]]) == '1,"\'1","1","\'=1"\r\n'


@given(NASTY)
def test_every_text_can_be_had_back(text: str) -> None:
    assert unmarked(marked(text)) == spreadsheet.on_one_line(text)


@given(NASTY, NASTY)
def test_two_texts_are_never_written_alike(one: str, other: str) -> None:
    assert (marked(one) == marked(other)) == (spreadsheet.on_one_line(one) == spreadsheet.on_one_line(other))


def test_it_takes_no_longer_for_a_long_text_that_tries() -> None:
    for text in ("jan" * 300 + "1!", "'" * 900 + "x", "1e" * 400 + "x", ";'" * 400, " " * 900 + "x"):
        marked(text)  # or the suite's time limit is over


def test_nothing_else_here_writes_tables() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=BASE_DIR, capture_output=True, text=True, check=True)
    found = {
        name
        for name in listed.stdout.split()
        if "tests/" not in name and "csv.writer(" in Path(BASE_DIR, name).read_text()
    }
    assert found == {"flashdrop/spreadsheet.py"}
