"""One process of the installation, and waiting for what it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from flashdrop.embedded.process import Server

# Past its own drain, a web tier that has not ended is killed with all its workers.
DRAIN_SECONDS = 13.0


class Process:
    """One process of the installation, which may be started again after it ended."""

    def __init__(
        self, name: str, command: list[str], folder: Path, port: int = 0, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.port = port
        self.folder = folder
        self.command = command
        self._environment = environment or {}
        self._server: Server | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        assert self._server is not None, f"{self.name} was never started"
        return self._server.process.pid

    @property
    def is_running(self) -> bool:
        return self._server is not None and self._server.process.poll() is None

    @property
    def log_file(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self, *arguments: str) -> None:
        """Start it; `arguments` come after its own, for this time only."""
        command = [*self.command, *arguments]
        if self._environment:
            command = ["/usr/bin/env", *(f"{name}={value}" for name, value in self._environment.items()), *command]
        self._server = Server(self.name, command, self.log_file)

    def kill(self) -> None:
        """SIGKILL."""
        if self.is_running:
            self.signal(signal.SIGKILL)
            assert self._server is not None
            self._server.process.wait()

    def signal(self, number: int) -> None:
        """Send a signal while it runs."""
        if self.is_running:
            os.kill(self.pid, number)

    def children(self) -> list[int]:
        """The processes it has forked (Linux)."""
        with contextlib.suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    async def end(self, seconds: float = DRAIN_SECONDS) -> None:
        """SIGTERM, and SIGKILL for the whole session when that is not enough."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await until(self._has_ended, seconds, self.name)
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.kill()

    async def _has_ended(self) -> bool:
        return not self.is_running


async def until(check: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
    """Return once `check` says yes.

    Raises:
        TimeoutError: it never did; the text names `what`.
    """
    deadline = time.monotonic() + seconds
    while not await check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(0.05)
