"""Metrics of the fast path, recorded with `prometheus_client` directly (no thread hops).

What is counted with every request is noted in plain dictionaries and handed to Prometheus a few times a second: with
several processes each of its counters is a locked write into a file.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_left
from collections import defaultdict
from functools import cache
from typing import Any

from prometheus_client import Counter, Histogram

from flashdrop.loops import PerLoop

PUBLISH_SECONDS = 0.25

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

REQUESTS = Counter(
    "flashdrop_http_requests_total", "Requests answered by the lean door.", ["route", "method", "status"]
)
REQUEST_SECONDS = Histogram(
    "flashdrop_http_request_duration_seconds", "Time to answer, lean door.", ["route"], buckets=LATENCY_BUCKETS
)
ORDERS = Counter("flashdrop_orders_total", "Answers to a try to buy, by outcome.", ["outcome"])
BATCH_SIZE = Histogram(
    "flashdrop_batch_size", "Items that travelled together in one round trip.", ["batch"], buckets=BATCH_BUCKETS
)
STORE_SECONDS = Histogram(
    "flashdrop_store_duration_seconds", "One batched round trip to a store.", ["operation"], buckets=LATENCY_BUCKETS
)
SOCKETS = Counter("flashdrop_websockets_total", "Websockets, by what became of them.", ["event"])
RATE_LIMITED = Counter("flashdrop_rate_limited_total", "Requests refused by the rate limiter.", ["scope"])

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


_counts: defaultdict[Any, int] = defaultdict(int)
# For each histogram: how many fell into each bucket, and last their sum.
_durations: defaultdict[Any, list[float]] = defaultdict(lambda: [0.0] * (len(LATENCY_BUCKETS) + 2))


def observe_request(route: str, method: str, status: int, seconds: float) -> None:
    """Note one answer. Labels come from closed sets: routes of the URLconf, known methods, HTTP statuses."""
    _counts[_request_counter(route, method, status)] += 1
    noted = _durations[_request_timer(route)]
    noted[bisect_left(LATENCY_BUCKETS, seconds)] += 1
    noted[-1] += seconds


def count_order(outcome: str) -> None:
    """Note the outcome of one try to buy."""
    _counts[_order_counter(outcome)] += 1


def publish() -> None:
    """Hand what was noted to Prometheus. To be called where it is noted, on the event loop's thread."""
    for counter, count in _counts.items():
        counter.inc(count)
    _counts.clear()
    for histogram, noted in _durations.items():
        # prometheus_client observes one value at a time; these are the two fields that its `observe` raises.
        *in_buckets, total = noted
        for bucket, observed in zip(histogram._buckets, in_buckets, strict=True):
            if observed:
                bucket.inc(observed)
        histogram._sum.inc(total)
    _durations.clear()


class Publisher:
    """Publishes regularly, and once more at the end."""

    def __init__(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        publish()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PUBLISH_SECONDS)
            publish()


publisher: PerLoop[Publisher] = PerLoop(Publisher, Publisher.stop)


@cache
def _request_counter(route: str, method: str, status: int) -> Any:
    return REQUESTS.labels(route, method if method in METHODS else "other", str(status))


@cache
def _request_timer(route: str) -> Any:
    return REQUEST_SECONDS.labels(route)


@cache
def _order_counter(outcome: str) -> Any:
    return ORDERS.labels(outcome)
