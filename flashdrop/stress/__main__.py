"""`make stress-<scenario>`: run the load kit, against a shop that stands already or a fresh one."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

from flashdrop.stress.kit import BASE_DIR, PROFILES, SCENARIOS, KitUnusable, Outcome, Run, extent_of
from flashdrop.stress.progress import Progress
from flashdrop.stress.results import Result, keep
from flashdrop.stress.target import FreshShop, fresh_shop

REPORTS = BASE_DIR / ".flashdrop" / "stress"


def main() -> int:
    arguments = _arguments()
    # Told to end, or left alone: the shop and its stores are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ["PROFILE"] = arguments.profile
    remote = os.environ.get("API_URL")
    outcomes: dict[str, Result] = {}
    try:
        with nullcontext(None) if remote else fresh_shop() as shop:
            for scenario in arguments.scenarios:
                outcomes[scenario] = _run(scenario, arguments, shop)
                if arguments.publish:
                    keep(scenario, outcomes[scenario])
    except KitUnusable as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    failed = [scenario for scenario, result in outcomes.items() if not result.passed]
    if len(outcomes) > 1:
        print(f"{len(outcomes) - len(failed)} of {len(outcomes)} scenarios passed", end="")
        print(f"; failed: {', '.join(failed)}" if failed else "")
    return 1 if failed else 0


def _run(scenario: str, arguments: argparse.Namespace, shop: FreshShop | None) -> Result:
    extent = extent_of(scenario, {})
    settings = shop.prepare(scenario, arguments.profile, extent, arguments.stock) if shop else {}
    print(f"== {scenario}, profile {arguments.profile}", file=sys.stderr, flush=True)
    progress = Progress(extent)
    outcome = _watched(Run(scenario, settings, arguments.out, progress.say), progress)
    if outcome.looks:
        print(f"the generator used {outcome.generator_share:.0%} of a core; this machine has {os.cpu_count()}")
    if shop is None:
        sku = outcome.summary["sku"] if outcome.summary else os.environ.get("SKU", "")
        print(f"On the server, `manage.py audit_sale {sku}` holds the promises against the stores.")
        return Result(outcome, None)
    holds = shop.audit(settings["SKU"])
    print(f"the server's audit: {'holds' if holds else 'BROKEN'}", flush=True)
    return Result(outcome, holds)


def _watched(run: Run, progress: Progress) -> Outcome:
    try:
        shown = 0
        while run.is_running():
            # Not with each look: k6 may be too busy to answer one.
            if len(run.looks) > shown:
                shown = len(run.looks)
                progress.show(run.looks[-1])
    except BaseException:
        run.interrupt()
        raise
    finally:
        progress.end()
    return run.outcome()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flashdrop.stress",
        description=__doc__,
        epilog="API_URL names a shop that stands already; docs/how-to/load-test.md has the other settings.",
    )
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO", help=f"all, or some of {', '.join(SCENARIOS)}")
    parser.add_argument("--profile", choices=PROFILES, default=os.environ.get("PROFILE") or "quick")
    parser.add_argument("--stock", type=int, help="units of a fresh shop's sale")
    parser.add_argument("--out", type=Path, default=REPORTS, help="where reports go (default: .flashdrop/stress)")
    parser.add_argument("--publish", action="store_true", help="write docs/reference/stress-test-results.md from this")
    arguments = parser.parse_args()
    if arguments.scenarios == ["all"]:
        arguments.scenarios = list(SCENARIOS)
    unknown = set(arguments.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    if arguments.stock is not None and arguments.stock < 1:
        parser.error("--stock has to be at least 1")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
