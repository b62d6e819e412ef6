"""The shop under test: `manage.py serve` and a worker as real processes, and what each of them costs."""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flashdrop.bench.stores import Stores
from flashdrop.embedded.process import Server, free_port

BASE_DIR = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 30.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
WORKERS = 2


class Shop:
    """A web tier of `workers` processes and one worker over the benchmark's stores."""

    def __init__(self, stores: Stores, workers: int = WORKERS) -> None:
        self._stores = stores
        self._workers = workers
        self._running: dict[str, Server] = {}
        self.port = free_port()
        self.seconds_to_answer = 0.0
        """From the start of `serve` to its first answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start both; returns once the web tier answers.

        Raises:
            StoreUnavailable: it does not.
        """
        began = time.perf_counter()
        web = self._manage("serve", "--port", str(self.port), "--workers", str(self._workers))
        web.wait_until(self._answers, START_SECONDS)
        self.seconds_to_answer = time.perf_counter() - began
        self._manage("run_worker")

    def stop(self) -> None:
        """End both."""
        for server in self._running.values():
            server.stop()

    def web_pids(self) -> list[int]:
        """The web workers, without their supervisor."""
        return children_of(self._running["serve"].process.pid)

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time used so far by each part of the shop."""
        return {
            "web": sum(map(cpu_seconds_of, self.web_pids())),
            "worker": cpu_seconds_of(self._running["run_worker"].process.pid),
            "redis": cpu_seconds_of(self._stores.redis.process.pid),
            "mongod": cpu_seconds_of(self._stores.mongo.process.pid),
        }

    def _manage(self, name: str, *arguments: str) -> Server:
        command = [sys.executable, str(BASE_DIR / "manage.py"), name, *arguments]
        server = self._running[name] = Server(name, command, self._stores.folder / f"{name}.log")
        return server

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as response:  # noqa: S310
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def running_shop(stores: Stores, workers: int = WORKERS) -> Iterator[Shop]:
    """A shop for the length of a `with` block."""
    shop = Shop(stores, workers)
    try:
        shop.start()
        yield shop
    finally:
        shop.stop()


def cpu_seconds_of(pid: int) -> float:
    """User and system time of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def memory_bytes_of(pid: int) -> int:
    """Memory that is this process's alone or its share of what it has in common with others (Linux)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no Pss of process {pid}")


def children_of(pid: int) -> list[int]:
    """The processes that a process has forked (Linux)."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
