"""`make bench`: the whole shop under load, beside what it is held against; one table, and the published page."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from flashdrop.bench import machine, page, plots
from flashdrop.bench.parts import PARTS, measure
from flashdrop.bench.row import Findings
from flashdrop.bench.traffic import FULL, SHORT

BASE_DIR = Path(__file__).resolve().parent.parent.parent
PAGE = BASE_DIR / "docs" / "reference" / "benchmarks.md"
FIGURES = BASE_DIR / "docs" / "reference" / "benchmarks.json"
IMAGES = BASE_DIR / "docs" / "images"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="longer and more runs, and write the published page")
    parser.add_argument("--only", choices=PARTS, nargs="+", help="these parts; nothing is published")
    parser.add_argument("--out", type=Path, help="keep the figures, the page and the plots of this run in a folder")
    arguments = parser.parse_args()
    extent = FULL if arguments.full else SHORT
    findings = Findings()
    for name in arguments.only or PARTS:
        print(f"== {name}", file=sys.stderr, flush=True)
        found = measure(name, extent)
        print(page.terminal(found), flush=True)
        findings.rows += found.rows
        findings.curves += found.curves
    if arguments.out:
        keep(findings, arguments.out / "benchmarks.md", arguments.out / "benchmarks.json", arguments.out)
    if arguments.full and not arguments.only:
        keep(findings, PAGE, FIGURES, IMAGES)
    return 1 if any(row.holds is False for row in findings.rows) else 0


def keep(findings: Findings, text: Path, figures: Path, images: Path) -> None:
    """Write the page, the figures behind it and the plots."""
    figures.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps(findings.as_json(), indent=1) + "\n", encoding="utf-8")
    drawn = plots.draw(findings, images)
    page.write(text, page.markdown(findings, machine.describe(), [path.name for path in drawn]))


if __name__ == "__main__":
    sys.exit(main())
