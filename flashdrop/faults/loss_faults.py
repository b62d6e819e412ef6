"""Stores that answer and can't be relied on: a ledger that has lost something, a gate that refuses writes; and the
brake, which has to hold through all of it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import BulkWriteError, OperationFailure

from flashdrop.faults.back_office import save
from flashdrop.faults.cluster import BASE_DIR
from flashdrop.faults.faults import Scene, fault
from flashdrop.faults.http import Reply, request
from flashdrop.faults.processes import Process, until
from flashdrop.faults.ready import client_of
from flashdrop.faults.store_faults import PLENTY, redis_command

# In which every web process must have noticed.
NOTICED_SECONDS = 2.0
REFUSED_SECONDS = 4.0
COMMAND_SECONDS = 20.0
# Workers have looked several times by then.
LOOKED_SECONDS = 3.0
# Each lands on one of the web workers.
ASKED = 12
NAMESPACE_NOT_FOUND = 26
# The load of a whole suite presses on this client, too; it waits for its turn.
PATIENCE_MS = 10_000


@fault("brake-without-mongodb", stock=PLENTY, settles_in=30, gate_forgets=True)
async def brake_without_mongodb(scene: Scene) -> None:
    """MongoDB hangs, the brake is pulled, Redis is flushed, MongoDB returns: nothing is sold until somebody resumes."""
    mongo = scene.cluster.mongo
    mongo.signal(signal.SIGSTOP)
    try:
        pulled_by = await _pull(scene)
        await _all_say(scene, "paused", "after the brake was pulled")
        await redis_command(scene.cluster.redis, "FLUSHALL")
        await asyncio.sleep(1)
    finally:
        mongo.signal(signal.SIGCONT)
    await _taken_over(scene)
    await _all_say(scene, "paused", "after Redis was flushed and MongoDB was back")
    await _nothing_sold_since(scene, pulled_by)
    await save(scene, paused=False)


@fault("brake-and-everything-killed", settles_in=30)
async def brake_and_everything_killed(scene: Scene) -> None:
    """MongoDB is killed, the brake is pulled, and Redis, web tier and workers are killed: started again, it holds."""
    cluster = scene.cluster
    cluster.mongo.kill()
    pulled_by = await _pull(scene)
    for process in (*cluster.webs, *cluster.workers, cluster.redis):
        process.kill()
    for process in (cluster.redis, cluster.mongo):
        process.start()
    await cluster.redis_answers(cluster.redis)
    await cluster.mongo_takes_writes()
    for process in (cluster.web, *cluster.workers):
        process.start()
    await cluster.web_answers(cluster.web)
    await _taken_over(scene)
    await _all_say(scene, "paused", "after all of it was started again")
    await _nothing_sold_since(scene, pulled_by)
    await save(scene, paused=False)


@fault("ledger-emptied", stock=PLENTY, settles_in=30)
async def ledger_emptied(scene: Scene) -> None:
    """Sales and orders vanish from the ledger for 5 s, as if another had been put in its place; then they are back."""
    client = client_of(scene.cluster.mongo.port, PATIENCE_MS)
    admin, ledger = client.admin, client["flashdrop"]
    names = ("sales", "orders")
    try:
        for name in names:
            await admin.command("renameCollection", f"flashdrop.{name}", to=f"flashdrop.{name}_away")
        await asyncio.sleep(NOTICED_SECONDS)
        await _all_say(scene, "not_ready", "with an emptied ledger")
        await asyncio.sleep(LOOKED_SECONDS)
        # What was confirmed before anybody noticed is part of what is restored.
        written = await ledger["orders"].find().to_list()
        if written:
            try:
                await ledger["orders_away"].insert_many(written, ordered=False)
            except BulkWriteError as error:
                scene.notes.append(f"{len(error.details['writeErrors'])} orders were refused when they were restored")
        for name in names:
            await admin.command("renameCollection", f"flashdrop.{name}_away", to=f"flashdrop.{name}", dropTarget=True)
    finally:
        await client.close()


@fault("index-lost", stock=PLENTY, settles_in=30)
async def index_lost(scene: Scene) -> None:
    """The unique index on units is dropped, and made again after 4 s by `ensure_indexes`."""
    client = client_of(scene.cluster.mongo.port, PATIENCE_MS)
    try:
        await client["flashdrop"]["orders"].drop_index("unit_sold_once")
    except OperationFailure as error:
        if error.code != NAMESPACE_NOT_FOUND:
            raise
    finally:
        await client.close()
    await asyncio.sleep(NOTICED_SECONDS)
    await _all_say(scene, "not_ready", "without a unique index")
    await asyncio.sleep(REFUSED_SECONDS - NOTICED_SECONDS)
    await _command(scene, "ensure_indexes")


@fault("redis-full", stock=PLENTY, settles_in=30)
async def redis_full(scene: Scene) -> None:
    """Redis is over maxmemory for 4 s."""
    await _refused(scene, "maxmemory")


@fault("redis-without-replicas", stock=PLENTY, settles_in=30)
async def redis_without_replicas(scene: Scene) -> None:
    """Redis refuses writes for 4 s, since too few replicas follow it."""
    await _refused(scene, "min-replicas-to-write")


async def _refused(scene: Scene, setting: str) -> None:
    await redis_command(scene.cluster.redis, "CONFIG", "SET", setting, "1")
    try:
        await asyncio.sleep(NOTICED_SECONDS)
        await _all_say(scene, "not_ready", f"with {setting} in the way")
        await asyncio.sleep(REFUSED_SECONDS - NOTICED_SECONDS)
    finally:
        await redis_command(scene.cluster.redis, "CONFIG", "SET", setting, "0")


async def _command(scene: Scene, *command: str) -> None:
    """Run `manage.py` as an operator does."""
    arguments = [sys.executable, str(BASE_DIR / "manage.py"), *command]
    process = Process(command[0], arguments, scene.cluster.folder / command[0], 0, scene.cluster.environment)
    process.start()

    async def done() -> bool:
        return not process.is_running

    await until(done, COMMAND_SECONDS, command[0])


async def _pull(scene: Scene) -> datetime:
    """Pull the brake; the gate's time at which it held for sure."""
    await _command(scene, "pause_sale", scene.sale.sku)
    seconds, microseconds = await redis_command(scene.cluster.redis, "TIME")
    return datetime.fromtimestamp(int(seconds) + int(microseconds) / 1e6, UTC)


async def _nothing_sold_since(scene: Scene, at: datetime) -> None:
    client = client_of(scene.cluster.mongo.port, PATIENCE_MS)
    try:
        sold = await client["flashdrop"]["orders"].count_documents({"sale": scene.sale.id, "reserved_at": {"$gt": at}})
    finally:
        await client.close()
    scene.expect(not sold, f"{sold} orders were taken behind the brake")


async def _taken_over(scene: Scene) -> None:
    """Wait until a worker has made an ordinary pause of the brake."""
    from sales.models import Sale

    async def is_paused() -> bool:
        return await Sale.objects.filter(pk=scene.sale.id, paused=True).exclude(knows_brake="").aexists()

    await _in_time(scene, is_paused, "the brake was not taken over", COMMAND_SECONDS)


async def _all_say(scene: Scene, phase: str, when: str) -> None:
    """Every page says so, and no order is taken while it does."""
    path = f"/api/products/{scene.sale.sku}/sale-status"

    async def shown() -> bool:
        asked = [request(web.port, "GET", path, {}) for web in scene.cluster.webs for _ in range(ASKED)]
        replies = await asyncio.gather(*asked, return_exceptions=True)
        return all(_says(reply, phase) for reply in replies)

    await _in_time(scene, shown, f"not {phase} {when}")


async def _in_time(
    scene: Scene, check: Callable[[], Awaitable[bool]], otherwise: str, seconds: float = NOTICED_SECONDS
) -> None:
    try:
        await until(check, seconds, otherwise)
    except TimeoutError:
        scene.expect(False, otherwise)


def _says(reply: Any, phase: str) -> bool:
    if not isinstance(reply, Reply):
        return False
    return reply.status == 503 if phase == "not_ready" and reply.status != 200 else reply.data.get("phase") == phase
