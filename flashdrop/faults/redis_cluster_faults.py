"""Faults of a Redis Cluster: of its map, of its nodes, and of moving a sale from one node to another."""

from __future__ import annotations

import asyncio

from flashdrop.faults.faults import Scene, fault
from flashdrop.faults.processes import Process, until
from flashdrop.faults.redis_cluster import RedisCluster, ask, slot_of

UNASSIGNED_SECONDS = 3.0
DOWN_SECONDS = 2.0
SETTLE_SECONDS = 25.0
MOVED_AT_ONCE = 1
MIGRATE_MS = 2000
# More than the shoppers can buy: nobody may be told "sold out".
PLENTY = 400


@fault("cluster-slot-unassigned", topology="redis-cluster", stock=PLENTY, settles_in=30)
async def slot_unassigned(scene: Scene) -> None:
    """No node of the Redis Cluster serves the sale's slot for 3 s; then its node has it back."""
    nodes, slot = _nodes(scene), _slot(scene)
    owner = await nodes.owner(slot)
    await nodes.everywhere("CLUSTER", "DELSLOTSRANGE", slot, slot)
    await asyncio.sleep(UNASSIGNED_SECONDS)
    await ask(owner, "CLUSTER", "ADDSLOTSRANGE", slot, slot)
    await until(nodes.is_whole, SETTLE_SECONDS, "the Redis Cluster")


@fault("cluster-node-lost", topology="redis-cluster", stock=PLENTY, settles_in=30, gate_forgets=True)
async def node_lost(scene: Scene) -> None:
    """SIGKILL of the Redis Cluster's node with the sale and of its replica; both return from their AOF after 2 s."""
    nodes = _nodes(scene)
    owner = await nodes.owner(_slot(scene))
    lost = [owner, await nodes.replica_of(owner)]
    for node in lost:
        node.kill()
    await asyncio.sleep(DOWN_SECONDS)
    for node in lost:
        node.start()
        await nodes.answers(node)
    await until(nodes.is_whole, SETTLE_SECONDS, "the Redis Cluster")


@fault("cluster-failover", topology="redis-cluster", stock=PLENTY, settles_in=30, gate_forgets=True)
async def failover(scene: Scene) -> None:
    """SIGKILL of the Redis Cluster's node that has the sale; its replica takes over, the lost one returns as one."""
    nodes, slot = _nodes(scene), _slot(scene)
    owner = await nodes.owner(slot)
    replica = await nodes.replica_of(owner)
    owner.kill()
    await _serves(nodes, slot, replica)
    owner.start()
    await nodes.answers(owner)
    await until(nodes.is_whole, SETTLE_SECONDS, "the Redis Cluster")


@fault("cluster-failover-asked-for", topology="redis-cluster", stock=PLENTY, settles_in=30)
async def failover_asked_for(scene: Scene) -> None:
    """CLUSTER FAILOVER: an operator makes the replica the primary, without a loss."""
    nodes, slot = _nodes(scene), _slot(scene)
    replica = await nodes.replica_of(await nodes.owner(slot))
    await ask(replica, "CLUSTER", "FAILOVER")
    await _serves(nodes, slot, replica)


@fault("cluster-resharding", topology="redis-cluster", stock=PLENTY, settles_in=30)
async def resharding(scene: Scene) -> None:
    """Under load the sale moves to another node of the Redis Cluster, key by key, as an operator's reshard does it."""
    nodes, slot = _nodes(scene), _slot(scene)
    source = await nodes.owner(slot)
    target = next(node for node in [await nodes.owner(0), await nodes.owner(16383)] if node is not source)
    await ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", await nodes.name_of(source))
    await ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", await nodes.name_of(target))
    while keys := await ask(source, "CLUSTER", "GETKEYSINSLOT", slot, MOVED_AT_ONCE):
        await ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, MIGRATE_MS, "KEYS", *keys)
        await asyncio.sleep(0.2)  # so that shoppers meet a sale of which some keys are here and some are there
    for node in (target, source):
        await ask(node, "CLUSTER", "SETSLOT", slot, "NODE", await nodes.name_of(target))
    await _serves(nodes, slot, target)


def _nodes(scene: Scene) -> RedisCluster:
    assert scene.cluster.redis_cluster is not None
    return scene.cluster.redis_cluster


def _slot(scene: Scene) -> int:
    from sales.keys import sale_keys

    return slot_of(sale_keys(scene.sale.id))


async def _serves(nodes: RedisCluster, slot: int, wanted: Process) -> None:
    async def serves() -> bool:
        try:
            return await nodes.owner(slot) is wanted
        except LookupError:
            return False

    await until(serves, SETTLE_SECONDS, f"{wanted.name} to serve the sale")
