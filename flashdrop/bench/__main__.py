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
    parser.add_argument("--full", action="store_true", help="longer and more runs, and publish what was found")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="these parts")
    parser.add_argument("--out", type=Path, help="keep the figures, the page and the plots of this run in a folder")
    arguments = parser.parse_args()
    found: dict[str, Findings] = {}
    for name in arguments.only:
        print(f"== {name}", file=sys.stderr, flush=True)
        found[name] = measure(name, FULL if arguments.full else SHORT)
        print(page.terminal(found[name]), flush=True)
        # After each part: a run that is interrupted has not been for nothing.
        if arguments.out:
            keep(found, arguments.out / "benchmarks.md", arguments.out / "benchmarks.json", arguments.out)
        if arguments.full:
            keep(found, PAGE, FIGURES, IMAGES)
    return 1 if any(row.holds is False for findings in found.values() for row in findings.rows) else 0


def keep(found: dict[str, Findings], text: Path, figures: Path, images: Path) -> None:
    """Write the figures, and the page and plots from them; parts that were not measured now stay as they were."""
    known = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else {}
    known |= {name: findings.as_json() for name, findings in found.items()}
    everything = Findings()
    for name in PARTS:
        if name in known:
            part = Findings.from_json(known[name])
            everything.rows += part.rows
            everything.curves += part.curves
    figures.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    drawn = plots.draw(everything, images)
    page.write(text, page.markdown(everything, machine.describe(), [path.name for path in drawn]))


if __name__ == "__main__":
    sys.exit(main())
