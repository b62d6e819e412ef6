"""`python -m flashdrop.bench.noting`: what metrics and log lines cost, as a share of what they tell of.

The noting of one answer and of one order is timed alone, in this process; what a status answer and an order cost is the
processor time of a real shop's web processes under wrk, in the same run.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Callable
from statistics import median

from flashdrop.bench.shop import Shop
from flashdrop.bench.wrk import run_wrk
from flashdrop.stress.target import FreshShop, fresh_shop

RUNS = 5
TIMES = 50_000
SECONDS = 4
CONNECTIONS = 100
PLENTY = 1_000_000
SHOPPERS = 60_000
MOST_SHARE = 0.03


def main() -> int:
    with fresh_shop() as shop:
        answer_us, order_us = _costs(shop)
        noting = {
            "a status answer: its metrics": (_microseconds(_note_answer), answer_us),
            "an order: its metrics": (_microseconds(_note_order), order_us),
            "an order: its log line, most of them left out of a stampede": (_microseconds(_logging()), order_us),
        }
    print(f"a status answer costs {answer_us:.1f} us of a web process, an order {order_us:.1f} us")
    for name, (cost, of) in noting.items():
        print(f"  {cost:6.2f} us  {cost / of:6.1%}  {name}")
    metrics_only = [cost / of for name, (cost, of) in noting.items() if "metrics" in name]
    print(f"metrics: at most {max(metrics_only):.1%}; asked for is at most {MOST_SHARE:.0%}")
    return 1 if max(metrics_only) > MOST_SHARE else 0


def _costs(fresh: FreshShop) -> tuple[float, float]:
    """Processor time of the web processes for one status answer and for one order, in microseconds."""
    cookies = fresh.offer("noting", PLENTY, SHOPPERS)
    status = f"{fresh.url}/api/products/noting/sale-status"
    answer = _web_us(fresh.shop, lambda: run_wrk(status, CONNECTIONS, SECONDS).requests)
    buy = (str(cookies), "/api/orders", "application/json", '{"sku":"noting"}')
    order = _web_us(fresh.shop, lambda: run_wrk(fresh.url, CONNECTIONS, SECONDS, buy=buy).requests)
    return answer, order


def _web_us(shop: Shop, load: Callable[[], int]) -> float:
    before = shop.cpu_seconds()["web"]
    requests = load()
    return (shop.cpu_seconds()["web"] - before) / requests * 1e6


def _note_answer() -> None:
    from flashdrop import metrics

    for _ in range(TIMES):
        metrics.observe_request("api/products/<sku>/sale-status", "GET", 200, 0.0001)
    metrics.publish()


def _note_order() -> None:
    from flashdrop import metrics
    from sales import tally

    for _ in range(TIMES):
        tally.told("noting", "completed")
        metrics.observe_request("api/orders", "POST", 201, 0.01)
        metrics.count_order("completed")
        metrics.observe_step("reserve", 0.005)
        metrics.observe_step("confirm", 0.005)
    metrics.publish()


def _logging() -> Callable[[], None]:
    from flashdrop.logs import Allowance, Flood, JSONFormatter, Request

    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(JSONFormatter())
    handler.addFilter(Flood())
    handler.addFilter(Request())
    log = logging.getLogger("noting")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    allowance = Allowance()

    def work() -> None:
        for _ in range(TIMES):
            if allowance.take() is None:
                continue
            details = {"sku": "noting", "order_id": "0" * 24, "shopper_id": "0" * 24, "is_new": True}
            log.info("order %s", "completed", extra=details)

    return work


def _microseconds(work: Callable[[], None]) -> float:
    """For one of `TIMES`; the median of `RUNS`."""
    found = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        found.append((time.perf_counter() - started) / TIMES * 1e6)
    return median(found)


if __name__ == "__main__":
    sys.exit(main())
