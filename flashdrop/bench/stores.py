"""Stores of a benchmark's own, in a temporary folder, and the environment that points at them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flashdrop.embedded.mongo_server import start_mongo
from flashdrop.embedded.process import Server
from flashdrop.embedded.redis_server import start_redis


@dataclass(frozen=True, slots=True)
class Stores:
    """A gate and a ledger, and the folder they keep their data in."""

    folder: Path
    redis: Server
    mongo: Server


@contextmanager
def own_stores() -> Iterator[Stores]:
    """Start a gate and a ledger and point this process at them; to be entered before Django is set up."""
    folder = Path(tempfile.mkdtemp(prefix="flashdrop-bench-"))
    started: list[Server] = []
    try:
        redis, redis_url = start_redis(folder / "redis")
        started.append(redis)
        mongo, mongodb_url = start_mongo(folder / "mongo")
        started.append(mongo)
        os.environ.update(
            SECRET_KEY="benchmark",  # noqa: S106
            DEBUG="0",
            ALLOWED_HOSTS="127.0.0.1",
            REDIS_URL=redis_url,
            MONGODB_URL=mongodb_url,
            DATABASE_URL=f"sqlite:///{folder}/db.sqlite3",
            FLASHDROP_DATA_DIR=str(folder),
            DJANGO_SETTINGS_MODULE="flashdrop.settings",
            LOG_LEVEL="ERROR",
            # All viewers are one address here.
            SOCKETS_MAX="100000",
            SOCKETS_PER_ADDRESS="100000",
        )
        yield Stores(folder, redis, mongo)
    finally:
        for server in started:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
