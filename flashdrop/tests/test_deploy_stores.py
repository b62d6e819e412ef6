"""The stores' settings and start scripts, run by real servers as containers run them."""

from __future__ import annotations

import os
import secrets
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import RedisError as AnyRedisError

from conftest import eventually
from flashdrop.config import BASE_DIR
from flashdrop.embedded.process import Server, free_port
from flashdrop.redis_client import Gate, RedisError, new_redis

DEPLOY = BASE_DIR / "deploy"
PASSWORD = secrets.token_hex(16)
Start = Callable[..., Server]


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "redis_password"
    path.write_text(PASSWORD)
    return path


@pytest.fixture
def start(tmp_path: Path, password_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Run one of our start scripts with these variables, and what follows as further options."""
    running: list[Server] = []
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(password_file))
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def work(script: str, name: str, *options: str, **variables: str) -> Server:
        with monkeypatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            running.append(Server(name, ["sh", str(DEPLOY / script), *options], tmp_path / f"{name}.log"))
        return running[-1]

    yield work
    for server in running:
        server.kill()


def redis_at(tmp_path: Path, start: Start, port: int, *options: str, **variables: str) -> Server:
    """Redis with deploy/redis/redis.conf in a folder of its own; again on the same port it finds its data."""
    folder = tmp_path / str(port)
    folder.mkdir(exist_ok=True)
    own = {"REDIS_PORT": str(port), "REDIS_DIR": str(folder), "REDIS_CONF": str(DEPLOY / "redis/redis.conf")}
    return start("redis/start.sh", f"redis-{port}", "--bind", "127.0.0.1", *options, **(own | variables))


def ask(port: int, *command: str, password: str | None = PASSWORD) -> Any:
    with Redis("127.0.0.1", port, password=password, socket_timeout=2, decode_responses=True) as client:
        return client.execute_command(*command)


def answers(port: int, *command: str, password: str | None = PASSWORD) -> Callable[[], bool]:
    def check() -> bool:
        try:
            return bool(ask(port, *command, password=password))
        except AnyRedisError:
            return False

    return check


def test_redis_keeps_its_log_evicts_nothing_and_asks_for_the_password(
    tmp_path: Path, start: Start, password_file: Path
) -> None:
    port = free_port()
    server = redis_at(tmp_path, start, port)
    server.wait_until(answers(port, "PING"), 10)
    found = ask(port, "CONFIG", "GET", "append*", "maxmemory*", "save", "maxclients", "min-replicas-to-write")
    assert found["appendonly"] == "yes"
    assert found["appendfsync"] == "everysec"
    assert found["save"] == ""
    assert found["maxmemory-policy"] == "noeviction"
    assert int(found["maxmemory"]) == 512 * 1024**2
    assert found["maxclients"] == "10000"
    with pytest.raises(AuthenticationError):
        ask(port, "PING", password=None)
    # The password is nowhere that other processes could read it.
    assert PASSWORD not in Path(f"/proc/{server.process.pid}/cmdline").read_text()
    assert PASSWORD not in Path(f"/proc/{server.process.pid}/environ").read_text()
    (own,) = tmp_path.glob("tmp.*/redis.conf")
    assert stat.S_IMODE(own.stat().st_mode) == 0o600

    health = ["sh", str(DEPLOY / "redis/health.sh")]
    environment = os.environ | {"REDIS_PORT": str(port)}
    assert subprocess.run(health, env=environment, timeout=10, check=False).returncode == 0
    server.stop()
    assert subprocess.run(health, env=environment, timeout=10, capture_output=True, check=False).returncode != 0

    password_file.write_text('with "quotes" and\nlines')
    refused = redis_at(tmp_path, start, port)
    assert refused.process.wait(5) == 1
    assert "must be letters, digits" in refused.log_file.read_text()


async def test_sentinels_fail_over_and_a_former_primary_comes_back_as_a_replica(tmp_path: Path, start: Start) -> None:
    primary, replica = free_port(), free_port()
    ports = [free_port() for _ in range(3)]
    watchers = " ".join(f"localhost:{port}" for port in ports)
    # Under a name, as in containers. Before there are Sentinels the roles are the files'.
    own = {"REDIS_NAME": "localhost", "REDIS_SENTINELS": watchers}
    first = redis_at(tmp_path, start, primary, **own)
    first.wait_until(answers(primary, "PING"), 10)
    second = redis_at(tmp_path, start, replica, **own, REDIS_PRIMARY=f"localhost:{primary}")
    second.wait_until(answers(replica, "PING"), 10)
    for port in ports:
        folder = tmp_path / f"sentinel-{port}"
        folder.mkdir()
        start(
            "ha/start-sentinel.sh",
            f"sentinel-{port}",
            SENTINEL_NAME="localhost",
            SENTINEL_PORT=str(port),
            SENTINEL_DIR=str(folder),
            # Long enough that a busy machine is not taken for a primary that is gone.
            SENTINEL_DOWN_MS="2000",
            REDIS_PRIMARY=f"localhost:{primary}",
        )
    client = new_redis(f"redis+sentinel://:{PASSWORD}@{watchers.replace(' ', ',')}/shop/0")

    async def set_and_copied() -> bool:
        try:
            return bool(await client.set("kept", "1") and await client.execute_command("WAIT", 1, 500))
        except RedisError:
            return False

    await eventually(set_and_copied, seconds=30)

    async def agreed() -> bool:
        # As the containers' health check: all three know of each other, and of the replica.
        return all(answers(port, "SENTINEL", "CKQUORUM", "shop", password=None)() for port in ports) and all(
            len(ask(port, "SENTINEL", "SENTINELS", "shop", password=None)) == 2
            and len(ask(port, "SENTINEL", "REPLICAS", "shop", password=None)) == 1
            for port in ports
        )

    await eventually(agreed, seconds=30)
    first.kill()
    await eventually(lambda: _is_written_by(client, replica), seconds=40)
    assert await client.get("kept") == "1"

    again = redis_at(tmp_path, start, primary, **own)
    again.wait_until(answers(primary, "PING"), 10)
    assert ask(primary, "ROLE")[:3] == ["slave", "localhost", replica]
    await client.aclose()


async def _is_written_by(client: Gate, port: int) -> bool:
    try:
        return bool(await client.set("after", "1")) and ask(port, "ROLE")[0] == "master"
    except AnyRedisError:
        return False


async def test_six_nodes_become_a_cluster_and_stay_one(tmp_path: Path, start: Start) -> None:
    ports = [free_port() for _ in range(6)]
    conf = f"{DEPLOY / 'redis/redis.conf'} {DEPLOY / 'ha/redis-cluster.conf'}"
    for port in ports:
        redis_at(tmp_path, start, port, "--cluster-port", str(free_port()), REDIS_CONF=conf)
    addresses = [f"127.0.0.1:{port}" for port in ports]

    def create() -> str:
        command = ["sh", str(DEPLOY / "ha/create-cluster.sh"), *addresses]
        environment = os.environ | {"WAIT_SECONDS": "20"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert create() == "The Cluster is complete.\n"
    assert "stands already, with 6 nodes" in create()
    client = new_redis(f"redis+cluster://:{PASSWORD}@{','.join(addresses)}")
    assert await client.set("{a}", "1") and await client.set("{b}", "1")
    await client.aclose()

    async def each_has_a_replica() -> bool:
        # Nodes tell each other of it within a second or two.
        nodes = ask(ports[0], "CLUSTER", "NODES").splitlines()
        return [sum(role in node for node in nodes) for role in ("master", "slave")] == [3, 3]

    await eventually(each_has_a_replica)


def test_mongod_gets_a_key_file_of_its_own(tmp_path: Path) -> None:
    key = tmp_path / "mongodb_keyfile"
    key.write_text("0123456789abcdef")
    key.chmod(0o444)  # as secrets are mounted; mongod would refuse it
    seen = tmp_path / "seen"
    entrypoint = tmp_path / "entrypoint.sh"
    entrypoint.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{seen}\n')
    entrypoint.chmod(0o700)
    subprocess.run(
        ["sh", str(DEPLOY / "mongodb/start.sh"), "--wiredTigerCacheSizeGB", "0.75"],
        env=os.environ | {"MONGODB_KEYFILE": str(key), "MONGODB_ENTRYPOINT": str(entrypoint), "TMPDIR": str(tmp_path)},
        timeout=10,
        check=True,
    )
    command = seen.read_text().split()
    assert command[:4] == ["mongod", "--bind_ip_all", "--replSet", "rs0"]
    assert command[-2:] == ["--wiredTigerCacheSizeGB", "0.75"]
    copy = Path(command[command.index("--keyFile") + 1])
    assert copy.read_text() == key.read_text()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o400


def test_mongodb_is_healthy_when_it_answers_by_its_name() -> None:
    script = (DEPLOY / "mongodb/health.sh").read_text().replace("27017", str(port := free_port()))
    command = ["bash", "-c", script]
    environment = os.environ | {"HOSTNAME": "localhost"}
    assert subprocess.run(command, env=environment, capture_output=True, timeout=10, check=False).returncode != 0
    listener = subprocess.Popen(["redis-server", "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while subprocess.run(command, env=environment, capture_output=True, timeout=10, check=False).returncode != 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        listener.kill()
        listener.wait()
