"""The three forms of `REDIS_URL`, each against real servers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import eventually
from flashdrop.config import ConfigError
from flashdrop.embedded.process import Server, free_port
from flashdrop.embedded.redis_server import start_redis
from flashdrop.redis_client import Gate, RedisError, new_redis
from sales import stock
from sales.gate import Held, Load, Publication, Verdict
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


async def test_a_cluster_of_three_nodes(servers: list[Server], tmp_path: Path) -> None:
    ports = [free_port() for _ in range(3)]
    for port in ports:
        options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "2000"]
        servers.append(start_redis(tmp_path / str(port), port, REDIS, options)[0])
    addresses = [f"127.0.0.1:{port}" for port in ports]
    subprocess.run(["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], check=True, capture_output=True)
    client = new_redis("redis+cluster://" + ",".join(addresses))

    async def formed() -> bool:
        try:
            await stock.levels(client, ["x"])
        except RedisError:
            return False
        return True

    await eventually(formed)
    for _ in range(3):
        await sells(client)
    await client.aclose()


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
