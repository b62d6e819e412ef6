"""The processes of `make run`: one that ends by itself is told, how and with what last words, and begun again."""

from __future__ import annotations

import contextlib
import ctypes  # noqa: F401  loaded here, so that no child has to between fork and exec
import signal
import subprocess
import sys
import threading
import time
from collections import deque

from flashdrop.embedded.process import Server, apart_but_not_alone

LAST_WORDS = 8
# So often within so many seconds, and it is of no use to try again.
MOST_ENDS = 5
WITHIN_SECONDS = 60.0
LONGEST_PAUSE = 15.0


class Part:
    """One `manage.py` process. What it prints goes on to our own standard error; its last lines are kept."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._ends: list[float] = []
        self.start()

    def start(self) -> None:
        """Begin, also once more."""
        self._lines: deque[bytes] = deque(maxlen=LAST_WORDS)
        # Ctrl-C in the terminal reaches us alone, and we stop everything in order.
        self.process = subprocess.Popen(  # noqa: S603
            self._command,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=apart_but_not_alone,  # noqa: PLW1509
        )
        self._reader = threading.Thread(target=self._pass_on, args=(self.process, self._lines), daemon=True)
        self._reader.start()

    def obituary(self) -> str:
        """Which process it was, how it ended, and its last words."""
        self._reader.join(1.0)  # what its own children still print is not waited for
        return obituary(self.name, self.process, b"".join(list(self._lines)).decode(errors="replace"))

    def pause_before_again(self) -> float | None:
        """Seconds to wait before it is begun again; None when it has ended too often."""
        now = time.monotonic()
        self._ends = [at for at in self._ends if now - at < WITHIN_SECONDS] + [now]
        return None if len(self._ends) > MOST_ENDS else min(LONGEST_PAUSE, 2.0 ** (len(self._ends) - 1))

    @staticmethod
    def _pass_on(process: subprocess.Popen[bytes], lines: deque[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            with contextlib.suppress(OSError, ValueError):  # a terminal that was closed: it must still be drained
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()


def obituary_of(store: Server) -> str:
    """The same for a store that we started; its words are in its log."""
    return obituary(store.name, store.process, f"{store.last_words()}\n({store.log_file})")


def obituary(name: str, process: subprocess.Popen[bytes], words: str) -> str:
    """A paragraph about a process that has ended."""
    code = process.returncode
    how = f"was killed by {_signal(-code)}" if code < 0 else f"ended by itself with exit code {code}"
    said = "".join(f"\n    {line}" for line in words.splitlines()) or " none"
    return f"\n{name} (process {process.pid}) {how}. Its last words:{said}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
