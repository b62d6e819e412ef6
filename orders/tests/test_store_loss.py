"""A ledger that has lost something, and a gate that takes no writes: the shop closes, says so, and sells nothing anew.

Over stores of its own: what is lost here must be missed by nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from conftest import MONGO_PORT, Processes, client_of, cookie_of, eventually, settings_of, shopper
from flashdrop import loops, mongo_client, redis_client
from flashdrop.config import config
from flashdrop.embedded.process import Server, free_port
from flashdrop.embedded.redis_server import start_redis
from flashdrop.mongo_client import collection
from flashdrop.redis_client import RedisError
from orders.audit import audit
from orders.documents import INDEXES
from orders.indexes import ensure_indexes, prepare, unguarded
from orders.rebuild import RebuildImpossible, rebuild
from orders.repair import repair
from orders.worker import Worker
from sales import catalogue, publishing, register
from sales.board import Board
from sales.catalogue import Vanished
from sales.doubts import Doubt
from sales.hub import Viewer, hub
from sales.keys import WORKER_ALIVE, WORKER_HEARTBEAT
from sales.published import PublishedSale
from sales.showing import Phase

DATABASE = "flashdrop-store-loss"


@dataclass
class Place:
    """A shop of its own: `url` once it was started."""

    environment: dict[str, str]
    gate: Server
    url: str = ""


@pytest.fixture(scope="module")
def place(stores: Any, migrated: None, static_files: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("store-loss")
    gate, redis_url = start_redis(folder / "redis", free_port())
    mongodb_url = f"mongodb://127.0.0.1:{MONGO_PORT}/{DATABASE}?replicaSet=rs0"
    try:
        yield Place({"REDIS_URL": redis_url, "MONGODB_URL": mongodb_url}, gate)
    finally:
        gate.stop()


@pytest.fixture(autouse=True)
async def empty(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Both stores, and this process over them; each test begins in a new ledger."""
    from dataclasses import replace

    mine = replace(config, redis_url=place.environment["REDIS_URL"], mongodb_url=place.environment["MONGODB_URL"])
    monkeypatch.setattr(redis_client, "config", mine)
    monkeypatch.setattr(mongo_client, "config", mine)
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient("127.0.0.1", MONGO_PORT)
    gate = Redis.from_url(place.environment["REDIS_URL"])
    await client.drop_database(DATABASE)
    await gate.flushall()
    yield
    await client.drop_database(DATABASE)
    await client.close()
    await gate.aclose()


def run(work: Any) -> Any:
    """In a loop of its own, with clients of its own."""
    return asyncio.to_thread(loops.run, work)


async def opened() -> PublishedSale:
    await ensure_indexes()
    return (await publishing.publish(settings_of())).sale


# The functions


async def test_a_new_ledger_gets_its_indexes_and_one_that_lost_them_does_not() -> None:
    async def work() -> None:
        assert "orders.unit_sold_once is missing" in (await unguarded() or "")
        assert await prepare() is None
        assert await unguarded() is None
        await publishing.publish(settings_of())
        await collection("orders").drop()
        problem = await prepare()
        assert problem is not None
        assert "Restore the ledger" in problem
        assert await unguarded() is not None  # nothing was put back

    await run(work)


async def test_whoever_publishes_into_a_new_ledger_first_makes_its_indexes() -> None:
    """A command may be quicker than the first web process; its sale must not look like one that was left over."""

    async def work() -> None:
        await publishing.publish(settings_of())
        assert await prepare() is None
        assert await unguarded() is None

    await run(work)


@pytest.mark.parametrize("name", ["shopper_within_limit", "unit_sold_once", "key_used_once"])
async def test_an_index_that_is_not_unique_or_has_another_filter_is_none(name: str) -> None:
    async def work() -> None:
        await ensure_indexes()
        (wanted,) = (model.document for model in INDEXES if model.document["name"] == name)
        for weaker in ({}, {"unique": True, "partialFilterExpression": {"nothing": {"$exists": True}}}):
            await collection("orders").drop_index(name)
            await collection("orders").create_index(list(wanted["key"].items()), name=name, **weaker)
            assert await unguarded() == (
                f"the ledger has lost what keeps it from selling twice: orders.{name} is not as it should be"
            )
        await collection("orders").drop_index(name)
        options = {key: value for key, value in wanted.items() if key not in ("key", "name")}
        await collection("orders").create_index(list(wanted["key"].items()), name="another_name", **options)
        assert await unguarded() is None

    await run(work)


async def test_audit_repair_and_rebuild_look_at_the_indexes() -> None:
    async def work() -> None:
        sale = await opened()
        assert (await audit(sale)).holds
        await collection("orders").drop_index("unit_sold_once")
        found = await audit(sale)
        assert not found.holds
        assert [one.promise for one in found.findings if not one.holds] == ["1, 2, 5 are guarded"]
        with pytest.raises(RebuildImpossible, match="unit_sold_once is missing"):
            await rebuild(sale)
        await redis_client.redis().flushall()
        assert any("not done" in line and "unit_sold_once" in line for line in await repair(sale))

    await run(work)


async def test_a_sale_that_was_published_is_not_made_up_anew_in_a_ledger_that_lost_it() -> None:
    async def work() -> None:
        settings = settings_of()
        await publishing.publish(settings)
        await collection("sales").drop()
        with pytest.raises(Vanished):
            await publishing.publish(settings, must_exist=True)
        assert await catalogue.get(settings.id) is None

    await run(work)


async def test_what_is_withdrawn_archived_or_forgotten_is_not_missed() -> None:
    async def work() -> None:
        await ensure_indexes()
        settings = settings_of()
        sale = (await publishing.publish(settings)).sale
        board = Board()
        await board.refresh()
        assert not board.doubts
        await collection("sales").update_one({"_id": sale.id}, {"$set": {"published": False}, "$inc": {"version": 1}})
        board.ask_for_settings()
        await board.refresh()
        assert not board.doubts
        await collection("sales").delete_one({"_id": sale.id})
        board.ask_for_settings()
        await board.refresh()
        assert sale.sku in board.doubts[Doubt.SALES]
        assert board.may_have_lost_sales
        await register.forget(redis_client.redis(), sale.id)
        board.ask_for_settings()
        await board.refresh()
        assert not board.doubts

    await run(work)


@pytest.mark.parametrize("how", ["lost", "unreadable"])
async def test_nobody_is_told_that_a_sale_is_over_because_the_ledger_no_longer_tells_of_it(how: str) -> None:
    async def work() -> None:
        await ensure_indexes()
        sale = (await publishing.publish(settings_of())).sale
        board, heard = Board(), []

        async def hear(text: str) -> None:
            heard.append(text)

        async def look() -> str:
            board.ask_for_settings()
            await board.refresh()
            await asyncio.sleep(0.05)
            return str(heard[-1])

        await board.refresh()
        viewer = Viewer(hear, lambda code: asyncio.sleep(0), language="en")
        hub().join(sale.id, viewer)
        before = await collection("sales").find_one_and_delete({"_id": sale.id})
        assert before is not None
        if how == "unreadable":
            await collection("sales").insert_one({key: before[key] for key in before if key != "price_minor"})
        assert 'data-phase="not_ready"' in await look()
        await collection("sales").replace_one({"_id": sale.id}, before, upsert=True)
        assert 'data-phase="active"' in await look()
        await collection("sales").update_one({"_id": sale.id}, {"$set": {"published": False}, "$inc": {"version": 1}})
        assert 'data-phase="ended"' in await look()
        hub().leave(sale.id, viewer)

    await run(work)


async def test_what_the_ledger_has_lost_is_shown_as_not_ready_until_it_is_given_up() -> None:
    async def work() -> None:
        sale = await opened()
        board = Board()
        await board.refresh()
        assert board.by_sku[sale.sku].phase is Phase.ACTIVE
        await collection("sales").delete_one({"_id": sale.id})
        board.ask_for_settings()
        await board.refresh()
        assert board.by_sku[sale.sku].phase is Phase.NOT_READY
        await register.forget(redis_client.redis(), sale.id)
        board.ask_for_settings()
        await board.refresh()
        assert not board.by_sku

    await run(work)


async def test_what_is_put_back_while_a_board_looks_is_not_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        sale = await opened()
        board, missing = Board(), catalogue.missing
        await board.refresh()
        before = await collection("sales").find_one_and_delete({"_id": sale.id})
        assert before is not None

        async def put_back(sale_ids: Any) -> set[str]:
            await collection("sales").replace_one({"_id": sale.id}, before, upsert=True)
            return await missing(sale_ids)

        monkeypatch.setattr(catalogue, "missing", put_back)
        board.ask_for_settings()
        await board.refresh()
        assert board.sale_named[sale.sku].id == sale.id

    await run(work)


async def test_what_left_the_shelf_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The register names an archived sale until its gate is let go of; that must not double each second's reading."""

    async def work() -> None:
        sale = await opened()
        board, shelf, read = Board(), catalogue.shelf, 0
        await board.refresh()
        await collection("sales").update_one({"_id": sale.id}, {"$set": {"archived_at": datetime.now(UTC)}})

        async def counted() -> catalogue.Shelf:
            nonlocal read
            read += 1
            return await shelf()

        monkeypatch.setattr(catalogue, "shelf", counted)
        for _ in range(3):
            board.ask_for_settings()
            await board.refresh()
        assert read == 4
        assert sale.sku not in board.sale_named and not board.doubts

    await run(work)


async def test_settings_of_a_sale_that_was_published_prepare_no_emptied_ledger() -> None:
    async def work() -> None:
        settings = settings_of()
        await publishing.publish(settings)
        await collection("sales").drop()
        await collection("orders").drop()
        with pytest.raises(Vanished):
            await publishing.publish(settings, must_exist=True)
        assert await unguarded() is not None

    await run(work)


async def test_nothing_is_let_go_while_nobody_tells_what_the_ledger_must_have(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        sale = await opened()
        board = Board()
        await board.refresh()
        await collection("sales").delete_one({"_id": sale.id})

        async def silent(client: object) -> dict[str, str]:
            raise RedisError("silent")

        with monkeypatch.context() as patch:
            patch.setattr(register, "sales", silent)
            board.doubts._register = {}  # nor was it ever told
            board.ask_for_settings()
            await board.refresh()
            assert board.sale_named[sale.sku].id == sale.id
        board.ask_for_settings()
        await board.refresh()
        assert board.by_sku[sale.sku].phase is Phase.NOT_READY

    await run(work)


# A shop that runs


@pytest.fixture
async def running(place: Place, processes: Processes) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    processes.start("serve", "--port", str(port), "--workers", "2", **place.environment)
    processes.start("run_worker", **place.environment)
    async with client_of(f"http://127.0.0.1:{port}", limits=httpx.Limits(max_keepalive_connections=0)) as client:
        await eventually(lambda: is_ready(client), 30)
        yield client


async def is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def told(client: httpx.AsyncClient, reason: str) -> bool:
    answer = await client.get("/readyz")
    return answer.status_code == 503 and any(reason in one for one in answer.json()["reasons"])


async def buy(client: httpx.AsyncClient, sale: PublishedSale) -> tuple[int, str | None]:
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))
    return answer.status_code, answer.json()["code"]


async def phase(client: httpx.AsyncClient, sale: PublishedSale) -> str:
    answer = await client.get(f"/api/products/{sale.sku}/sale-status")
    return str(answer.json()["data"]["phase"]) if answer.status_code == 200 else str(answer.status_code)


async def is_closed(client: httpx.AsyncClient, sale: PublishedSale) -> bool:
    """Whether every web process turns shoppers away and says so; asked so often that each is sure to be among them."""
    for _ in range(12):
        if await phase(client, sale) not in ("not_ready", "503") or await buy(client, sale) != (503, "SALE_NOT_READY"):
            return False
    return True


async def published(client: httpx.AsyncClient) -> PublishedSale:
    sale: PublishedSale = await run(opened)
    await eventually(lambda: is_ready(client))
    return sale


async def test_ready_means_that_every_worker_shows_every_published_sale(running: httpx.AsyncClient) -> None:
    for _ in range(4):
        sale: PublishedSale = await run(opened)
        await eventually(lambda: is_ready(running))
        for _ in range(12):
            assert await phase(running, sale) == "active"
            assert sale.sku in {one["sku"] for one in (await running.get("/api/products")).json()["data"]}


async def test_a_ledger_that_is_dropped_under_a_running_shop_closes_it(running: httpx.AsyncClient) -> None:
    sale = await published(running)
    assert await buy(running, sale) == (201, None)
    buyer = cookie_of(shopper())
    bought = (await running.post("/api/orders", json={"sku": sale.sku}, headers=buyer)).json()["data"]

    async def drop() -> None:
        await mongo_client.database().client.drop_database(DATABASE)

    await run(drop)
    await eventually(lambda: told(running, "the ledger has lost"))
    await eventually(lambda: is_closed(running, sale))
    await asyncio.sleep(1.1)
    sound = (await running.get("/metrics")).text
    assert 'flashdrop_ledger_sound{check="indexes"} 0.0' in sound
    assert 'flashdrop_ledger_sound{check="sales"} 0.0' in sound
    await asyncio.sleep(2)  # workers have looked, and put nothing back
    assert await told(running, sale.sku)
    assert 'data-phase="not_ready"' in (await running.get(f"/sales/{sale.sku}/banner")).text
    assert "Nothing on sale yet" not in (await running.get("/")).text
    # Nor is anybody told that they have bought nothing.
    for path in ("/api/orders", f"/api/orders/{sale.sku}", "/orders/", bought["receiptUrl"]):
        assert (await running.get(path, headers=buyer)).status_code == 503, path
    for path in ("/api/orders", "/orders/"):
        assert (await running.get(path, headers=cookie_of(shopper()))).status_code == 503, path


async def test_an_index_that_is_dropped_under_a_running_shop_closes_it_until_it_is_back(
    running: httpx.AsyncClient,
) -> None:
    sale = await published(running)

    async def drop() -> None:
        await collection("orders").drop_index("unit_sold_once")

    await run(drop)
    await eventually(lambda: told(running, "orders.unit_sold_once is missing"))
    await eventually(lambda: is_closed(running, sale))
    await run(ensure_indexes)
    await eventually(lambda: is_ready(running))
    assert await buy(running, sale) == (201, None)


@pytest.mark.parametrize("how", ["over maxmemory", "too few replicas", "a snapshot failed"])
async def test_a_gate_that_refuses_writes_is_told(running: httpx.AsyncClient, place: Place, how: str) -> None:
    sale = await published(running)
    gate = Redis.from_url(place.environment["REDIS_URL"])
    folder = Path((await gate.config_get("dir"))["dir"])
    names = {"over maxmemory": "maxmemory", "too few replicas": "min-replicas-to-write"}
    if how in names:
        await gate.config_set(names[how], 1)
    else:
        await gate.config_set("save", "3600 1")
        (folder / "dump.rdb").unlink(missing_ok=True)
        (folder / "dump.rdb").mkdir()  # where the snapshot should go
        await gate.bgsave()
    try:
        await eventually(lambda: told(running, "Redis refuses writes"), 10)
        await eventually(lambda: is_closed(running, sale))
        await asyncio.sleep(1.1)
        assert 'flashdrop_store_up{store="redis"} 0.0' in (await running.get("/metrics")).text
        if how == "over maxmemory":  # deletes are still taken: sooner than they expire
            await gate.delete(WORKER_ALIVE, WORKER_HEARTBEAT)
            assert not [one for one in (await running.get("/readyz")).json()["warnings"] if "worker" in one]
    finally:
        if how in names:
            await gate.config_set(names[how], 0)
        else:
            (folder / "dump.rdb").rmdir()
            await gate.config_set("save", "")
            await gate.bgsave()
    await eventually(lambda: is_ready(running))
    assert await buy(running, sale) == (201, None)
    await gate.aclose()


async def test_a_shop_over_emptied_stores_is_missed_by_the_back_office(
    running: httpx.AsyncClient, place: Place, processes: Processes
) -> None:
    """Both stores were replaced by new ones: nothing but the back office knows of the sale."""
    seeded = processes.start("seed_demo", "--sku", "store-loss", "--opens-in", "0", "--again", **place.environment)
    assert await asyncio.to_thread(seeded.wait, 30) == 0
    await eventually(lambda: is_ready(running))

    async def replaced() -> None:
        await mongo_client.database().client.drop_database(DATABASE)
        await ensure_indexes()
        await redis_client.redis().flushall()

    await run(replaced)
    await eventually(lambda: told(running, "store-loss"), 15)


async def test_a_worker_over_a_ledger_without_its_indexes_writes_nothing() -> None:
    async def work() -> None:
        await opened()
        await collection("orders").drop()
        worker = Worker()
        await worker.round()
        assert await unguarded() is not None
        assert not await redis_client.redis().exists("flashdrop:worker:heartbeat")

    await run(work)


@pytest.mark.django_db(transaction=True)
def test_the_command_that_takes_a_sale_out_of_the_register() -> None:
    async def enter() -> None:
        await register.enter(redis_client.redis(), {"abc": "gone-for-good"})

    loops.run(enter)
    call_command("forget_sale", "gone-for-good", "--yes")

    async def left() -> dict[str, str]:
        return await register.sales(redis_client.redis())

    assert loops.run(left) == {}
