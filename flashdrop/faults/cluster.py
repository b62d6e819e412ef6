"""A whole installation on loopback: stores, web tier and workers as real processes in a temporary folder.

Everything it ends it has started itself, by process id. Ports are chosen first, so that a process may be started again
where it was.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flashdrop.embedded.mongo_server import mongo_binary
from flashdrop.embedded.process import StoreUnavailable, free_port
from flashdrop.embedded.redis_server import redis_binary
from flashdrop.faults.processes import Process, until
from flashdrop.faults.proxy import Proxy
from flashdrop.faults.ready import gate_answers, http_status, initiate, is_primary, sentinel_sees
from flashdrop.faults.redis_cluster import RedisCluster

BASE_DIR = Path(__file__).resolve().parent.parent.parent
SKEWED_CLOCK = Path(__file__).resolve().parent / "skewed_clock"
START_SECONDS = 40.0
SERVICE = "flashdrop"
SENTINELS = 3
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Topology:
    """What an installation consists of."""

    mongo_nodes: int = 1
    sentinel: bool = False
    proxied: bool = False
    redis_cluster: bool = False


TOPOLOGIES = {
    "plain": Topology(),
    "proxied": Topology(proxied=True),
    "replica-set": Topology(mongo_nodes=3),
    "sentinel": Topology(sentinel=True),
    "redis-cluster": Topology(redis_cluster=True),
}


class Cluster:
    """One installation. `environment` is what its processes run under, `direct` what the suite asks the stores by."""

    def __init__(self, folder: Path, topology: Topology, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.topology = topology
        self.mongos = [self._mongo(number) for number in range(topology.mongo_nodes)]
        self.redis = self._redis("redis", free_port())
        self.replica = self._redis("redis-replica", free_port()) if topology.sentinel else None
        self.redis_cluster = RedisCluster(folder) if topology.redis_cluster else None
        self.sentinels: list[Process] = []
        self.redis_proxy = Proxy(free_port(), self.redis.port) if topology.proxied else None
        self.mongo_proxy = Proxy(free_port(), self.mongos[0].port) if topology.proxied else None
        if topology.sentinel:
            self.sentinels = [self._sentinel(number) for number in range(SENTINELS)]
        hosts = ",".join(f"127.0.0.1:{mongo.port}" for mongo in self.mongos)
        self.direct = {
            "SECRET_KEY": "faults-only",
            "DEBUG": "0",
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "FLASHDROP_DATA_DIR": str(folder),
            "DJANGO_SETTINGS_MODULE": "flashdrop.settings",
            "LOG_LEVEL": "INFO",
            "TRUST_USER_ID_HEADER": "0",
            "ENABLE_GLOBAL_RATE_LIMITER": "0",
            "MONGODB_URL": f"mongodb://{hosts}/flashdrop?replicaSet=rs0",
            "REDIS_URL": self._redis_url(),
            **(settings or {}),
        }
        self.environment = dict(self.direct)
        if self.mongo_proxy and self.redis_proxy:
            # The driver would find the server behind the proxy by itself: it must not look.
            self.environment["MONGODB_URL"] = (
                f"mongodb://127.0.0.1:{self.mongo_proxy.port}/flashdrop?directConnection=true"
            )
            self.environment["REDIS_URL"] = f"redis://127.0.0.1:{self.redis_proxy.port}/0"
        self.web = self._web("web")
        self.extra_web: list[Process] = []
        self.workers = [self._worker(f"worker-{number}") for number in range(WORKERS)]

    @property
    def mongo(self) -> Process:
        """The first node: the only one, or the first primary."""
        return self.mongos[0]

    @property
    def webs(self) -> list[Process]:
        """The web tiers that run; shoppers may go to any of them."""
        return [web for web in (self.web, *self.extra_web) if web.is_running]

    def enter(self) -> None:
        """Make this process one of the installation's own: to be called before Django reads its settings."""
        os.environ.update(self.direct)

    async def start_stores(self) -> None:
        """Start the stores and wait until they take writes.

        Raises:
            TimeoutError, StoreUnavailable: they do not come up.
        """
        redises = [] if self.redis_cluster else [self.redis] + ([self.replica] if self.replica else [])
        for process in (*self.mongos, *redises):
            process.start()
        if self.redis_cluster:
            await self.redis_cluster.start()
        for process in redises:
            await self.redis_answers(process)
        if self.replica:
            self.replica_follows(self.replica, self.redis)
            for sentinel in self.sentinels:
                sentinel.start()
        await until(lambda: initiate([mongo.port for mongo in self.mongos]), START_SECONDS, "MongoDB")
        await self.mongo_takes_writes()

    async def start_processes(self) -> None:
        """Start the web tier and the workers; returns once the web tier answers."""
        for proxy in (self.redis_proxy, self.mongo_proxy):
            if proxy:
                await proxy.start()
        for process in (self.web, *self.workers):
            process.start()
        await self.web_answers(self.web)
        if self.sentinels:
            await until(lambda: sentinel_sees(self.sentinels[0].port, SERVICE, 1), START_SECONDS, "Sentinel")

    async def stop(self) -> None:
        """End everything, front to back."""
        await asyncio.gather(*(process.end() for process in (self.web, *self.extra_web, *self.workers)))
        for proxy in (self.redis_proxy, self.mongo_proxy):
            if proxy:
                await proxy.stop()
        nodes = self.redis_cluster.nodes if self.redis_cluster else []
        stores = [*self.sentinels, *([self.replica] if self.replica else []), self.redis, *nodes, *self.mongos]
        for process in stores:
            process.signal(signal.SIGCONT)
            process.kill()

    async def redis_answers(self, process: Process) -> None:
        """Wait until a Redis has loaded its data."""
        await until(lambda: gate_answers(process.port), START_SECONDS, process.name)

    async def mongo_takes_writes(self) -> None:
        """Wait until the replica set has a primary."""
        await until(self._has_primary, START_SECONDS, "MongoDB")

    async def primary(self) -> Process:
        """The MongoDB node that is the primary now.

        Raises:
            StoreUnavailable: there is none.
        """
        for mongo in self.mongos:
            if mongo.is_running and await is_primary(mongo.port):
                return mongo
        raise StoreUnavailable("no MongoDB node is the primary")

    async def web_answers(self, web: Process) -> None:
        """Wait until a web tier serves."""
        await until(lambda: _serves(web.port), START_SECONDS, web.name)

    async def add_web(self, name: str, **environment: str) -> Process:
        """Start one more web tier, on a port of its own; returns once it answers."""
        web = self._web(name, **environment)
        web.start()
        await self.web_answers(web)
        self.extra_web.append(web)
        return web

    def replica_follows(self, replica: Process, primary: Process) -> None:
        """Make one Redis the replica of another from its next start on, and now."""
        from redis import Redis

        client = Redis(port=replica.port)
        client.replicaof("127.0.0.1", str(primary.port))
        client.close()

    async def _has_primary(self) -> bool:
        try:
            await self.primary()
        except StoreUnavailable:
            return False
        return True

    def _mongo(self, number: int) -> Process:
        port, folder = free_port(), self.folder / f"mongo-{number}"
        command = [
            str(mongo_binary()),
            *("--port", str(port), "--bind_ip", "127.0.0.1", "--dbpath", str(folder)),
            *("--replSet", "rs0", "--wiredTigerCacheSizeGB", "0.25", "--nounixsocket", "--quiet"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false", "--setParameter", "enableTestCommands=1"),
        ]
        return Process(f"mongo-{number}", command, folder, port)

    def _redis(self, name: str, port: int) -> Process:
        folder = self.folder / name
        command = [
            str(redis_binary()),
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--daemonize", "no"),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--enable-debug-command", "local"),
            *("--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0"),
        ]
        return Process(name, command, folder, port)

    def _redis_url(self) -> str:
        if self.redis_cluster:
            return self.redis_cluster.url
        if not self.sentinels:
            return f"redis://127.0.0.1:{self.redis.port}/0"
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def _sentinel(self, number: int) -> Process:
        port, folder = free_port(), self.folder / f"sentinel-{number}"
        folder.mkdir(parents=True)
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.redis.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 1500\n"
            f"sentinel failover-timeout {SERVICE} 6000\n"
        )
        return Process(f"sentinel-{number}", [str(redis_binary()), str(settings), "--sentinel"], folder, port)

    def _web(self, name: str, **environment: str) -> Process:
        port = free_port()
        arguments = ("serve", "--port", str(port), "--workers", "2")
        return self._manage(name, *arguments, port=port, **environment)

    def _worker(self, name: str) -> Process:
        return self._manage(name, "run_worker")

    def _manage(self, name: str, *arguments: str, port: int = 0, **environment: str) -> Process:
        command = [sys.executable, str(BASE_DIR / "manage.py"), *arguments]
        environment = self.environment | {"PYTHONDONTWRITEBYTECODE": "1"} | environment
        return Process(name, command, self.folder / name, port, environment)


async def _serves(port: int) -> bool:
    return await http_status(port, "/healthz") == 200
