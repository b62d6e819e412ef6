"""`make bench-sale-status`, `bench-product`, `bench-create-order`: one hot endpoint as fast as it goes, under wrk."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from statistics import median

from flashdrop.bench.generator import allow_open_files
from flashdrop.bench.wrk import Load, WrkMissing, run_wrk
from flashdrop.stress.target import fresh_shop

PATHS = {
    "sale-status": "/api/products/{sku}/sale-status",
    "product": "/api/products/{sku}",
    "create-order": "/api/orders",
}
RUNS = 3
PLENTY = 10_000_000
# More than one machine sells: each purchase of a run needs a shopper of its own.
SHOPPERS_PER_SECOND = 12_000
JSON = "application/json"


def main() -> int:
    arguments = _arguments()
    allow_open_files(2 * arguments.connections)
    try:
        loads = _against_url(arguments) if os.environ.get("API_URL") else _against_fresh_shop(arguments)
    except WrkMissing as error:
        print(error, file=sys.stderr)
        return 2
    _print(arguments, loads)
    return 1 if any(load.refused or load.broken or load.timeouts for load in loads) else 0


def _against_url(arguments: argparse.Namespace) -> list[Load]:
    url, sku, shoppers = (os.environ.get(name, "") for name in ("API_URL", "SKU", "SHOPPERS"))
    if not sku:
        sys.exit("SKU is missing: with API_URL, name the sale too.")
    if arguments.endpoint == "create-order" and not Path(shoppers).is_file():
        sys.exit("SHOPPERS has to name a file of `manage.py mint_shoppers`: each purchase needs a shopper of its own.")
    return [_load(arguments, url.rstrip("/"), sku, Path(shoppers)) for _ in range(RUNS)]


def _against_fresh_shop(arguments: argparse.Namespace) -> list[Load]:
    with fresh_shop() as shop:
        loads = []
        for run in range(RUNS):
            sku = f"bench-{arguments.endpoint}-{run}"
            count = SHOPPERS_PER_SECOND * arguments.duration if arguments.endpoint == "create-order" else 0
            cookies = shop.offer(sku, PLENTY, count)
            loads.append(_load(arguments, shop.url, sku, cookies))
        return loads


def _load(arguments: argparse.Namespace, url: str, sku: str, cookies: Path) -> Load:
    path = PATHS[arguments.endpoint].format(sku=sku)
    if arguments.endpoint == "create-order":
        buy = (str(cookies), path, JSON, f'{{"sku":"{sku}"}}')
        return run_wrk(url, arguments.connections, arguments.duration, buy=buy)
    return run_wrk(url + path, arguments.connections, arguments.duration)


def _print(arguments: argparse.Namespace, loads: list[Load]) -> None:
    rates = [load.per_second for load in loads]
    print(f"{arguments.endpoint}, {arguments.connections} connections, {RUNS} runs of {arguments.duration} s")
    print(f"  {median(rates):>9,.0f}/s  median; {min(rates):,.0f} to {max(rates):,.0f}")
    for share in (50, 95, 99, 99.9):
        print(f"  {median(load.latency_ms[share] for load in loads):>9.1f} ms {share:g} of 100 came faster")
    print(f"  {sum(load.refused for load in loads):>9,} refused (status 400 or more)")
    print(f"  {sum(load.broken + load.timeouts for load in loads):>9,} cut or not answered in time")
    limited = " and was the limit" if any(load.is_generator_limited for load in loads) else ""
    print(f"  the generator used {median(load.generator_share for load in loads):.0%} of a core{limited}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flashdrop.stress.endpoint", description=__doc__)
    parser.add_argument("endpoint", choices=PATHS)
    parser.add_argument("--connections", type=_whole_number, default=os.environ.get("CONNECTIONS") or "100")
    parser.add_argument("--duration", type=_whole_number, default=os.environ.get("DURATION") or "10", metavar="SECONDS")
    return parser.parse_args()


def _whole_number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
