"""The published page of results: what each scenario found on one machine, with a plot, and how to do it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from flashdrop.bench import machine
from flashdrop.bench.page import IMAGES, number
from flashdrop.bench.plots import Plot, over_time, svg
from flashdrop.bench.row import Curve, Points
from flashdrop.marked import table, write_between
from flashdrop.stress.kit import BASE_DIR, SCENARIOS, Look, Outcome
from flashdrop.stress.progress import answers_of

DOCS = BASE_DIR / "docs"
PAGE = "reference/stress-test-results.md"
FIGURES = "reference/stress-test-results.json"
BEGIN, END = "<!-- stress: written by --publish -->", "<!-- end of stress -->"
PERCENTILES = ("med", "p(95)", "p(99)", "max")
OTHER_ANSWERS = "other answers"
MOST_ANSWERS = 4
"""Lines of a plot; rarer answers are drawn as one."""


@dataclass(frozen=True, slots=True)
class Result:
    """A run, and whether the server's audit held afterwards; None where the server is not ours to ask."""

    outcome: Outcome
    audit_holds: bool | None

    @property
    def passed(self) -> bool:
        return self.outcome.exit_code == 0 and self.audit_holds is not False


def keep(scenario: str, result: Result, docs: Path = DOCS) -> None:
    """Publish one scenario's result beside those of the others. A run that did not begin is none."""
    if result.outcome.summary is None:
        return
    figures = docs / FIGURES
    known = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else {"scenarios": {}}
    summary = {name: value for name, value in result.outcome.summary.items() if name not in ("target", "sku")}
    known["machine"] = machine.describe()
    known["scenarios"][scenario] = summary | {"audit_holds": result.audit_holds, "exit_code": result.outcome.exit_code}
    figures.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    curves = list(curves_of(result.outcome.looks))
    if curves:
        picture = docs / "images" / f"stress-{scenario}.svg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        plot = Plot(f"{scenario}: answers per second", "seconds since k6 began", "per second", list, over_time)
        picture.write_text(svg(plot, curves), encoding="utf-8")
    write_between(docs / PAGE, BEGIN, END, markdown(known, docs))


def markdown(known: dict[str, Any], docs: Path) -> str:
    """The page from its figures; plots are named where `docs` has them."""
    found = {name: known["scenarios"][name] for name in SCENARIOS if name in known["scenarios"]}
    headings = (
        *("scenario", "profile", "verdict", "promises tried", "server's audit", "requests/s", "confirmed"),
        "purchase p99, ms",
    )
    rows = [
        (
            f"[{name}](#{name})",
            one["profile"],
            _verdict(one),
            tried_of(one["promises"])[0],
            _audit(one),
            number(one["requests"]["rate"]),
            str(one["sale"]["confirmed"]) if one["sale"] else "",
            number(one["latencies"]["order_ms"]["p(99)"]) if "order_ms" in one["latencies"] else "",
        )
        for name, one in found.items()
    ]
    parts = [
        f"## Machine\n\n{table(('part', 'what it is'), known['machine'])}",
        "The load generator, the shop and its stores share these cores.",
        f"## Overview\n\n{table(headings, rows)}",
    ]
    for name, one in found.items():
        parts += _section(name, one, (docs / "images" / f"stress-{name}.svg").exists())
    return "\n\n".join(parts) + "\n"


def _section(name: str, one: dict[str, Any], has_plot: bool) -> Iterator[str]:
    changed = "".join(f" {setting.upper()}={one[setting]:g}" for setting in ("scale", "stretch") if one[setting] != 1)
    yield f"## {name}\n\n`make stress-{name} PROFILE={one['profile']}{changed}`: {_verdict(one)}. {_extent(one)}"
    if has_plot:
        yield f"![{name}: answers per second while it ran]({IMAGES}/stress-{name}.svg)"
    if one["answers"]:
        yield table(("answer to a purchase", "count"), [(what, f"{count:,}") for what, count in one["answers"].items()])
    latencies = [
        (each["title"], f"{each['count']:,}", *(number(each[name]) for name in PERCENTILES))
        for each in one["latencies"].values()
    ]
    yield table(("milliseconds", "count", "median", "p95", "p99", "longest"), latencies)
    tried = [row for row in one["promises"] if row["tried"]]
    yield table(
        ("promise or budget", "holds", "seen"),
        [(row["title"], "yes" if row["holds"] else "**no**", row["seen"]) for row in (*tried, *one["budgets"])],
    )
    count, untried = tried_of(one["promises"])
    yield f"{count} promises tried." + (f" Not tried: {'; '.join(untried)}." if untried else "")


def _extent(one: dict[str, Any]) -> str:
    text = f"{one['requests']['count']:,} requests in {one['seconds']:.0f} s"
    if one["banners"]:
        text += f", {one['banners']:,} banners by websocket"
    if one["sale"]:
        text += f"; {one['sale']['confirmed']:,} of {one['sale']['units']:,} units confirmed"
    return f"{text}."


def _verdict(one: dict[str, Any]) -> str:
    return "PASS" if one["passed"] and one["exit_code"] == 0 else "**FAIL**"


def tried_of(promises: Sequence[dict[str, Any]]) -> tuple[str, list[str]]:
    """How many of the promises a run tried, as text, and those it had no occasion for."""
    untried = [row["title"] for row in promises if not row["tried"]]
    return f"{len(promises) - len(untried)} of {len(promises)}", untried


def _audit(one: dict[str, Any]) -> str:
    return {True: "holds", False: "**broken**", None: "not asked"}[one["audit_holds"]]


def curves_of(looks: list[Look]) -> Iterator[Curve]:
    """What came a second, by what a purchase was answered with; all requests where nobody buys."""
    if len(looks) < 2:
        return
    answers = [name for name, _count in sorted(answers_of(looks[-1]).items(), key=lambda item: -item[1])]
    if not answers:
        yield Curve("stress", "requests", _rates(looks, lambda look: look.counts.get("http_reqs", 0)))
    groups = {name.replace("_", " "): [name] for name in answers[:MOST_ANSWERS]}
    if answers[MOST_ANSWERS:]:
        groups[OTHER_ANSWERS] = answers[MOST_ANSWERS:]
    for label, names in groups.items():
        yield Curve("stress", label, _rates(looks, partial(_count, names)))


def _count(names: list[str], look: Look) -> float:
    return sum(answers_of(look).get(name, 0) for name in names)


def _rates(looks: list[Look], count: Callable[[Look], float]) -> Points:
    return [
        (later.seconds, (count(later) - count(earlier)) / (later.seconds - earlier.seconds))
        for earlier, later in pairwise(looks)
    ]
