"""What Prometheus hears: of the stores, of each sale, of the worker, of what waits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from pymongo.errors import PyMongoError

from conftest import Publish, cookie_of, eventually, settings_of, shopper
from flashdrop import metrics
from flashdrop.redis_client import redis
from orders.reconciliation import Drift
from orders.telemetry import Telemetry
from orders.worker import Worker
from sales import catalogue, stock
from sales.gate import Levels, Wish
from sales.hub import hub
from sales.keys import WORKER_ALIVE, WORKER_HEARTBEAT
from sales.showing import Phase


def value(name: str, **labels: str) -> float:
    metrics.publish()
    return REGISTRY.get_sample_value(name, labels) or 0.0


def operations(store: str, operation: str, outcome: str) -> float:
    name = "flashdrop_store_operation_duration_seconds_count"
    return value(name, store=store, operation=operation, outcome=outcome)


async def scraped(client: httpx.AsyncClient) -> dict[str, float]:
    """`/metrics`, by the sample's whole name."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    pairs = (line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    return {name: float(figure) for name, figure in pairs}


def told(telemetry: Telemetry) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(telemetry)
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(figure) for name, figure in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


# Stores


async def test_each_operation_is_timed_under_its_name(publish: Publish) -> None:
    before = operations("redis", "levels", "ok"), operations("mongodb", "shelf", "ok")
    await stock.levels(redis(), [])
    await catalogue.every()
    assert operations("redis", "levels", "ok") > before[0]
    assert operations("mongodb", "shelf", "ok") > before[1]


async def test_an_operation_that_fails_or_is_given_up_is_an_error() -> None:
    @metrics.timed("mongodb")
    async def fails() -> None:
        raise PyMongoError("away")

    @metrics.timed("redis")
    async def hangs() -> None:
        await asyncio.sleep(60)

    with pytest.raises(PyMongoError):
        await fails()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await hangs()
    assert operations("mongodb", "fails", "error") == operations("redis", "hangs", "error") == 1
    assert operations("mongodb", "fails", "ok") == operations("redis", "hangs", "ok") == 0


async def test_an_order_is_timed_by_its_steps(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    name = "flashdrop_order_step_duration_seconds_count"
    before = value(name, step="reserve"), value(name, step="confirm")
    await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))
    assert (value(name, step="reserve"), value(name, step="confirm")) == (before[0] + 1, before[1] + 1)


# What a web process shows


async def test_the_sales_on_show_are_told(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(stock=7)
    await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))

    async def shown() -> dict[str, float]:
        found = await scraped(client)
        return found if found.get(f'flashdrop_sale_available_units{{sku="{sale.sku}"}}') == 6 else {}

    found = await eventually(shown)
    assert found[f'flashdrop_sale_stock_units{{sku="{sale.sku}"}}'] == 7
    assert found[f'flashdrop_sale_opens_timestamp_seconds{{sku="{sale.sku}"}}'] == sale.opens_at.timestamp()
    assert found[f'flashdrop_sale_closes_timestamp_seconds{{sku="{sale.sku}"}}'] == sale.closes_at.timestamp()
    phases = {
        name: figure for name, figure in found.items() if name.startswith("flashdrop_sale_phase{") and sale.sku in name
    }
    assert len(phases) == len(Phase) and sum(phases.values()) == 1
    assert any('phase="active"' in name and figure == 1 for name, figure in phases.items())


async def test_a_process_tells_what_it_is_and_what_waits(client: httpx.AsyncClient, publish: Publish) -> None:
    await publish()
    found = await scraped(client)
    for batch in ("reserve", "confirm", "forget", "gate_questions", "ledger_questions"):
        assert found[f'flashdrop_queue_depth{{batch="{batch}"}}'] == 0
    assert found['flashdrop_store_up{store="redis"}'] == found['flashdrop_store_up{store="mongodb"}'] == 1
    assert 0 <= found["flashdrop_board_age_seconds"] < 5
    assert found["flashdrop_websockets_open"] == hub().count()


async def test_a_loop_tells_how_late_it_is_and_what_it_takes() -> None:
    metrics.publisher()
    before = value("flashdrop_event_loop_lag_seconds_count")
    await asyncio.sleep(3 * metrics.PUBLISH_SECONDS)
    assert value("flashdrop_event_loop_lag_seconds_count") > before
    assert value("flashdrop_process_resident_memory_bytes") > 10_000_000
    assert value("flashdrop_processes") == 1


# What a worker has seen


def levels_of(issued: int) -> Levels:
    return Levels(True, 1, 1, 10, issued, "run")


async def test_a_worker_tells_what_it_has_seen_of_a_sale(publish: Publish) -> None:
    sale = await publish(stock=5)
    telemetry, now = Telemetry(), datetime.now(UTC)
    telemetry.saw(sale, levels_of(3), 2, now - timedelta(seconds=4), now)
    telemetry.measured(sale, Drift(1, 2, 3))
    found = told(telemetry)
    label = f'{{sku="{sale.sku}"}}'
    assert found[f"flashdrop_sale_issued_units{label}"] == 3
    assert found[f"flashdrop_sale_pending_orders{label}"] == 2
    assert found[f"flashdrop_sale_oldest_pending_seconds{label}"] == pytest.approx(4)
    assert found[f"flashdrop_sale_forgotten_units{label}"] == 1
    assert found[f"flashdrop_sale_stranded_units{label}"] == 2
    assert found[f"flashdrop_sale_confirmed_units{label}"] == 3
    assert found["flashdrop_worker_last_round_timestamp_seconds"] == 0, "no round has ended yet"
    telemetry.ended_round([])
    assert not [name for name in told(telemetry) if sale.sku in name], "a sale that is gone is told no longer"


async def test_a_count_that_was_not_made_is_not_told(publish: Publish) -> None:
    sale = await publish()
    telemetry = Telemetry()
    telemetry.measured(sale, Drift(0, 0, 1))  # of a sale that no round has seen
    telemetry.saw(sale, levels_of(0), 0, None, datetime.now(UTC))
    names = {name for name in told(telemetry) if sale.sku in name}
    assert not any("confirmed" in name for name in names) and any("issued" in name for name in names)


async def test_a_round_of_a_worker_fills_it(publish: Publish) -> None:
    sale = await publish(settings_of(stock=4))
    wish = Wish("ab" * 12, shopper().id, 1, False, "{}")
    await stock.reserve(redis(), sale.id, sale.epoch, [wish])
    worker = Worker()
    await worker.round()
    found = told(worker.telemetry)
    assert found[f'flashdrop_sale_pending_orders{{sku="{sale.sku}"}}'] == 1
    assert found[f'flashdrop_sale_issued_units{{sku="{sale.sku}"}}'] == 1
    assert 0 <= found[f'flashdrop_sale_oldest_pending_seconds{{sku="{sale.sku}"}}'] < 60
    assert found[f'flashdrop_sale_confirmed_units{{sku="{sale.sku}"}}'] == 0
    assert found["flashdrop_worker_last_round_timestamp_seconds"] > datetime.now(UTC).timestamp() - 30


# Readiness


async def test_a_missing_worker_is_a_warning_not_a_reason(client: httpx.AsyncClient, publish: Publish) -> None:
    await publish()
    for key in (WORKER_HEARTBEAT, WORKER_ALIVE):
        await redis().delete(key)
    answer: Any = await client.get("/readyz")
    assert "no worker is running" in answer.json()["warnings"][0]
    await redis().set(WORKER_ALIVE, 1, ex=10)
    answer = await client.get("/readyz")
    assert "complete no round" in answer.json()["warnings"][0]
    assert not any("worker" in reason for reason in answer.json()["reasons"])
    await redis().set(WORKER_HEARTBEAT, 1, ex=10)
    assert (await client.get("/readyz")).json()["warnings"] == []


def test_labels_come_from_closed_sets(publish: Publish) -> None:
    """No label of a shopper, an order or an address: Prometheus keeps every combination for ever."""
    names = {name for family in REGISTRY.collect() for sample in family.samples for name in sample.labels}
    assert not {"shopper", "shopper_id", "order", "order_id", "path", "url", "user"} & names
    told_by_sku = {family.name for family in REGISTRY.collect() for sample in family.samples if "sku" in sample.labels}
    # The rest is told at the scrape, so that sales that are gone are forgotten; drift is rare, and must not be.
    assert told_by_sku <= {"flashdrop_sale_drift"}
