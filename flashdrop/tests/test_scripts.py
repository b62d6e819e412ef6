"""Each Lua script's header is its contract: held here against its code and the typed function beside it."""

from __future__ import annotations

import ast
import re
from enum import IntEnum
from pathlib import Path

import pytest

from flashdrop.config import BASE_DIR
from flashdrop.scripts import LUA_DIR, source
from sales.gate import Publication, Verdict, Wish

SECTIONS = ["KEYS", "ARGV", "RETURNS", "ERRORS"]
KEY_TYPES = {"hash", "sorted set", "stream", "string", "list", "set"}
MAX_CODE_LINES = 80
SCRIPTS = sorted(path.stem for path in LUA_DIR.glob("*.lua"))
STOCK = ast.parse((BASE_DIR / "sales" / "stock.py").read_text())
# Commands of the server, not of a key.
KEYLESS = {"TIME"}
# What each may do in a server whose memory is full, or that refuses writes. Without a flag a script is refused whole,
# before its first command; without the line above its header Redis would let it begin and stop it anywhere.
STOPS_OR_FREES = "#!lua flags=allow-oom"
FLAGS = {
    "brake": STOPS_OR_FREES,
    "confirm": STOPS_OR_FREES,
    "fence": STOPS_OR_FREES,
    "held": "#!lua flags=no-writes",
    "load": "#!lua",
    "publish": STOPS_OR_FREES,
    "release": STOPS_OR_FREES,
    "reserve": "#!lua",
    "retire": STOPS_OR_FREES,
    "tried": "#!lua",
}
# Commands of which every argument is a key; of all others the first one is.
ALL_KEYS = {"DEL", "EXISTS", "RENAME", "UNLINK"}

every_script = pytest.mark.parametrize("name", SCRIPTS)


def header(name: str) -> list[str]:
    """The lines of the comment at the top, without the dashes."""
    lines = []
    for line in source(name).splitlines()[1:]:
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").removeprefix(" "))
    return lines


def section(name: str, title: str) -> list[str]:
    """The lines under one title of the header."""
    lines = header(name)
    start = lines.index(title) + 1
    end = next((i for i in range(start, len(lines)) if lines[i] in SECTIONS), len(lines))
    return lines[start:end]


def code(name: str) -> str:
    """The script without comments and blank lines."""
    stripped = (re.sub(r"--.*", "", line).rstrip() for line in source(name).splitlines()[1:])
    return "\n".join(line for line in stripped if line)


def listed(name: str, title: str) -> list[int]:
    """The numbers that a section lists, in order."""
    return [int(found[1]) for line in section(name, title) if (found := re.match(r"\s+(\d+)\s", line))]


def literal_places(name: str, table: str) -> set[int]:
    """Which places of `KEYS` or `ARGV` the code names by number."""
    return {int(number) for number in re.findall(rf"\b{table}\[(\d+)\]", code(name))}


def calls(name: str) -> list[tuple[str, list[str]]]:
    """Every `redis.call`: the command, and its arguments as they are written."""
    found = []
    text = code(name)
    for start in (match.end() for match in re.finditer(r"redis\.p?call\(", text)):
        depth, end = 1, start
        while depth:
            depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(text[end], 0)
            end += 1
        arguments = _split(text[start : end - 1])
        found.append((arguments[0].strip("'\""), arguments[1:]))
    return found


def _split(arguments: str) -> list[str]:
    """At the commas of the outermost level."""
    parts, depth = [""], 0
    for char in arguments:
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(char, 0)
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def statuses_in_header(name: str) -> dict[str, int]:
    return {word: int(number) for number, word in re.findall(r"\{(\d+) ([A-Z_]+)", "\n".join(section(name, "RETURNS")))}


def statuses_in_code(name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for names, numbers in re.findall(r"^local ([A-Z_, ]+) = ([\d, ]+)$", code(name), re.MULTILINE):
        found |= dict(zip(names.split(", "), map(int, numbers.split(", ")), strict=True))
    return found


def functions_running(name: str) -> list[str]:
    """The functions of sales/stock.py that run the script."""
    return [
        function.name
        for function in ast.walk(STOCK)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "run_script"
        and isinstance(call.args[1], ast.Constant)
        and call.args[1].value == name
    ]


def test_there_are_scripts() -> None:
    assert {"reserve", "release", "confirm", "publish", "load", "fence"} <= set(SCRIPTS)


def test_every_script_says_what_it_may_do_when_memory_is_full() -> None:
    assert {name: source(name).splitlines()[0] for name in SCRIPTS} == FLAGS


@every_script
def test_the_header_begins_with_the_name_and_what_the_script_does(name: str) -> None:
    assert re.fullmatch(rf"{name}: .+", header(name)[0])


@every_script
def test_the_header_says_which_race_the_script_closes(name: str) -> None:
    lines = header(name)
    assert re.search(r"\b[Cc]loses\b.*\brace\b", " ".join(lines[: lines.index("KEYS")]))


@every_script
def test_the_header_has_its_sections_in_order(name: str) -> None:
    assert [line for line in header(name) if line.isupper() and line.isalpha()] == SECTIONS
    assert all(section(name, title) for title in SECTIONS)


@every_script
def test_the_keys_are_numbered_and_have_a_type(name: str) -> None:
    lines = section(name, "KEYS")
    assert listed(name, "KEYS") == list(range(1, len(lines) + 1))
    for line in lines:
        assert re.split(r"\s{2,}", line.strip())[1] in KEY_TYPES, line


@every_script
def test_every_key_listed_is_used_and_no_other(name: str) -> None:
    places = literal_places(name, "KEYS")
    # A loop over the keys names them by its bounds.
    for low, high, uses in re.findall(r"for i = (\d+), (\d+) do\n((?:\s+.*\n)*?)end", code(name)):
        for offset in re.findall(r"KEYS\[i(?: - (\d+))?\]", uses):
            places |= {i - int(offset or 0) for i in range(int(low), int(high) + 1)}
    assert places == set(listed(name, "KEYS"))


@every_script
def test_every_argument_used_by_number_is_listed(name: str) -> None:
    used, numbered = literal_places(name, "ARGV"), listed(name, "ARGV")
    assert numbered == list(range(1, len(numbered) + 1))
    assert used <= set(numbered)


@every_script
def test_no_key_is_built_inside(name: str) -> None:
    for command, arguments in calls(name):
        assert command.isupper(), command
        if command in KEYLESS:
            assert arguments == []
            continue
        for key in arguments if command in ALL_KEYS else arguments[:1]:
            assert re.fullmatch(r"KEYS\[(\d+|i|i - \d+)\]", key), f"{command} {key}"


@every_script
def test_a_script_is_short(name: str) -> None:
    assert len(code(name).splitlines()) <= MAX_CODE_LINES


@pytest.mark.parametrize(("name", "enum"), [("reserve", Verdict), ("publish", Publication)])
def test_the_statuses_are_one_enum_in_header_code_and_python(name: str, enum: type[IntEnum]) -> None:
    members = {member.name: member.value for member in enum}
    assert statuses_in_header(name) == members
    assert statuses_in_code(name) == members


def test_a_purchase_is_the_same_in_header_code_and_python() -> None:
    """It travels as a list: only its order says what is what."""
    in_header = re.search(r"\[([\w, ]+)\]", " ".join(section("reserve", "ARGV")))
    in_code = re.search(r"function decide\(([\w, ]+)\)", code("reserve"))
    assert in_header and in_code
    in_python = [field.removeprefix("is_").removesuffix("_id") for field in Wish._fields]
    assert [name.removesuffix(" id") for name in in_header[1].split(", ")] == in_python
    assert in_code[1].split(", ") == in_python


@every_script
def test_exactly_one_typed_function_runs_a_script(name: str) -> None:
    assert functions_running(name) == [name]


def test_scripts_are_run_from_the_stock_room_only() -> None:
    elsewhere = [
        path.relative_to(BASE_DIR)
        for app in ("flashdrop", "sales", "orders")
        for path in (BASE_DIR / app).rglob("*.py")
        if "tests" not in path.parts and "run_script(" in path.read_text()
    ]
    assert sorted(elsewhere) == [Path("flashdrop/scripts.py"), Path("sales/stock.py")]


def test_an_unknown_script_is_not_found() -> None:
    with pytest.raises(FileNotFoundError):
        source("no-such-script")
