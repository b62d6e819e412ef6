"""The installation: what deploy/ describes, as native processes on loopback.

nginx with the shipped configuration, three web hosts, two workers, MongoDB as a replica set of three, Redis with a
replica and three Sentinels, PostgreSQL, and Prometheus with the shipped rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from flashdrop.cluster.servers import Nginx, Postgres, prometheus
from flashdrop.embedded.process import free_port
from flashdrop.faults.cluster import START_SECONDS, Cluster, Topology
from flashdrop.faults.processes import Process, until
from flashdrop.faults.ready import http_status

WEB_HOSTS = 3
OK = 200


class Installation(Cluster):
    """All of it. Shoppers know nginx only; its port is `port`, or any that is free."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.postgres = Postgres(folder / "postgres")
        settings = {"DATABASE_URL": self.postgres.url, "TRUSTED_PROXY_COUNT": "1", "LOG_FORMAT": "json"}
        super().__init__(folder, Topology(mongo_nodes=3, sentinel=True), settings)
        self.hosts = [self.web, *(self._web(f"web-{number}") for number in range(1, WEB_HOSTS))]
        ports = [host.port for host in self.hosts]
        self.nginx = Nginx(folder / "nginx", port or free_port(), ports, folder / "static")
        self.prometheus = prometheus(folder / "prometheus", ports, [worker.port for worker in self.workers])

    @property
    def webs(self) -> list[Process]:
        """Where shoppers go."""
        return [self.nginx] if self.nginx.is_running else []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.nginx.port}"

    def everything(self) -> Iterator[Process]:
        """Every process, front to back."""
        yield from (self.nginx, *self.hosts, *self.workers, self.redis)
        yield from [self.replica] if self.replica else []
        yield from (*self.sentinels, *self.mongos, self.postgres, self.prometheus)

    async def start_stores(self) -> None:
        await asyncio.gather(asyncio.to_thread(self.postgres.start), super().start_stores())

    async def start_processes(self) -> None:
        """Start what is ours, and nginx and Prometheus; returns once a shopper is answered."""
        for host in self.hosts[1:]:
            host.start()
        self.prometheus.start()
        await super().start_processes()
        for host in self.hosts:
            await self.ready(host)
        self.nginx.start()
        await self.answers(self.nginx)

    async def stop(self) -> None:
        """End everything, front to back."""
        await self.nginx.end()
        await asyncio.gather(*(process.end() for process in (*self.hosts, self.prometheus)))
        await super().stop()
        await self.postgres.end()

    async def answers(self, process: Process) -> None:
        """Wait until nginx, or a web host, is alive."""
        await self._says_ok(process, "/healthz")

    async def ready(self, host: Process) -> None:
        """Wait until a web host says that it can sell."""
        await self._says_ok(host, "/readyz")

    async def restart(self, host: Process) -> None:
        """Replace a web host as a deployment does: SIGTERM, its drain, a new one, and on when that is ready."""
        await host.end()
        host.start()
        await self.ready(host)

    async def _says_ok(self, process: Process, path: str) -> None:
        async def says() -> bool:
            return await http_status(process.port, path) == OK

        await until(says, START_SECONDS, f"{process.name} {path}")

    def _web(self, name: str, **environment: str) -> Process:
        port = free_port()
        return self._manage(name, "serve", "--port", str(port), "--workers", "1", port=port, **environment)

    def _worker(self, name: str) -> Process:
        port = free_port()
        return self._manage(name, "run_worker", port=port, WORKER_METRICS_PORT=str(port))
