"""What is noted with every request arrives at Prometheus: all of it, once."""

from __future__ import annotations

import asyncio
import random
import secrets
import threading

import httpx
import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from flashdrop import loops, metrics
from flashdrop.metrics import LATENCY_BUCKETS, count_order, observe_request, publish

ODD_SECONDS = [0.0, 1e-9, 5.0, 5.000001, 1e9, *LATENCY_BUCKETS, *(bound + 1e-9 for bound in LATENCY_BUCKETS)]


@pytest.fixture
def route() -> str:
    """One that nobody has asked for."""
    return f"tests/{secrets.token_hex(6)}"


@pytest.fixture(autouse=True)
def nothing_noted() -> None:
    publish()


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def requests(route: str, method: str = "GET", status: str = "200") -> float:
    return value("flashdrop_http_requests_total", route=route, method=method, status=status)


def timed(route: str) -> dict[str, float]:
    """The samples of the route's histogram."""
    return samples(REGISTRY, "flashdrop_http_request_duration_seconds", route)


def samples(registry: CollectorRegistry, name: str, route: str) -> dict[str, float]:
    return {
        sample.labels.get("le", sample.name.rpartition("_")[2]): sample.value
        for family in registry.collect()
        if family.name == name
        for sample in family.samples
        if sample.labels.get("route") == route and not sample.name.endswith("_created")
    }


def test_nothing_is_told_before_it_is_published(route: str) -> None:
    observe_request(route, "GET", 200, 0.001)
    assert requests(route) == 0
    publish()
    assert requests(route) == 1


def test_every_answer_is_counted_under_its_labels(route: str) -> None:
    for method, status, times in (("GET", 200, 3), ("GET", 404, 1), ("POST", 200, 2)):
        for _ in range(times):
            observe_request(route, method, status, 0.001)
    publish()
    assert (requests(route), requests(route, status="404"), requests(route, "POST")) == (3, 1, 2)


def test_publishing_again_adds_nothing(route: str) -> None:
    observe_request(route, "GET", 200, 0.001)
    publish()
    before = timed(route)
    for _ in range(3):
        publish()
    assert requests(route) == 1
    assert timed(route) == before


def test_what_comes_later_is_added(route: str) -> None:
    for _ in range(3):
        observe_request(route, "GET", 200, 0.001)
        publish()
    assert requests(route) == timed(route)["count"] == 3


def test_a_duration_falls_where_prometheus_would_have_put_it(route: str) -> None:
    """All of them: in each bucket, in the count and in the sum."""
    seconds = ODD_SECONDS + [random.Random(7).expovariate(20) for _ in range(1000)]
    registry = CollectorRegistry()
    plain = Histogram("plain", "By Prometheus' own way.", ["route"], buckets=LATENCY_BUCKETS, registry=registry)
    for number, one in enumerate(seconds):
        plain.labels(route).observe(one)
        observe_request(route, "GET", 200, one)
        if number % 100 == 0:
            publish()
    publish()
    expected, found = samples(registry, "plain", route), timed(route)
    assert found.pop("sum") == pytest.approx(expected.pop("sum"))
    assert found == expected
    assert found["+Inf"] == found["count"] == len(seconds)


def test_a_method_that_nobody_knows_makes_no_label_of_its_own(route: str) -> None:
    for method in ("BREW", "PROPFIND", "get"):
        observe_request(route, method, 405, 0.001)
    publish()
    assert requests(route, "other", "405") == 3
    assert requests(route, "BREW", "405") == 0


def test_a_try_to_buy_is_counted_by_its_outcome() -> None:
    before = value("flashdrop_orders_total", outcome="completed")
    count_order("completed")
    count_order("completed")
    publish()
    assert value("flashdrop_orders_total", outcome="completed") == before + 2


async def test_metrics_tell_what_was_noted_just_now(client: httpx.AsyncClient, route: str) -> None:
    observe_request(route, "GET", 200, 0.001)
    answer = await client.get("/metrics")
    found = [
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == "flashdrop_http_requests_total" and sample.labels["route"] == route
    ]
    assert found == [1.0]


async def test_metrics_are_published_by_the_thread_that_notes(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one would lose what is noted meanwhile, and count twice what the publisher counts too."""
    threads = []
    monkeypatch.setattr(metrics, "publish", lambda: threads.append(threading.get_ident()))
    assert (await client.get("/metrics")).status_code == 200
    assert set(threads) == {threading.get_ident()}


def test_the_publisher_publishes_by_itself_and_once_more_at_the_end(
    route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "PUBLISH_SECONDS", 0.02)

    async def work() -> float:
        metrics.publisher()
        observe_request(route, "GET", 200, 0.001)
        await asyncio.sleep(0.1)
        by_itself = requests(route)
        observe_request(route, "GET", 200, 0.001)
        return by_itself

    assert loops.run(work) == 1
    assert requests(route) == 2
