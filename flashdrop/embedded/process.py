"""A server process that we start, wait for, and stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from flashdrop.serve import end_with_parent

STOP_SECONDS = 15.0


class StoreUnavailable(Exception):
    """A store can't be started here; the text says why and what to do next."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def apart_but_not_alone() -> None:
    """In a child, before exec: stay out of the terminal's Ctrl-C, and end when the parent ends."""
    os.setsid()
    end_with_parent()


class Server:
    """One running server; `log_file` has what it printed."""

    def __init__(self, name: str, command: list[str], log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        with log_file.open("ab") as log:
            # Safe here: nothing else of this process runs between fork and exec.
            self.process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=apart_but_not_alone,  # noqa: PLW1509
            )

    def wait_until(self, is_ready: Callable[[], bool], seconds: float) -> None:
        """Return once `is_ready` says so.

        Raises:
            StoreUnavailable: it ended, or was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise StoreUnavailable(f"{self.name} ended at once. Its last words:\n{self.last_words()}")
            if is_ready():
                return
            time.sleep(0.05)
        self.stop()
        raise StoreUnavailable(f"{self.name} was not ready after {seconds:.0f} s. Its last words:\n{self.last_words()}")

    def stop(self) -> None:
        """End it, gently first. Safe to repeat."""
        if self.process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()

    def last_words(self) -> str:
        """The end of what it printed."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-8:])
        return f"(nothing readable in {self.log_file})"
