"""A real shop over a real Redis Cluster that has a hole: everything is answered, nothing dies of it, all comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Processes, client_of, cookie_of, eventually, fetch, settings_of, shopper
from flashdrop.embedded.process import free_port
from flashdrop.faults.redis_cluster import RedisCluster, ask, slot_of
from flashdrop.redis_client import new_redis
from sales import catalogue, stock
from sales.keys import sale_keys, told_in_all_key
from sales.published import PublishedSale


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[RedisCluster]:
    cluster = RedisCluster(tmp_path)
    try:
        await cluster.start()
        yield cluster
    finally:
        for node in cluster.nodes:
            node.kill()


async def published(nodes: RedisCluster) -> PublishedSale:
    sale = await catalogue.save(settings_of(stock=100))
    client = new_redis(nodes.url)
    try:
        await stock.publish(client, sale, create=True)
    finally:
        await client.aclose()
    return sale


@pytest.mark.heavy
async def test_a_hole_in_the_cluster_is_answered_and_survived(
    nodes: RedisCluster, migrated: None, static_files: None, ledger_indexes: None, processes: Processes
) -> None:
    sale, port = await published(nodes), free_port()
    url = f"http://127.0.0.1:{port}"
    processes.start("serve", "--port", str(port), "--workers", "1", REDIS_URL=nodes.url)
    processes.start("run_worker", REDIS_URL=nodes.url)
    someone = cookie_of(shopper())

    async def asked() -> dict[str, int]:
        async with client_of(url) as client:
            answers = {
                path: (await client.get(path, headers=someone)).status_code
                for path in ("/", "/orders/", "/api/orders", f"/sales/{sale.sku}/", f"/sales/{sale.sku}/me", "/metrics")
            }
            order: dict[str, Any] = {"sku": sale.sku, "quantity": 1, "price": sale.price_minor}
            bought = await client.post("/api/orders", json=order, headers=cookie_of(shopper()))
            return answers | {"buy": bought.status_code}

    async def sells() -> bool:
        try:
            return (await asked())["buy"] == 201
        except httpx.TransportError:
            return False

    await eventually(sells, 30)
    slot = slot_of(sale_keys(sale.id))
    owner = await nodes.owner(slot)
    told_before = int((await ask(owner, "HGET", told_in_all_key(sale.id), "completed")) or 0)
    await nodes.everywhere("CLUSTER", "DELSLOTSRANGE", slot, slot)

    async def is_closed() -> bool:
        return (await asked())["buy"] == 503

    await eventually(is_closed)
    for _ in range(20):
        answers = await asked()
        assert 500 not in answers.values(), answers
        assert (answers["/api/orders"], answers[f"/sales/{sale.sku}/me"]) == (503, 503), answers
        assert (answers["/"], answers[f"/sales/{sale.sku}/"], answers["/metrics"]) == (200, 200, 200)

    await ask(owner, "CLUSTER", "ADDSLOTSRANGE", slot, slot)
    await eventually(sells, 30)

    async def is_counted() -> bool:
        """The loop that writes down what shoppers were told has survived."""
        return int((await ask(owner, "HGET", told_in_all_key(sale.id), "completed")) or 0) > told_before + 1

    await eventually(is_counted)

    async def is_well() -> bool:
        found = fetch(f"{url}/readyz").json()
        return bool(found["status"] == "ready" and not found["warnings"])

    await eventually(is_well)
