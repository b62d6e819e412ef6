"""`python -m flashdrop.faults`: run the faults, print the table, exit 1 when a promise was broken."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from flashdrop.faults.all_faults import FAULTS, QUICK
from flashdrop.faults.cluster import TOPOLOGIES
from flashdrop.faults.report import terminal, write
from flashdrop.faults.row import Row
from flashdrop.faults.suite import Options, run_group


def main() -> int:
    """Each topology's faults run in a process of their own, since Django has one set of settings for each process."""
    arguments = _arguments()
    chosen = arguments.only or (QUICK if arguments.quick else list(FAULTS))
    options = Options(arguments.seed, arguments.quick, arguments.settle, arguments.logs)
    started = time.monotonic()
    rows: list[Row] = []
    for topology in TOPOLOGIES:
        names = [name for name in FAULTS if name in chosen and FAULTS[name].topology == topology]
        if names:
            rows += _run(topology, names, options)
    rows.sort(key=lambda row: list(FAULTS).index(row.fault))
    broken = [row for row in rows if row.broken]
    missing = len(chosen) - len(rows)
    _say(terminal(rows))
    took = time.monotonic() - started
    summary = f"{len(rows)} faults in {took:.0f} s, seed {arguments.seed}: {len(broken)} broke a promise"
    _say(summary)
    if missing:
        _say(f"{missing} faults could not be tried; see above")
    if arguments.report:
        write(arguments.report, rows, f"{datetime.now(UTC):%Y-%m-%d}, {summary}.")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) | {"broken": row.broken} for row in rows]), encoding="utf-8")
    return 1 if broken or missing else 0


def _run(topology: str, names: list[str], options: Options) -> list[Row]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=run_group, args=(topology, names, options, sender))
    process.start()
    sender.close()
    rows: list[Row] = []
    try:
        while True:
            row = receiver.recv()
            _say(f"{row.fault}: {row.verdict}")
            rows.append(row)
    except EOFError:
        process.join()
    return rows


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flashdrop.faults", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), metavar="NAME", help=", ".join(FAULTS))
    parser.add_argument("--quick", action="store_true", help="the subset that `make test` runs, with shorter outages")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settle", type=float, metavar="SECONDS", help="instead of each fault's own 10 or 30")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table there, as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, as JSON")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep the processes' logs there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
