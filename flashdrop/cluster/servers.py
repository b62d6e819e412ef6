"""The servers of an installation that the fault suite has no need of."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from flashdrop.cluster.proxy_files import command as in_foreground
from flashdrop.cluster.proxy_files import lay, nginx_binary
from flashdrop.dashboards.prometheus import command, shipped_rules
from flashdrop.embedded.postgres_server import start_postgres
from flashdrop.embedded.process import free_port
from flashdrop.faults.processes import Process, until

SCRAPE_EVERY = "1s"
GONE_SECONDS = 10.0


class Postgres(Process):
    """Django's own tables."""

    def __init__(self, folder: Path) -> None:
        super().__init__("postgres", [], folder, free_port())

    @property
    def url(self) -> str:
        return f"postgres://flashdrop@127.0.0.1:{self.port}/flashdrop"

    def start(self, *arguments: str) -> None:
        """Start it; returns once it takes connections."""
        self._server, url = start_postgres(self.folder, self.port)
        assert url == self.url

    async def end(self, seconds: float = GONE_SECONDS) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)


class Nginx(Process):
    """The shipped configuration of nginx, with the web hosts on loopback behind it."""

    def __init__(self, folder: Path, port: int, web_ports: Sequence[int], static_root: Path) -> None:
        prefix = folder / "prefix"
        settings = lay(prefix, port=port, web_ports=web_ports, static_root=static_root)
        super().__init__("nginx", in_foreground(nginx_binary(), settings), folder, port)


def prometheus(folder: Path, web_ports: Sequence[int], worker_ports: Sequence[int]) -> Process:
    """A Prometheus with the shipped rules, which scrapes every process there is."""
    folder.mkdir(parents=True)
    port = free_port()
    targets = {
        "flashdrop-web": [f"127.0.0.1:{web}" for web in web_ports],
        "flashdrop-worker": [f"127.0.0.1:{worker}" for worker in worker_ports],
    }
    return Process("prometheus", command(folder, port, targets, shipped_rules(), SCRAPE_EVERY), folder, port)


async def kill_with_children(process: Process) -> None:
    """SIGKILL of a process and of all it has forked; returns when none of them is left."""
    pids = process.children()
    process.kill()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    async def gone() -> bool:
        return not any(map(_exists, pids))

    await until(gone, GONE_SECONDS, f"the children of {process.name} end")


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
