"""`python -m flashdrop.stress.combine A.json B.json ...`: one verdict over generators that ran at the same time.

Each generator sees only its own shoppers (run them with `ALONE=no`); what they were told together is held against the
shop's count here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flashdrop.stress.results import tried_of


def combined(summaries: Sequence[dict[str, Any]]) -> tuple[bool, list[str]]:
    """Whether the promises hold over all of them together, and what to say about it.

    Raises:
        ValueError: they are not about one sale.
    """
    skus = {one["sku"] for one in summaries}
    if len(skus) != 1 or any(not one["sale"] for one in summaries):
        raise ValueError(f"The reports have to be about purchases in one and the same sale, not {sorted(skus)}.")
    sales = [one["sale"] for one in summaries]
    confirmed = sum(sale["confirmed"] for sale in sales)
    units = max(sale["units"] for sale in sales)
    ends = [sale["available_after"] for sale in sales]
    answers: Counter[str] = Counter()
    for one in summaries:
        answers.update(one["answers"])
    lines = [
        f"{len(summaries)} generators, {sum(one['requests']['count'] for one in summaries):,} requests",
        f"{confirmed:,} of {units:,} units confirmed",
        ", ".join(f"{answer} {count:,}" for answer, count in answers.most_common()),
    ]
    failures = [
        f"{one['scenario']} of {one['at']}: {', '.join(one['broken'])}" for one in summaries if not one["passed"]
    ]
    before = max(sale["available_before"] for sale in sales)
    if confirmed > before:
        failures.append(f"{confirmed - before:,} units confirmed above the stock")
    if None in ends:
        failures.append("a generator could not read the shop's count at its end")
    elif confirmed > before - min(ends):
        failures.append(f"{confirmed - (before - min(ends)):,} confirmed units that the shop doesn't count")
    return not failures, [*lines, *failures]


def tried(summaries: Sequence[dict[str, Any]]) -> str:
    """How many of the promises one of the generators at least has tried, and which none has."""
    found: dict[str, dict[str, Any]] = {}
    for row in (row for one in summaries for row in one["promises"]):
        known = found.setdefault(row["name"], dict(row))
        known["tried"] = known["tried"] or row["tried"]
    count, untried = tried_of(list(found.values()))
    return f"{count} promises tried" + (f" (not tried: {'; '.join(untried)})" if untried else "")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m flashdrop.stress.combine", description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path, help="the JSON reports of the generators")
    arguments = parser.parse_args()
    try:
        summaries = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.reports]
        passed, lines = combined(summaries)
        extent = tried(summaries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"These reports can't be combined: {error}", file=sys.stderr)
        return 2
    print("\n".join([*lines, f"PASS: {extent}, all kept" if passed else f"FAIL; {extent}"]))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
