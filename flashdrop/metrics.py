"""Metrics of the fast path, recorded with `prometheus_client` directly (no thread hops)."""

from __future__ import annotations

from functools import cache
from typing import Any

from prometheus_client import Counter, Histogram

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


@cache
def _request_counter(route: str, method: str, status: int) -> Any:
    return REQUESTS.labels(route, method, str(status))


@cache
def _request_timer(route: str) -> Any:
    return REQUEST_SECONDS.labels(route)


@cache
def order_counter(outcome: str) -> Any:
    """The counter child of one outcome, looked up once."""
    return ORDERS.labels(outcome)


def observe_request(route: str, method: str, status: int, seconds: float) -> None:
    """Record one answer. Labels come from closed sets: routes of the URLconf, known methods, HTTP statuses."""
    _request_counter(route, method if method in METHODS else "other", status).inc()
    _request_timer(route).observe(seconds)
