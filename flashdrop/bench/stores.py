"""Stores of a benchmark's own, in a temporary folder, and the environment that points at them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flashdrop.embedded.mongo_server import start_mongo
from flashdrop.embedded.process import Server
from flashdrop.embedded.redis_server import start_redis


@contextmanager
def own_stores() -> Iterator[Path]:
    """Start a gate and a ledger and point this process at them; to be entered before Django is set up."""
    folder = Path(tempfile.mkdtemp(prefix="flashdrop-bench-"))
    started: list[Server] = []
    try:
        server, redis_url = start_redis(folder / "redis")
        started.append(server)
        server, mongodb_url = start_mongo(folder / "mongo")
        started.append(server)
        os.environ.update(
            SECRET_KEY="benchmark",  # noqa: S106
            REDIS_URL=redis_url,
            MONGODB_URL=mongodb_url,
            DATABASE_URL=f"sqlite:///{folder}/db.sqlite3",
            FLASHDROP_DATA_DIR=str(folder),
            DJANGO_SETTINGS_MODULE="flashdrop.settings",
            LOG_LEVEL="ERROR",
        )
        yield folder
    finally:
        for server in started:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
