"""The three forms of `REDIS_URL`, each against real servers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis.crc import key_slot

from conftest import eventually
from flashdrop.config import ConfigError
from flashdrop.embedded.process import Server, free_port
from flashdrop.embedded.redis_server import start_redis
from flashdrop.redis_client import Gate, RedisError, new_redis
from sales import stock
from sales.gate import Held, Load, Publication, Verdict
from sales.keys import sale_keys
from sales.records import records
from sales.tests.test_stock import sale_of, wish

REDIS = Path(shutil.which("redis-server") or "redis-server")


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in reversed(started):
        server.stop()


async def sells(client: Gate) -> None:
    """The whole life of a reservation, on two sales that need not be on one node."""
    for sale in (sale_of(stock=2), sale_of(stock=2)):
        assert (await stock.publish(client, sale, create=True))[0] is Publication.APPLIED
        answers = await stock.reserve(client, sale.id, 1, [wish("a"), wish("b"), wish("c")])
        assert [a.verdict for a in answers] == [Verdict.GRANTED, Verdict.GRANTED, Verdict.OUT_OF_STOCK]
        entries = await stock.pending(client, sale.id)
        assert await stock.confirm(client, sale.id, [entries[0].entry_id]) == 1
        assert await stock.release(client, sale.id, [("s-b", "b")]) == [1]
        assert await stock.held_by(client, [(sale.id, "s-a")]) == [[("a", entries[0].entry_id)]]
        assert await stock.held(client, sale.id) == Held(1, 0)
        await stock.fence(client, sale.id, 1)
        assert await stock.load(client, replace(sale, epoch=2), [("s", "x", (2,), (1,))]) is Load.IN_FORCE
        _, (levels,) = await stock.levels(client, [sale.id])
        assert (levels.epoch, levels.available) == (2, 1)
        assert await stock.run_ids(client, [sale.id]) == [levels.run_id]


async def test_one_server(gate: Gate) -> None:
    await sells(gate)


async def cluster_of(ports: list[int], servers: list[Server], folder: Path, *options: str) -> Gate:
    """A client of a new Cluster of nodes on `ports`."""
    for port in ports:
        own = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "2000"]
        servers.append(start_redis(folder / str(port), port, REDIS, [*own, *options])[0])
    addresses = [f"127.0.0.1:{port}" for port in ports]
    subprocess.run(["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], check=True, capture_output=True)
    client = new_redis("redis+cluster://" + ",".join(addresses))
    await eventually(lambda: answers_for(client, "x"))
    return client


async def answers_for(client: Gate, sale_id: str) -> bool:
    try:
        await stock.levels(client, [sale_id])
    except RedisError:
        return False
    return True


async def test_a_cluster_of_three_nodes(servers: list[Server], tmp_path: Path) -> None:
    client = await cluster_of([free_port() for _ in range(3)], servers, tmp_path)
    for _ in range(3):
        await sells(client)
    await client.aclose()


@pytest.mark.parametrize("needs_all", ["yes", "no"])
async def test_a_slot_that_no_node_has_is_a_gate_that_does_not_answer(
    servers: list[Server], tmp_path: Path, needs_all: str
) -> None:
    """Whatever is asked, and for as long as it lasts; afterwards all is as before. redis-py says `KeyError`."""
    ports = [free_port() for _ in range(3)]
    client = await cluster_of(ports, servers, tmp_path, "--cluster-require-full-coverage", needs_all)
    sale = sale_of(stock=5)
    await stock.publish(client, sale, create=True)
    fresh = new_redis("redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports))
    slot = key_slot(sale_keys(sale.id).sale.encode())
    owner = client.get_node_from_key(sale_keys(sale.id).sale).port  # type: ignore[attr-defined]
    for port in ports:
        on_node(port, "DELSLOTS", slot)

    questions = {
        "levels": lambda gate: stock.levels(gate, [sale.id]),
        "reserve": lambda gate: stock.reserve(gate, sale.id, 1, [wish("a")]),
        "publish": lambda gate: stock.publish(gate, sale, create=False),
        "held_by": lambda gate: stock.held_by(gate, [(sale.id, "a")]),
        "pending_of": lambda gate: stock.pending_of(gate, [(sale.id, "a")]),
        "pending_counts": lambda gate: stock.pending_counts(gate, [sale.id]),
        "pending_count": lambda gate: stock.pending_count(gate, sale.id),
        "pending": lambda gate: stock.pending(gate, sale.id),
        "run_ids": lambda gate: stock.run_ids(gate, [sale.id]),
        "held": lambda gate: stock.held(gate, sale.id),
        "load": lambda gate: stock.load(gate, sale, [("s", "x", (2,), (1,))]),
        "lease": lambda gate: stock.rebuild_lease(gate, sale.id).acquire(),
        "records": lambda gate: records(gate, sale.id),
        "tried": lambda gate: stock.tried(gate, sale.id, ["a"], 60),
    }

    async def is_closed() -> bool:
        return not await answers_for(client, sale.id)

    await eventually(is_closed)
    for gate in (client, fresh):
        for name, ask in questions.items():
            with pytest.raises(RedisError):
                found = await ask(gate)
                pytest.fail(f"{name} answered {found}")
    with pytest.raises(RedisError):
        await stock.run_ids(fresh, [sale.id])
    on_node(owner, "ADDSLOTS", slot)

    async def has_a_run() -> bool:
        """By this question alone: each round of a worker begins with it."""
        try:
            return bool(await stock.run_ids(fresh, [sale.id]))
        except RedisError:
            return False

    await eventually(has_a_run)
    for gate in (client, fresh):
        await eventually(lambda gate=gate: answers_for(gate, sale.id))  # type: ignore[misc]
        (answer,) = await stock.reserve(gate, sale.id, 1, [wish(f"back-{id(gate)}")])
        assert answer.verdict is Verdict.GRANTED
        await gate.aclose()


def on_node(port: int, command: str, slot: int) -> str:
    done = subprocess.run(
        ["redis-cli", "-p", str(port), "CLUSTER", command, str(slot)], capture_output=True, text=True, check=True
    )
    return done.stdout


async def test_sentinel_follows_a_failover(servers: list[Server], tmp_path: Path) -> None:
    primary_port, replica_port, sentinel_port = free_port(), free_port(), free_port()
    primary, _ = start_redis(tmp_path / "primary", primary_port, REDIS)
    servers.append(primary)
    replica, _ = start_redis(tmp_path / "replica", replica_port, REDIS, ["--replicaof", f"127.0.0.1 {primary_port}"])
    servers.append(replica)
    settings = tmp_path / "sentinel.conf"
    settings.write_text(
        f"port {sentinel_port}\nbind 127.0.0.1\ndir {tmp_path}\n"
        f"sentinel monitor shop 127.0.0.1 {primary_port} 1\n"
        "sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 3000\n"
    )
    servers.append(Server("sentinel", [str(REDIS), str(settings), "--sentinel"], tmp_path / "sentinel.log"))
    client = new_redis(f"redis+sentinel://127.0.0.1:{sentinel_port}/shop/0")

    async def found() -> bool:
        try:
            return bool(await client.ping())
        except RedisError:
            return False

    await eventually(found)
    await sells(client)
    (before,) = await stock.run_ids(client, ["x"])

    async def replicated() -> bool:
        return bool(await client.execute_command("WAIT", 1, 500))

    await eventually(replicated)
    primary.kill()

    async def failed_over() -> bool:
        try:
            return (await stock.run_ids(client, ["x"]))[0] != before and bool(await client.set("probe", 1))
        except RedisError:
            return False

    await eventually(failed_over, seconds=20)
    await sells(client)
    await client.aclose()


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:6379", "redis+sentinel://127.0.0.1:26379", "redis+cluster://127.0.0.1:x", "redis+cluster://"],
)
def test_a_form_that_is_not_known_is_named(url: str) -> None:
    with pytest.raises(ConfigError, match="REDIS_URL"):
        new_redis(url)
