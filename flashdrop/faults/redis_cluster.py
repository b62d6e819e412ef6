"""A real Redis Cluster of an installation: three nodes that hold the sales, and a replica of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.crc import key_slot

from flashdrop.embedded.process import free_port
from flashdrop.embedded.redis_server import redis_binary
from flashdrop.faults.processes import Process, until
from flashdrop.faults.ready import gate_answers

PRIMARIES = 3
SLOTS = 16384
START_SECONDS = 40.0
# Until the others take a silent node for lost; the default is 15 s.
NODE_TIMEOUT_MS = 1500
ASK_SECONDS = 5.0


class RedisCluster:
    """Nodes on loopback ports. The first `PRIMARIES` begin as primaries, each of the others as a replica of one."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [self._node(folder, number) for number in range(2 * PRIMARIES)]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    async def start(self) -> None:
        """Start the nodes and make them one Cluster.

        Raises:
            TimeoutError: they do not come up, or do not find each other.
        """
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            await self.answers(node)
        share = SLOTS // PRIMARIES
        for number, node in enumerate(self.nodes):
            await ask(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number:
                await ask(node, "CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self._bus(self.nodes[0]))
            if number < PRIMARIES:
                last = SLOTS if number == PRIMARIES - 1 else (number + 1) * share
                await ask(node, "CLUSTER", "ADDSLOTSRANGE", number * share, last - 1)
        await until(self._all_know_each_other, START_SECONDS, "the Redis Cluster's nodes")
        for primary, replica in zip(self.nodes[:PRIMARIES], self.nodes[PRIMARIES:], strict=True):
            await ask(replica, "CLUSTER", "REPLICATE", await self.name_of(primary))
        await until(self.is_whole, START_SECONDS, "the Redis Cluster")

    async def answers(self, node: Process) -> None:
        """Wait until a node has loaded its data."""
        await until(lambda: gate_answers(node.port), START_SECONDS, node.name)

    async def is_whole(self) -> bool:
        """Whether every node that runs sees every slot served, and as many replicas as there should be."""
        for node in self.nodes:
            if not node.is_running:
                continue
            try:
                state, known = await ask(node, "CLUSTER", "INFO"), await ask(node, "CLUSTER", "NODES")
            except OSError:
                return False
            if f"cluster_slots_ok:{SLOTS}" not in state or known.count("slave") < PRIMARIES:
                return False
        return True

    async def owner(self, slot: int) -> Process:
        """The primary that serves the slot.

        Raises:
            LookupError: none does.
        """
        for node in self.nodes:
            if node.is_running and (await ask(node, "ROLE"))[0] == "master":
                for first, last, primary, *_ in await ask(node, "CLUSTER", "SLOTS"):
                    if first <= slot <= last and primary[1] == node.port:
                        return node
        raise LookupError(f"no node serves slot {slot}")

    async def replica_of(self, primary: Process) -> Process:
        """A replica that follows the primary and has what it has.

        Raises:
            LookupError: there is none.
        """
        for node in self.nodes:
            if node.is_running:
                role = await ask(node, "ROLE")
                if role[0] == "slave" and role[2] == primary.port and role[3] == "connected":
                    return node
        raise LookupError(f"no replica follows {primary.name}")

    async def name_of(self, node: Process) -> str:
        """The name by which the Cluster knows the node."""
        return str(await ask(node, "CLUSTER", "MYID"))

    async def everywhere(self, *command: Any) -> None:
        """Ask every node that runs, and take no offence at a refusal: not every one knows the slot."""
        from redis.exceptions import ResponseError

        for node in self.nodes:
            if node.is_running:
                try:
                    await ask(node, *command)
                except ResponseError:
                    continue

    async def _all_know_each_other(self) -> bool:
        views = await asyncio.gather(*(ask(node, "CLUSTER", "NODES") for node in self.nodes))
        return all(len(view.splitlines()) == len(self.nodes) and "handshake" not in view for view in views)

    def _bus(self, node: Process) -> int:
        return int(node.command[node.command.index("--cluster-port") + 1])

    def _node(self, folder: Path, number: int) -> Process:
        name, port = f"redis-node-{number}", free_port()
        command = [
            str(redis_binary()),
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder / name), "--daemonize", "no"),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"),
            *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
            *("--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-require-full-coverage", "no"),
            *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
        ]
        return Process(name, command, folder / name, port)


def slot_of(keys: Sequence[str]) -> int:
    """The slot that all these keys are in."""
    (slot,) = {key_slot(key.encode()) for key in keys}
    return slot


async def ask(node: Process, *command: Any) -> Any:
    """One command to one node; what it answers as text."""
    from redis.asyncio import Redis

    client = Redis(port=node.port, socket_timeout=ASK_SECONDS, decode_responses=True)
    try:
        client.response_callbacks.clear()
        return await client.execute_command(*command)  # type: ignore[no-untyped-call]
    finally:
        await client.aclose()
