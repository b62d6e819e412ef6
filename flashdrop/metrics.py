"""Metrics of the fast path, recorded with `prometheus_client` directly (no thread hops).

What is counted with every request is noted in plain dictionaries and handed to Prometheus a few times a second: with
several processes each of its counters is a locked write into a file. `docs/reference/metrics.md` says what each means.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from functools import cache, wraps
from importlib.metadata import version
from operator import add
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

from prometheus_client import Counter, Gauge, Histogram

from flashdrop import __version__
from flashdrop.loops import PerLoop
from flashdrop.supervised import Loop

PUBLISH_SECONDS = 0.25
# A store that takes longer is worth a line in the log.
SLOW_SECONDS = 1.0
log = logging.getLogger(__name__)

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
REBUILD_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

REQUESTS = Counter(
    "flashdrop_http_requests_total", "Requests answered by the lean door.", ["route", "method", "status"]
)
REQUEST_SECONDS = Histogram(
    "flashdrop_http_request_duration_seconds", "Time to answer, lean door.", ["route"], buckets=LATENCY_BUCKETS
)
ORDERS = Counter("flashdrop_orders_total", "Answers to a try to buy, by outcome.", ["outcome"])
ORDER_STEP_SECONDS = Histogram(
    "flashdrop_order_step_duration_seconds",
    "From handing an order over to its reservation or confirmation, waiting for a batch included.",
    ["step"],
    buckets=LATENCY_BUCKETS,
)
BATCH_SIZE = Histogram(
    "flashdrop_batch_size", "Items that travelled together in one round trip.", ["batch"], buckets=BATCH_BUCKETS
)
QUEUE_DEPTH = Gauge("flashdrop_queue_depth", "Items that wait for a batch now.", ["batch"], multiprocess_mode="livesum")
STORE_SECONDS = Histogram(
    "flashdrop_store_operation_duration_seconds",
    "One operation of a store, by its name and how it ended.",
    ["store", "operation", "outcome"],
    buckets=LATENCY_BUCKETS,
)
STORE_UP = Gauge(
    "flashdrop_store_up",
    "Whether a store answers the board, and Redis takes its writes.",
    ["store"],
    multiprocess_mode="livemin",
)
LEDGER_SOUND = Gauge(
    "flashdrop_ledger_sound",
    "Whether the ledger has what it must have: its unique indexes, and every sale that was published.",
    ["check"],
    multiprocess_mode="livemin",
)
SOCKETS = Counter("flashdrop_websockets_total", "Websockets, by what became of them.", ["event"])
SOCKETS_OPEN = Gauge("flashdrop_websockets_open", "Websockets that are open now.", multiprocess_mode="livesum")
MESSAGES = Counter("flashdrop_websocket_messages_total", "Banners offered to websockets.")
RATE_LIMITED = Counter("flashdrop_rate_limited_total", "Requests refused by the rate limiter.", ["scope"])
BOARD_AGE = Gauge(
    "flashdrop_board_age_seconds", "Since the gate last answered the board; the oldest.", multiprocess_mode="livemax"
)
LOOP_LAG = Histogram(
    "flashdrop_event_loop_lag_seconds",
    "How late the event loop wakes a task that asked for a quarter of a second.",
    buckets=LATENCY_BUCKETS,
)
PROCESSES = Gauge("flashdrop_processes", "Processes that are running.", multiprocess_mode="livesum")
MEMORY = Gauge(
    "flashdrop_process_resident_memory_bytes", "Resident memory, all processes.", multiprocess_mode="livesum"
)
STARTED = Gauge("flashdrop_process_start_time_seconds", "When the oldest process started.", multiprocess_mode="livemin")
BUILD = Gauge("flashdrop_build_info", "1, by version.", ["version", "python", "django"], multiprocess_mode="livemax")

REBUILDS = Counter("flashdrop_rebuilds_total", "Rebuilds of a sale's gate, by how they ended.", ["outcome"])
REBUILD_SECONDS = Histogram("flashdrop_rebuild_duration_seconds", "One rebuild.", buckets=REBUILD_BUCKETS)
DRIFT = Counter(
    "flashdrop_sale_drift_total",
    "Times that gate and ledger were certain to disagree; each asks for a rebuild.",
    ["sku", "kind"],
)


def start_at_zero(metric: Counter | Histogram, values: Iterable[str]) -> None:
    """Show a metric's labels before anything was counted.

    Prometheus sees no rise where nothing was before, and an opening is over between two of its looks.
    """
    for value in values:
        metric.labels(value)


start_at_zero(ORDER_STEP_SECONDS, ("reserve", "confirm"))
start_at_zero(BATCH_SIZE, ("reserve", "confirm"))
start_at_zero(SOCKETS, ("opened", "dropped_slow", "refused_full", "refused_address"))
start_at_zero(RATE_LIMITED, ("address", "session"))
start_at_zero(REBUILDS, ("in_force", "superseded", "failed"))

P = ParamSpec("P")
T = TypeVar("T")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_counts: defaultdict[Any, int] = defaultdict(int)
# For each histogram: how many fell into each bucket, and last their sum. For each route, method and status the same.
_durations: defaultdict[Any, list[float]] = defaultdict(lambda: [0.0] * (len(LATENCY_BUCKETS) + 2))
_answers: defaultdict[tuple[str, str, int], list[float]] = defaultdict(_durations.default_factory)


def observe_request(route: str, method: str, status: int, seconds: float) -> None:
    """Note one answer. Labels come from closed sets: routes of the URLconf, known methods, HTTP statuses."""
    # One look-up for both metrics: this is a thirtieth of what the quickest answer costs.
    noted = _answers[route, method, status]
    noted[bisect_left(LATENCY_BUCKETS, seconds)] += 1
    noted[-1] += seconds


def count_order(outcome: str) -> None:
    """Note the outcome of one try to buy."""
    _counts[_order_counter(outcome)] += 1


def count_messages(count: int) -> None:
    """Note banners offered to websockets."""
    _counts[MESSAGES] += count


def observe_step(step: str, seconds: float) -> None:
    """Note one order's `reserve` or `confirm`."""
    _observe(_step_timer(step), seconds)


def observe_store(store: str, operation: str, outcome: str, seconds: float) -> None:
    """Note one operation: of `redis` or `mongodb`, under a name from the code, `ok` or `error`."""
    _observe(_store_timer(store, operation, outcome), seconds)


def timed(store: str) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """For a function that asks `store` something: notes each call under the function's name.

    A call that was given up counts as an error, like one that failed.
    """

    def decorate(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        operation = function.__name__

        @wraps(function)
        async def asked(*args: P.args, **kwargs: P.kwargs) -> T:
            started = perf_counter()
            outcome = "error"
            try:
                result = await function(*args, **kwargs)
                outcome = "ok"
                return result
            finally:
                seconds = perf_counter() - started
                observe_store(store, operation, outcome, seconds)
                if seconds > SLOW_SECONDS:
                    log.warning("slow store", extra={"store": store, "operation": operation, "seconds": seconds})

        return asked

    return decorate


def _observe(histogram: Any, seconds: float) -> None:
    noted = _durations[histogram]
    noted[bisect_left(LATENCY_BUCKETS, seconds)] += 1
    noted[-1] += seconds


def publish() -> None:
    """Hand what was noted to Prometheus. To be called where it is noted, on the event loop's thread."""
    # Taken out one by one: what can't be handed over is lost, and nothing is counted twice.
    while _answers:
        (route, method, status), answers = _answers.popitem()
        _counts[_request_counter(route, method, status)] += int(sum(answers[:-1]))
        durations = _durations[_request_timer(route)]
        durations[:] = map(add, durations, answers)
    while _counts:
        counter, count = _counts.popitem()
        counter.inc(count)
    while _durations:
        histogram, noted = _durations.popitem()
        # prometheus_client observes one value at a time; these are the two fields that its `observe` raises.
        *in_buckets, total = noted
        for bucket, observed in zip(histogram._buckets, in_buckets, strict=True):
            if observed:
                bucket.inc(observed)
        histogram._sum.inc(total)


def resident_bytes() -> int:
    """Memory of this process that is in RAM (Linux; 0 elsewhere)."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # four times a second
            return int(file.read().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


class Publisher:
    """Publishes regularly, and once more at the end; tells how late it was woken, and what this process is."""

    def __init__(self) -> None:
        BUILD.labels(__version__, platform.python_version(), version("Django")).set(1)
        PROCESSES.set(1)
        STARTED.set(time.time())
        self._loop = Loop("metrics", self._round)

    async def stop(self) -> None:
        await self._loop.stop()
        publish()

    async def _round(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + PUBLISH_SECONDS
        await asyncio.sleep(PUBLISH_SECONDS)
        _observe(LOOP_LAG, max(0.0, loop.time() - due))
        MEMORY.set(resident_bytes())
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


@cache
def _step_timer(step: str) -> Any:
    return ORDER_STEP_SECONDS.labels(step)


@cache
def _store_timer(store: str, operation: str, outcome: str) -> Any:
    return STORE_SECONDS.labels(store, operation, outcome)
