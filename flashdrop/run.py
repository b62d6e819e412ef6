"""`make run`: from a fresh checkout to a working shop, and everything stopped again on Ctrl-C.

Starts the stores that the environment doesn't name, prepares Django's tables and the demo sale, then runs the web tier
and a worker. It imports no settings: it is what makes them available (`<data dir>/shop.env`).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from flashdrop.embedded.mongo_server import start_mongo
from flashdrop.embedded.process import Server, StoreUnavailable
from flashdrop.embedded.redis_server import start_redis
from flashdrop.running import MOST_ENDS, WITHIN_SECONDS, Part, obituary_of
from flashdrop.serve import Address, AddressTaken, check_free

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = BASE_DIR / ".flashdrop"
READY_SECONDS = 60.0
STOP_SECONDS = 20.0
ADMIN = "admin"


class CannotRun(Exception):
    """The shop can't be started; the text says why and what to do next."""


class Shop:
    """Everything one `make run` has started."""

    def __init__(self, data_dir: Path, address: Address) -> None:
        self._data_dir = data_dir
        self._address = address
        self._stores: list[Server] = []
        self._parts: list[Part] = []
        self._kept = _read_env_file(data_dir / "shop.env")

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self._address.host in ("0.0.0.0", "::") else self._address.host  # noqa: S104
        return f"http://{Address(host, self._address.port)}"

    def start(self) -> None:
        """Bring everything up, in order.

        Raises:
            CannotRun, StoreUnavailable, AddressTaken: with the next step in the text.
        """
        check_free(self._address)
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._start_stores()
        self._prepare()
        password = self._admin_password()
        self._spawn("The web server", "serve", "--host", self._address.host, "--port", str(self._address.port))
        self._spawn("The worker", "run_worker")
        self._wait_until_ready()
        self._manage("seed_demo")
        self._wait_until_ready()
        admin = os.environ.get("ADMIN_PATH", "admin/")
        print(
            f"\n  Shop    {self.url}/\n  Admin   {self.url}/{admin}   user {ADMIN}, password {password}"
            f"\n  Data    {self._data_dir}   (kept)"
            f"\n  Audit   {self._command_for('audit_sale')}"
            "\n\n  Ctrl-C stops everything.\n",
            flush=True,
        )

    def _command_for(self, *command: str) -> str:
        """A `manage.py` command over this shop's stores, to be typed in any folder."""
        setting = f"FLASHDROP_DATA_DIR={shlex.quote(str(self._data_dir))} " if self._data_dir != DATA_DIR else ""
        return setting + shlex.join([sys.executable, str(BASE_DIR / "manage.py"), *command])

    def wait(self) -> int:
        """Return when the shop can't go on, with the exit code for that.

        A web server or a worker that has ended is begun again, later each time. A store is not: why it ended is to be
        looked at first.
        """
        while self.has_stores():
            for part in self._parts:
                if part.process.poll() is not None and not self._begin_again(part):
                    return 1
            time.sleep(0.3)
        return 1

    def has_stores(self) -> bool:
        """Whether every store that was started still runs; says which one has ended."""
        for store in self._stores:
            if store.process.poll() is not None:
                _say(f"{obituary_of(store)}\n\nThe shop can't go on without it: everything is stopped.")
                return False
        return True

    def begin_anew(self) -> None:
        """End the web server and the worker, and start them from the files as they are now.

        Raises:
            CannotRun: it does not start; the text says why.
        """
        self._stop_parts()
        self._prepare()
        for part in self._parts:
            part.start()
        self._wait_until_ready()

    def _prepare(self) -> None:
        self._manage("migrate", "--verbosity", "0")
        self._manage("collectstatic", "--noinput", "--verbosity", "0")
        self._manage("ensure_indexes")

    def _begin_again(self, part: Part) -> bool:
        """Whether it was worth a try."""
        _say(part.obituary())
        pause = part.pause_before_again()
        if pause is None:
            _say(f"\nIt has ended {MOST_ENDS + 1} times within {WITHIN_SECONDS:.0f} s: everything is stopped.")
            return False
        _say(f"\nIt is started again in {pause:.0f} s.\n")
        time.sleep(pause)
        part.start()
        return True

    def stop(self) -> None:
        """End what was started: the web and the worker first, so that they can still finish what they have."""
        self._stop_parts()
        for store in self._stores:
            store.stop()

    def _stop_parts(self) -> None:
        for part in self._parts:
            if part.process.poll() is None:
                part.process.send_signal(signal.SIGTERM)
        for part in self._parts:
            try:
                part.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                part.process.kill()

    def _start_stores(self) -> None:
        # What was kept stays, also for stores that the environment names today: a replica set must keep its port.
        kept = {"SECRET_KEY": secrets.token_urlsafe(48)} | self._kept
        if not _is_named("REDIS_URL"):
            port = _port_of(self._kept.get("REDIS_URL"))
            server, kept["REDIS_URL"] = start_redis(self._data_dir / "redis", port)
            self._stores.append(server)
        if not _is_named("MONGODB_URL"):
            port = _port_of(self._kept.get("MONGODB_URL"))
            server, kept["MONGODB_URL"] = start_mongo(self._data_dir / "mongo", port)
            self._stores.append(server)
        path = self._data_dir / "shop.env"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}={value}\n" for name, value in kept.items()))

    def _admin_password(self) -> str:
        path = self._data_dir / "admin-password"
        if path.is_file():
            return path.read_text().strip()
        password = secrets.token_urlsafe(9)
        self._manage("ensure_admin", ADMIN, extra={"ADMIN_PASSWORD": password})
        path.touch(mode=0o600)
        path.write_text(password + "\n")
        return password

    def _environment(self) -> dict[str, str]:
        return os.environ | {"FLASHDROP_DATA_DIR": str(self._data_dir)}

    def _manage(self, *command: str, extra: dict[str, str] | None = None) -> None:
        done = subprocess.run(  # noqa: S603
            [sys.executable, str(BASE_DIR / "manage.py"), *command],
            env=self._environment() | (extra or {}),
            check=False,
        )
        if done.returncode:
            raise CannotRun(f"`manage.py {command[0]}` failed; what it printed above says why.")

    def _spawn(self, name: str, *command: str) -> None:
        self._parts.append(Part(name, [sys.executable, str(BASE_DIR / "manage.py"), *command], self._environment()))

    def _wait_until_ready(self) -> None:
        deadline, reasons = time.monotonic() + READY_SECONDS, "no answer yet"
        while time.monotonic() < deadline:
            for part in self._parts:
                if part.process.poll() is not None:
                    raise CannotRun(f"{part.obituary()}\n\nThe shop is not ready yet: everything is stopped.")
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=3):  # noqa: S310
                    return
            except urllib.error.HTTPError as error:
                reasons = _reasons(error)
            except OSError as error:
                reasons = str(error)
            time.sleep(0.1)
        raise CannotRun(f"The shop was not ready after {READY_SECONDS:.0f} s: {reasons}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _reasons(answer: urllib.error.HTTPError) -> str:
    try:
        return ", ".join(json.load(answer).get("reasons", []))
    except ValueError:
        return f"it answers {answer.code}; does ALLOWED_HOSTS name the host that it listens on?"


def _is_named(name: str) -> bool:
    """Whether the environment says where a store is, by itself or by a file."""
    return name in os.environ or bool(os.environ.get(f"{name}_FILE"))


def _port_of(url: str | None) -> int | None:
    """The port a store had before: a replica set remembers its address, so it must come back to it."""
    port = urlsplit(url).port if url else None
    if port is None:
        return None
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            raise CannotRun(
                f"Port {port}, where this checkout's store lives, is taken: perhaps another `make run` of it is still "
                "running. Stop that one, or choose another folder with FLASHDROP_DATA_DIR."
            ) from None
    return port


def _read_env_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def main(kind: type[Shop] = Shop) -> int:
    """The exit code of `make run`; `kind` is the shop that is run."""
    try:
        port = int(os.environ.get("PORT", "8000"))
    except ValueError:
        print(f"PORT must be a number, not {os.environ['PORT']!r}.", file=sys.stderr)
        return 2
    data_dir = Path(os.environ.get("FLASHDROP_DATA_DIR", DATA_DIR)).resolve()
    # Told to end, or the terminal was closed; SIGINT too, since a shell may have had it ignored for us.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    shop: Shop | None = None
    try:
        shop = kind(data_dir, Address(os.environ.get("HOST", "127.0.0.1"), port))
        shop.start()
        return shop.wait()
    except (CannotRun, StoreUnavailable, AddressTaken) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)
        return 0
    finally:
        if shop is not None:
            with contextlib.suppress(KeyboardInterrupt):
                shop.stop()


if __name__ == "__main__":
    sys.exit(main())
