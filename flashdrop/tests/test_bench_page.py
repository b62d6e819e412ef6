"""What a benchmark writes: the table, the page, the plots, and what it says about the machine."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conftest import BASE_DIR
from flashdrop.bench import machine, page
from flashdrop.bench.plots import PLOTS, draw
from flashdrop.bench.row import Curve, Findings, Row

MACHINE = [("processor", "Abacus | 2 beads"), ("cores", "2")]
MAX_SVG_BYTES = 60_000
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def findings() -> Findings:
    """Every kind of row and every plot."""
    return Findings(
        rows=[
            Row("purchases", (9400.0, 8900.0, 9120.4), "/s", "at least 9,000/s", True, ("wrk took 61% of a core",)),
            Row("page | stock handler", (12.34,), "ms", "at most 10 ms", False, ("first\nnote", "a | b")),
            Row("memory", (51.0, 51.0, 51.0), "KB"),
            Row("refused", (0.0, 0.0), "%"),
            Row("against the naive shop", (4.5, 4.7, 4.6), "x", "at least 3x", True),
            Row("skipped", (), "s", "at most 5 s"),
        ],
        curves=[
            Curve("throughput", "purchases", [(100, 9000.0), (1000, 9200.0), (5000, 8100.0)]),
            Curve("throughput", "page & <banner> at $5", [(100, 13000.0), (5000, 0.0)]),
            Curve("latency", "purchases", [(100, 11.0), (1000, 118.0), (5000, 702.5)]),
            Curve("percentiles", "purchases", [(50, 100.0), (99, 118.0), (99.9, 160.0), (100, 300.0)]),
            Curve("opening", "asked", [(0.0, 0), (0.2, 4000), (1.0, 5000)]),
            Curve("opening", "in the ledger", [(0.0, 0), (0.3, 900), (2.4, 5000)]),
        ],
    )


def names(files: list[Path]) -> list[str]:
    return [file.name for file in files]


def test_findings_survive_json(findings: Findings) -> None:
    assert Findings.from_json(json.loads(json.dumps(findings.as_json()))) == findings


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9120.4, "9,120"), (1234567, "1,234,567"), (123.4, "123"), (12.34, "12.3"), (1, "1.00"), (0.045, "0.0450"),
        (99.99, "100.0"), (0, "0"), (-4.5, "-4.50"), (math.inf, "inf"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits_and_commas(value: float, text: str) -> None:
    assert page.number(value) == text


def test_the_terminal_gets_aligned_columns_and_the_notes(findings: Findings) -> None:
    lines = page.terminal(findings).splitlines()
    cells = {line.split("  ")[0]: re.split(r"  +", line) for line in lines if not line.startswith(" ")}
    assert cells["name"] == ["name", "median", "unit", "spread", "reach", "holds"]
    assert cells["purchases"][1:] == ["9,120", "/s", "8,900 to 9,400", "at least 9,000/s", "yes"]
    assert cells["page | stock handler"][1:] == ["12.3", "ms", "one run", "at most 10 ms", "NO"]
    assert cells["memory"][1:] == ["51.0", "KB", "all 51.0", "-", "-"]
    assert cells["refused"][1:] == ["0", "%", "all 0", "-", "-"]
    assert cells["skipped"][1:] == ["-", "s", "not run", "at most 5 s", "-"]
    assert lines[lines.index(next(line for line in lines if line.startswith("purchases"))) + 1].strip() == (
        "wrk took 61% of a core"
    )
    units = {line.index(row.unit, 30) for row in findings.rows for line in lines if line.startswith(row.name)}
    assert len(units) == 1, "the column of units begins in one place"


def test_nothing_found_is_still_a_table() -> None:
    assert page.terminal(Findings()) == "name  median  unit  spread  reach  holds"
    assert "| what | figure |" in page.markdown(Findings(), [], [])


def test_the_page_has_machine_figures_and_plots(findings: Findings) -> None:
    text = page.markdown(findings, MACHINE, ["bench-throughput.svg"])
    lines = text.splitlines()
    assert text.startswith("# Benchmarks\n")
    assert "`make bench ARGS=--full`" in text
    assert "| processor | Abacus \\| 2 beads |" in lines
    figures = lines[lines.index("## Figures") + 4 : lines.index("## Curves") - 1]
    assert figures == [
        "| purchases | 9,120/s | median of 3 (8,900 to 9,400) | at least 9,000/s | yes | wrk took 61% of a core |",
        "| page \\| stock handler | 12.3 ms | one run | at most 10 ms | **no** | first note; a \\| b |",
        "| memory | 51.0 KB | median of 3 (all 51.0) |  |  |  |",
        "| refused | 0% | median of 2 (all 0) |  |  |  |",
        "| against the naive shop | 4.60x | median of 3 (4.50 to 4.70) | at least 3x | yes |  |",
        "| skipped | - | not run | at most 5 s |  |  |",
    ]
    image = next(place for place, line in enumerate(lines) if line.startswith("!["))
    assert re.fullmatch(r"!\[.+\]\(\.\./images/bench-throughput\.svg\)", lines[image])
    assert lines[image + 2].endswith(".")
    assert "bench-latency.svg" not in text


def test_a_page_without_plots_has_no_heading_for_them(findings: Findings) -> None:
    assert "## Curves" not in page.markdown(findings, MACHINE, [])


def test_every_plot_has_its_caption() -> None:
    assert set(page.CAPTIONS) == {f"bench-{name}.svg" for name in PLOTS}
    with pytest.raises(KeyError):
        page.markdown(Findings(), [], ["bench-nonsense.svg"])


def test_a_new_page_has_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "reference" / "benchmarks.md"
    page.write(path, "figures\n")
    assert path.read_text() == f"{page.BEGIN}\nfigures\n{page.END}\n"


def test_what_is_written_by_hand_stays(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    path.write_text(f"# By hand\n\n{page.BEGIN}\nold\n{page.END}\n\nMore by hand: größer.\n", encoding="utf-8")
    for _ in range(2):
        page.write(path, "new\n")
        assert path.read_text(encoding="utf-8") == (
            f"# By hand\n\n{page.BEGIN}\nnew\n{page.END}\n\nMore by hand: größer.\n"
        )


def test_a_page_without_marks_gets_them_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    path.write_text("# By hand\n")
    for _ in range(2):
        page.write(path, "new\n")
        assert path.read_text() == f"# By hand\n\n{page.BEGIN}\nnew\n{page.END}\n"


@pytest.mark.parametrize("text", [page.BEGIN, page.END, f"{page.END}\n{page.BEGIN}"])
def test_a_page_with_half_its_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "benchmarks.md"
    path.write_text(f"{text}\nby hand\n")
    with pytest.raises(ValueError, match=r"benchmarks\.md"):
        page.write(path, "new\n")
    assert path.read_text() == f"{text}\nby hand\n"


def test_plots_are_small_valid_and_named(findings: Findings, tmp_path: Path) -> None:
    files = draw(findings, tmp_path / "images")
    assert names(files) == list(page.CAPTIONS)
    for file in files:
        assert file.stat().st_size < MAX_SVG_BYTES
        root = ElementTree.parse(file).getroot()
        assert root.tag == f"{SVG}svg"
    texts = [element.text for element in ElementTree.parse(files[0]).iter(f"{SVG}text")]
    assert {"purchases", "connections", "answers/s", "1,000", "10,000"} <= set(texts)
    assert "page & <banner> at $5" in texts


def test_only_plots_with_something_to_show_are_drawn(findings: Findings, tmp_path: Path) -> None:
    some = [curve for curve in findings.curves if curve.plot == "latency"]
    nothing = [
        Curve("opening", "asked", []),
        Curve("percentiles", "slowest", [(100, 3.0)]),
        Curve("else", "?", [(1, 1)]),
    ]
    assert names(draw(Findings([], some + nothing), tmp_path)) == ["bench-latency.svg"]
    assert draw(Findings(), tmp_path / "none") == []


@pytest.mark.parametrize("plot", PLOTS)
def test_one_point_makes_a_plot(plot: str, tmp_path: Path) -> None:
    (file,) = draw(Findings([], [Curve(plot, "alone", [(50.0, 1.0)])]), tmp_path)
    assert "alone" in file.read_text()


def test_equal_findings_give_equal_bytes(findings: Findings, tmp_path: Path) -> None:
    """In another process too, with other hashes."""
    (tmp_path / "findings.json").write_text(json.dumps(findings.as_json()))
    code = (
        "import json; from pathlib import Path; from flashdrop.bench.plots import draw; "
        "from flashdrop.bench.row import Findings; "
        f"draw(Findings.from_json(json.loads(Path({str(tmp_path / 'findings.json')!r}).read_text())), "
        f"Path({str(tmp_path / 'other')!r}))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=BASE_DIR, check=True, timeout=60)
    for file in draw(findings, tmp_path / "here"):
        assert file.read_bytes() == (tmp_path / "other" / file.name).read_bytes()


def test_a_long_opening_stays_a_small_file(tmp_path: Path) -> None:
    curves = [
        Curve("opening", f"{late} s late", [(late + math.sqrt(order), float(order)) for order in range(20_000)])
        for late in range(5)
    ]
    (file,) = draw(Findings([], curves), tmp_path)
    assert file.stat().st_size < MAX_SVG_BYTES


def test_the_machine_is_described_without_its_paths() -> None:
    described = machine.describe()
    assert [name for name, _ in described] == [
        "processor", "cores", "memory", "kernel", "Python", "Django", "uvicorn", "uvloop", "redis-py", "pymongo",
        "gate", "ledger", "wrk", "Chromium", "date", "commit",
    ]  # fmt: skip
    for name, text in described:
        assert text.strip() == text != "", name
        assert not re.search(r"(^|[\s'\"=(])[/~]", text), name
        assert str(BASE_DIR) not in text
    said = dict(described)
    assert re.search(r"ten million additions take \d+\.\d s", said["Python"])
    assert re.fullmatch(r"(Redis|Valkey) [\d.]+", said["gate"])
    assert re.fullmatch(r"MongoDB [\d.]+", said["ledger"])


def test_a_machine_that_tells_nothing_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_ask", lambda *_: "")
    monkeypatch.setattr(machine, "ADDITIONS", 1000)  # how fast the interpreter is was timed in full above
    said = dict(machine.describe())
    assert {said[name] for name in ("gate", "ledger", "wrk", "Chromium", "commit")} == {machine.UNKNOWN}
