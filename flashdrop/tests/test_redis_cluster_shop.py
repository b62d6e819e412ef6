"""A real shop over a real Redis Cluster: all that is not one sale's works there too; one with a hole is survived."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import BASE_DIR, Processes, client_of, cookie_of, eventually, fetch, settings_of, shopper
from flashdrop.embedded.process import free_port
from flashdrop.faults.processes import Process
from flashdrop.faults.redis_cluster import PRIMARIES, RedisCluster, ask, slot_of
from flashdrop.redis_client import Gate, new_redis
from sales import catalogue, register, stock
from sales.gate import Brake
from sales.keys import ENDED_SESSIONS, WORKER_ALIVE, WORKER_HEARTBEAT, probe_key, sale_keys, told_in_all_key
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


@asynccontextmanager
async def gate_of(nodes: RedisCluster) -> AsyncIterator[Gate]:
    client = new_redis(nodes.url)
    try:
        yield client
    finally:
        await client.aclose()


async def published(nodes: RedisCluster) -> PublishedSale:
    sale = await catalogue.save(settings_of(stock=100))
    async with gate_of(nodes) as client:
        await stock.publish(client, sale, create=True)
    return sale


async def on_every_node(nodes: RedisCluster) -> dict[int, PublishedSale]:
    """A published sale on each primary, by the primary's port."""
    found: dict[int, PublishedSale] = {}
    while len(found) < PRIMARIES:
        settings = settings_of(stock=100)
        owner = await nodes.owner(slot_of(sale_keys(settings.id)))
        if owner.port not in found:
            sale = found[owner.port] = await catalogue.save(settings)
            async with gate_of(nodes) as client:
                await stock.publish(client, sale, create=True)
    return found


async def manage(nodes: RedisCluster, *command: str) -> str:
    """What a command says over this Cluster, once it has succeeded."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(BASE_DIR / "manage.py"), *command],
        env=os.environ | {"REDIS_URL": nodes.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def bought(url: str, sale: PublishedSale) -> int:
    order = {"sku": sale.sku, "quantity": 1, "price": sale.price_minor}
    try:
        async with client_of(url) as client:
            return (await client.post("/api/orders", json=order, headers=cookie_of(shopper()))).status_code
    except httpx.TransportError:
        return 0


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
        await bought(url, sale)  # how many were written down before the hole is not known
        return int((await ask(owner, "HGET", told_in_all_key(sale.id), "completed")) or 0) > told_before + 1

    await eventually(is_counted)

    async def is_well() -> bool:
        found = fetch(f"{url}/readyz").json()
        return bool(found["status"] == "ready" and not found["warnings"])

    await eventually(is_well)


@pytest.mark.heavy
async def test_what_belongs_to_no_sale_and_the_emergency_stop_work_over_a_cluster(
    nodes: RedisCluster, migrated: None, static_files: None, ledger_indexes: None, processes: Processes
) -> None:
    sales, port = await on_every_node(nodes), free_port()
    url = f"http://127.0.0.1:{port}"
    processes.start("serve", "--port", str(port), "--workers", "1", REDIS_URL=nodes.url)
    processes.start("run_worker", REDIS_URL=nodes.url)

    async def all_answer(status: int) -> bool:
        return {await bought(url, sale) for sale in sales.values()} == {status}

    await eventually(lambda: all_answer(201), 30)

    async def owner_of(key: str) -> Process:
        return await nodes.owner(slot_of([key]))

    async def is_well() -> bool:
        found = fetch(f"{url}/readyz").json()
        return bool(found["status"] == "ready" and not found["warnings"])

    await eventually(is_well)
    for key in (WORKER_ALIVE, WORKER_HEARTBEAT):
        assert await ask(await owner_of(key), "EXISTS", key) == 1

    async with gate_of(nodes) as client:
        ids = {sale.id: sale.sku for sale in sales.values()}
        await eventually(lambda: entered(client, ids))

    # A session that is signed out is over for whoever kept its cookie.
    someone = cookie_of(shopper())
    async with client_of(url) as client_:
        assert (await client_.get("/api/orders", headers=someone)).status_code == 200
        assert (await client_.post("/api/auth/logout", headers=someone)).status_code == 200
        assert (await client_.get("/api/orders", headers=someone)).status_code == 401
    assert await ask(await owner_of(ENDED_SESSIONS), "XLEN", ENDED_SESSIONS) == 1

    # One node that takes no writes is noticed, whichever it is; the others are asked, too.
    for node in nodes.nodes:
        if node.port in sales:
            assert await ask(node, "KEYS", probe_key("*"))  # of one of its sales, whichever
            await ask(node, "CONFIG", "SET", "maxmemory", 1)

            async def is_told() -> bool:
                found = fetch(f"{url}/readyz")
                return found.status_code == 503 and "Redis refuses writes" in found.text

            await eventually(is_told)
            assert await all_answer(503)
            await ask(node, "CONFIG", "SET", "maxmemory", 0)
            await eventually(lambda: all_answer(201))

    first, *others = sales.values()
    assert f"{first.sku}: stopped" in await manage(nodes, "pause_sale", first.sku)

    async def is_refused() -> bool:
        """Each web process hears of both by itself: that writes are taken again, and that the sale is stopped."""
        return await bought(url, first) == 423

    await eventually(is_refused)
    assert {await bought(url, sale) for sale in others} == {201}
    told = await manage(nodes, "pause_sale", "--all")
    assert all(f"{sale.sku}: stopped" in told for sale in others)
    assert await all_answer(423)

    # A node that has lost it is told again, by those who have seen it.
    key = sale_keys(first.id).sale
    pulled = Brake.parse(await ask(await owner_of(key), "HGET", key, "brake"))
    await ask(await owner_of(key), "HDEL", key, "brake")

    async def is_back() -> bool:
        found = await ask(await owner_of(key), "HGET", key, "brake")
        return bool(found and Brake.parse(found) == pulled)

    await eventually(is_back)

    # And let go by settings that know of it.
    known = await catalogue.save(settings_of(id=first.id, sku=first.sku, stock=100), knows_brake=pulled.name)
    async with gate_of(nodes) as client:
        await stock.publish(client, known, create=False)
    await eventually(lambda: sells_again(url, first))
    assert {await bought(url, sale) for sale in others} == {423}


async def entered(client: Gate, ids: dict[str, str]) -> bool:
    """Whether the register has them."""
    return ids.items() <= (await register.sales(client)).items()


async def sells_again(url: str, sale: PublishedSale) -> bool:
    return await bought(url, sale) == 201
