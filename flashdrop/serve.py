"""The web tier of one host: N uvicorn workers, each with a listening socket of its own.

`SO_REUSEPORT` lets the kernel spread new connections over the workers. The supervisor forks them before any store
client or event loop exists, replaces one that dies, and drains all of them on SIGTERM or SIGINT: a worker stops
accepting, finishes what it has, sends websocket viewers away with 1012, and exits.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from flashdrop.siblings import Siblings, adopt

# A worker that keeps dying at once is restarted no more often than this.
RESTART_PAUSE_SECONDS = 1.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
log = logging.getLogger(__name__)


class AddressTaken(Exception):
    """Something else listens there; the text says where and what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listening_socket(address: Address) -> socket.socket:
    """A socket that shares its address with those of our other workers."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((address.host, address.port))
    sock.set_inheritable(True)
    return sock


def check_free(address: Address) -> None:
    """Make sure that nobody listens at `address`; SO_REUSEPORT alone would let us share it with a forgotten server.

    Raises:
        AddressTaken: somebody does, or the address is not ours to use.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address.host, address.port))
        except OSError as error:
            raise AddressTaken(
                f"Can't listen at {address}: {error.strerror}. "
                f"Stop what runs there, or choose another port: PORT={address.port + 1}."
            ) from error


class Supervisor:
    """Starts `workers` processes and keeps that many until told to stop."""

    def __init__(self, address: Address, workers: int) -> None:
        self._address = address
        self._workers = workers
        self._born: dict[int, float] = {}
        self._places: dict[int, int] = {}
        self._siblings = Siblings(workers)
        self._stopping = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            AddressTaken: something else listens there.
        """
        check_free(self._address)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        for _ in range(self._workers):
            self._fork()
        log.info("serving at http://%s with %d workers", self._address, self._workers)
        self._watch()

    def _watch(self) -> None:
        while self._born:
            try:
                pid, status = os.wait()
            except InterruptedError:
                continue
            born = self._born.pop(pid, None)
            self._places.pop(pid, None)
            _forget_metrics_of(pid)
            if self._stopping or born is None:
                continue
            log.error("worker %d ended with status %d; starting another", pid, os.waitstatus_to_exitcode(status))
            if time.monotonic() - born < RESTART_PAUSE_SECONDS:
                time.sleep(RESTART_PAUSE_SECONDS)
            if not self._stopping:
                self._fork()

    def _fork(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        # Held back meanwhile: no signal finds a worker that is not on the list, or one that still has our handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        place = min(set(range(self._workers)) - set(self._places.values()))
        pid = os.fork()
        if pid == 0:
            adopt(self._siblings, place)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until uvicorn takes it over, and after it gives it back
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor tells us
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            end_with_parent()
            _work(self._address)
        self._born[pid] = time.monotonic()
        self._places[pid] = place
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        if self._stopping:  # told just before
            self._end_workers()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._end_workers()

    def _end_workers(self) -> None:
        for pid in list(self._born):
            with contextlib.suppress(ProcessLookupError):  # ended, and not yet off the list
                os.kill(pid, signal.SIGTERM)


def end_with_parent() -> None:
    """In a child: be told to end when the parent ends, however it ends (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _work(address: Address) -> None:
    """The life of one worker process; never returns."""
    from flashdrop.web_worker import WebServer  # with Django set up, and after the fork

    code = 1
    try:
        server = WebServer()
        server.run(sockets=[listening_socket(address)])
        code = 0 if server.started else 3
    except BaseException:
        log.exception("a web worker failed")
    finally:
        logging.shutdown()
        os._exit(code)


def share_metrics() -> None:
    """Give the workers a directory, empty at each start, in which their metrics add up.

    To be called before anything imports `prometheus_client`, which looks for the directory only then.
    """
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if directory is None:
        directory = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="flashdrop-metrics-")
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        return
    # Only what the library wrote there: the directory is the operator's.
    Path(directory).mkdir(parents=True, exist_ok=True)
    for file in Path(directory).glob("*.db"):
        file.unlink(missing_ok=True)


def _forget_metrics_of(pid: int) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
