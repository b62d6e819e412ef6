"""The loss of each kind of process, once, while shoppers buy."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable

from flashdrop.cluster.installation import Installation
from flashdrop.cluster.servers import kill_with_children
from flashdrop.faults.cluster import SERVICE
from flashdrop.faults.faults import Fault, Scene
from flashdrop.faults.processes import Process, until
from flashdrop.faults.ready import sentinel_sees, sentinels_primary

FAILOVER_SECONDS = 25.0
DOWN_SECONDS = 0.5
BETWEEN_SECONDS = 1.0
Loss = Callable[[Installation], Awaitable[None]]


async def web_worker(cluster: Installation) -> None:
    """One web worker process; its supervisor starts another."""
    os.kill(cluster.hosts[0].children()[0], signal.SIGKILL)
    await asyncio.sleep(DOWN_SECONDS)
    await cluster.answers(cluster.hosts[0])


async def web_host(cluster: Installation) -> None:
    """A whole web host, supervisor and all."""
    host = cluster.hosts[1]
    await kill_with_children(host)
    await asyncio.sleep(DOWN_SECONDS)
    host.start()
    await cluster.ready(host)


async def worker(cluster: Installation) -> None:
    """One of the two workers."""
    await _again(cluster.workers[0])


async def nginx(cluster: Installation) -> None:
    """nginx, with its worker processes."""
    await kill_with_children(cluster.nginx)
    await asyncio.sleep(DOWN_SECONDS)
    cluster.nginx.start()
    await cluster.answers(cluster.nginx)


async def redis_primary(cluster: Installation) -> None:
    """The Redis primary; Sentinel promotes the replica, and the lost one comes back as that one's replica."""
    assert cluster.replica is not None
    lost, promoted = cluster.redis, cluster.replica
    lost.kill()
    for sentinel in cluster.sentinels:

        async def named(port: int = sentinel.port) -> bool:
            return await sentinels_primary(port, SERVICE) == promoted.port

        await until(named, FAILOVER_SECONDS, "the failover")
    lost.start()
    cluster.redis, cluster.replica = promoted, lost
    await cluster.redis_answers(lost)


async def redis_replica(cluster: Installation) -> None:
    """The Redis replica."""
    assert cluster.replica is not None
    await _again(cluster.replica)
    await cluster.redis_answers(cluster.replica)


async def sentinel(cluster: Installation) -> None:
    """One of the three Sentinels."""
    await _again(cluster.sentinels[0])
    await until(lambda: sentinel_sees(cluster.sentinels[0].port, SERVICE, 1), FAILOVER_SECONDS, "the Sentinel")


async def mongodb_secondary(cluster: Installation) -> None:
    """A secondary of MongoDB's replica set."""
    primary = await cluster.primary()
    await _again(next(mongo for mongo in cluster.mongos if mongo is not primary))


async def mongodb_primary(cluster: Installation) -> None:
    """The primary of MongoDB's replica set; another is elected."""
    primary = await cluster.primary()
    primary.kill()
    await cluster.mongo_takes_writes()
    primary.start()


async def postgres(cluster: Installation) -> None:
    """PostgreSQL, which no shopper's request needs."""
    await kill_with_children(cluster.postgres)
    await asyncio.sleep(DOWN_SECONDS)
    await asyncio.to_thread(cluster.postgres.start)


async def prometheus(cluster: Installation) -> None:
    """Prometheus, which nobody waits for."""
    await _again(cluster.prometheus)


LOSSES: tuple[Loss, ...] = (
    web_worker, web_host, worker, mongodb_secondary, mongodb_primary, nginx, redis_replica, sentinel, redis_primary,
    postgres, prometheus,
)  # fmt: skip


def losses_of_each_kind(shoppers: int, units: int, spread: float, say: Callable[[str], None]) -> Fault:
    """All of `LOSSES`, one after another, as one fault with a storm of `shoppers` around it for `spread` seconds."""
    from orders.ledger import tally  # Django's settings are there by now

    async def strike(scene: Scene) -> None:
        cluster = scene.cluster
        assert isinstance(cluster, Installation)
        for loss in LOSSES:
            started, before = time.monotonic(), (await tally(scene.sale.id)).units
            await loss(cluster)
            await asyncio.sleep(BETWEEN_SECONDS)
            sold = (await tally(scene.sale.id)).units - before
            say(f"{time.monotonic() - started:4.1f} s, {sold:>5,} units sold: {' '.join((loss.__doc__ or '').split())}")

    return Fault(
        name="each-kind-lost",
        what="every kind of process killed once",
        strike=strike,
        topology="as deployed",
        settles_in=30.0,
        gate_forgets=True,
        shoppers=shoppers,
        stock=units,
        leavers=0.05,
        spread=spread,
        moves_window=False,
        sold_before=0,
        is_rush=False,
    )


async def _again(process: Process) -> None:
    process.kill()
    await asyncio.sleep(DOWN_SECONDS)
    process.start()
