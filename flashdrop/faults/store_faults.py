"""Faults of the stores."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from flashdrop.faults.back_office import save
from flashdrop.faults.cluster import BASE_DIR, SERVICE
from flashdrop.faults.faults import Scene, fault
from flashdrop.faults.processes import Process, until
from flashdrop.faults.proxy import Weather
from flashdrop.faults.ready import client_of, gate_answers, sentinels_primary

STOPPED_SECONDS = 5.0
QUICK_STOPPED_SECONDS = 3.0
LONG_STOPPED_SECONDS = 30.0
DOWN_SECONDS = 0.5
# How far a snapshot lies behind, and how far a replica.
OLD_SECONDS = 1.5
FAILOVER_SECONDS = 25.0
BETWEEN_REBUILDS_SECONDS = 0.8
# More than the shoppers can buy: nobody may be told "sold out".
PLENTY = 400
SOLD_BEFORE = 30_000
LOWERED_TO = 150
DISK_FULL = 14031
WRITE_CONCERN_TIMEOUT = 64


@fault("mongodb-stopped", stock=PLENTY, settles_in=30)
async def mongodb_stopped(scene: Scene) -> None:
    """SIGSTOP of MongoDB for 5 s."""
    await _stopped(scene.cluster.mongo, QUICK_STOPPED_SECONDS if scene.is_quick else STOPPED_SECONDS)


@fault("mongodb-stopped-long", stock=PLENTY, settles_in=30)
async def mongodb_stopped_long(scene: Scene) -> None:
    """SIGSTOP of MongoDB for 30 s."""
    await _stopped(scene.cluster.mongo, STOPPED_SECONDS if scene.is_quick else LONG_STOPPED_SECONDS)


@fault("mongodb-and-web-killed", settles_in=30)
async def mongodb_and_web_killed(scene: Scene) -> None:
    """MongoDB hangs; while shoppers wait, every web worker is killed, and then MongoDB with all that it was sent."""
    mongo = scene.cluster.mongo
    mongo.signal(signal.SIGSTOP)
    await asyncio.sleep(QUICK_STOPPED_SECONDS)
    for pid in scene.cluster.web.children():
        os.kill(pid, signal.SIGKILL)
    mongo.kill()
    await asyncio.sleep(DOWN_SECONDS)
    mongo.start()
    await scene.cluster.mongo_takes_writes()


@fault("mongodb-killed", settles_in=30)
async def mongodb_killed(scene: Scene) -> None:
    """SIGKILL of the only MongoDB node, started again after half a second."""
    scene.cluster.mongo.kill()
    await asyncio.sleep(DOWN_SECONDS)
    scene.cluster.mongo.start()
    await scene.cluster.mongo_takes_writes()


@fault("mongodb-primary-killed", topology="replica-set", stock=PLENTY, settles_in=30)
async def mongodb_primary_killed(scene: Scene) -> None:
    """SIGKILL of the primary of three MongoDB nodes; another takes over, and the lost one returns later."""
    primary = await scene.cluster.primary()
    primary.kill()
    await scene.cluster.mongo_takes_writes()
    primary.start()


@fault("mongodb-disk-full", stock=PLENTY, settles_in=30)
async def mongodb_disk_full(scene: Scene) -> None:
    """MongoDB refuses every insert for 3 s: the disk is full."""
    async with _failing_inserts(scene, {"errorCode": DISK_FULL}):
        await asyncio.sleep(3)


@fault("mongodb-majority-unknown", stock=PLENTY, settles_in=30)
async def mongodb_majority_unknown(scene: Scene) -> None:
    """MongoDB takes every insert for 3 s and says that the majority has not acknowledged it in time."""
    failure = {
        "code": WRITE_CONCERN_TIMEOUT,
        "errmsg": "waiting for replication timed out",
        "errInfo": {"wtimeout": True},
    }
    async with _failing_inserts(scene, {"writeConcernError": failure}):
        await asyncio.sleep(3)


@fault("redis-killed", settles_in=30, gate_forgets=True)
async def redis_killed(scene: Scene) -> None:
    """SIGKILL of Redis and restart from its AOF (everysec)."""
    await _restarted(scene, scene.cluster.redis)


@fault("redis-restored", settles_in=30, gate_forgets=True)
async def redis_restored(scene: Scene) -> None:
    """SIGKILL of Redis and restart from a snapshot taken 1.5 s earlier."""
    await redis_command(scene.cluster.redis, "SAVE")
    await asyncio.sleep(OLD_SECONDS)
    await _restored(scene)


@fault("redis-restored-after-lowering", settles_in=30, gate_forgets=True)
async def redis_restored_after_lowering(scene: Scene) -> None:
    """The stock is lowered from 200 to 150; then Redis is killed and restarts from a snapshot taken before that."""
    await redis_command(scene.cluster.redis, "SAVE")
    await save(scene, stock=LOWERED_TO)
    await asyncio.sleep(OLD_SECONDS)
    await _restored(scene)


@fault("redis-goes-back", stock=PLENTY, settles_in=30, gate_forgets=True)
async def redis_goes_back(scene: Scene) -> None:
    """Redis goes back 1.5 s in time without a restart (DEBUG RELOAD of an old snapshot): only its data can tell."""
    await redis_command(scene.cluster.redis, "SAVE")
    await asyncio.sleep(OLD_SECONDS)
    await redis_command(scene.cluster.redis, "DEBUG", "RELOAD", "NOSAVE")


@fault("redis-flushed", stock=PLENTY, settles_in=30, gate_forgets=True)
async def redis_flushed(scene: Scene) -> None:
    """FLUSHALL."""
    await redis_command(scene.cluster.redis, "FLUSHALL")


@fault("redis-flushed-late", settles_in=30, gate_forgets=True, stock=SOLD_BEFORE + PLENTY, sold_before=SOLD_BEFORE)
async def redis_flushed_late(scene: Scene) -> None:
    """FLUSHALL when 30,000 units are sold: a rebuild takes longer than a worker's round."""
    await redis_command(scene.cluster.redis, "FLUSHALL")


@fault("redis-stopped", stock=PLENTY, settles_in=30)
async def redis_stopped(scene: Scene) -> None:
    """SIGSTOP of Redis for 5 s."""
    await _stopped(scene.cluster.redis, QUICK_STOPPED_SECONDS if scene.is_quick else STOPPED_SECONDS)


@fault("sentinel-failover", topology="sentinel", stock=PLENTY, settles_in=30, gate_forgets=True)
async def sentinel_failover(scene: Scene) -> None:
    """SIGKILL of the Redis primary; Sentinel promotes a replica that is 1.5 s behind; the old primary returns later."""
    cluster = scene.cluster
    assert cluster.replica is not None
    primary, replica = cluster.redis, cluster.replica
    await redis_command(replica, "REPLICAOF", "127.0.0.1", "1")  # nobody is there: it hears nothing more
    await asyncio.sleep(OLD_SECONDS)
    primary.kill()
    await _promoted(scene, replica)
    primary.start()
    await cluster.redis_answers(primary)
    cluster.redis, cluster.replica = replica, primary


@fault("sentinel-split", topology="sentinel", settles_in=30, gate_forgets=True, stock=PLENTY, spread=12)
async def sentinel_split(scene: Scene) -> None:
    """SIGSTOP of the Redis primary until Sentinel has promoted the replica; then both believe to be the primary."""
    cluster = scene.cluster
    assert cluster.replica is not None
    primary, replica = cluster.redis, cluster.replica
    primary.signal(signal.SIGSTOP)
    try:
        await _promoted(scene, replica)
        await asyncio.sleep(1)
    finally:
        primary.signal(signal.SIGCONT)
    cluster.redis, cluster.replica = replica, primary


@fault("both-stores-lost", settles_in=30, gate_forgets=True)
async def both_stores_lost(scene: Scene) -> None:
    """SIGKILL of Redis and MongoDB together, and restart of both."""
    cluster = scene.cluster
    cluster.mongo.kill()
    cluster.redis.kill()
    await asyncio.sleep(DOWN_SECONDS)
    cluster.redis.start()
    cluster.mongo.start()
    await cluster.redis_answers(cluster.redis)
    await cluster.mongo_takes_writes()


@fault("two-rebuilds", topology="proxied", settles_in=30, stock=PLENTY, spread=8)
async def two_rebuilds(scene: Scene) -> None:
    """Two operators rebuild the sale, one a little after the other, beside two workers and with a slow MongoDB."""
    command = [sys.executable, str(BASE_DIR / "manage.py"), "rebuild_sale", scene.sale.sku]
    folder, environment = scene.cluster.folder / "rebuilds", scene.cluster.environment
    operators = [Process(f"rebuild-{number}", command, folder, 0, environment) for number in range(2)]
    assert scene.cluster.mongo_proxy is not None
    scene.cluster.mongo_proxy.change(Weather.SLOW)
    for operator in operators:
        operator.start()
        await asyncio.sleep(BETWEEN_REBUILDS_SECONDS)

    async def done() -> bool:
        return not any(operator.is_running for operator in operators)

    try:
        await until(done, 20, "the rebuilds")
    finally:
        scene.cluster.mongo_proxy.change(Weather.FAIR)


async def _promoted(scene: Scene, replica: Process) -> None:
    for sentinel in scene.cluster.sentinels:

        async def named(port: int = sentinel.port) -> bool:
            return await sentinels_primary(port, SERVICE) == replica.port

        await until(named, FAILOVER_SECONDS, "the failover")


async def _stopped(process: Process, seconds: float) -> None:
    process.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        process.signal(signal.SIGCONT)


async def _restarted(scene: Scene, redis: Process) -> None:
    redis.kill()
    await asyncio.sleep(DOWN_SECONDS)
    redis.start()
    await scene.cluster.redis_answers(redis)


async def _restored(scene: Scene) -> None:
    """Kill Redis and start it from its last snapshot; what came after is gone."""
    redis = scene.cluster.redis
    redis.kill()
    shutil.rmtree(redis.folder / "appendonlydir")
    redis.start("--appendonly", "no")
    await scene.cluster.redis_answers(redis)
    await redis_command(redis, "CONFIG", "SET", "appendonly", "yes")


async def redis_command(process: Process, *command: str) -> Any:
    """One command, once that Redis answers."""
    from redis.asyncio import Redis

    await until(lambda: gate_answers(process.port), 10, process.name)
    client = Redis(port=process.port, socket_timeout=10)
    try:
        return await client.execute_command(*command)  # type: ignore[no-untyped-call]
    finally:
        await client.aclose()


@asynccontextmanager
async def _failing_inserts(scene: Scene, failure: dict[str, Any]) -> AsyncIterator[None]:
    client = client_of(scene.cluster.mongo.port)
    try:
        await client.admin.command(
            {"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": {"failCommands": ["insert"], **failure}}
        )
        yield
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    finally:
        await client.close()
