"""The MongoDB connection: one client per event loop, every write majority and journaled."""

from __future__ import annotations

from typing import Any

from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from flashdrop.config import config
from flashdrop.loops import PerLoop

__all__ = ["Collection", "Document", "PyMongoError", "collection", "database", "mongo"]

Document = dict[str, Any]
Client = AsyncMongoClient[Document]
Collection = AsyncCollection[Document]

SELECT_SERVER_MS = 2_000
CONNECT_MS = 1_000
# The server gives up waiting for a majority after this long; the write may still happen, so its outcome is "unknown".
MAJORITY_MS = 5_000
SOCKET_MS = 10_000
DEFAULT_DATABASE = "flashdrop"

DURABLE = WriteConcern(w="majority", j=True, wtimeout=MAJORITY_MS)


def new_mongo(url: str) -> Client:
    """A client for the running loop, every wait bounded."""
    return AsyncMongoClient(
        url,
        serverSelectionTimeoutMS=SELECT_SERVER_MS,
        connectTimeoutMS=CONNECT_MS,
        socketTimeoutMS=SOCKET_MS,
        maxPoolSize=16,
        retryWrites=True,
        tz_aware=True,
        appname="flashdrop",
    )


async def _close(client: Client) -> None:
    await client.close()


mongo: PerLoop[Client] = PerLoop(lambda: new_mongo(config.mongodb_url), _close)


def database() -> AsyncDatabase[Document]:
    """The database named in `MONGODB_URL`, else `flashdrop`: durable writes, and reads of what can't be rolled back."""
    return mongo().get_default_database(
        DEFAULT_DATABASE,
        write_concern=DURABLE,
        read_concern=ReadConcern("majority"),
        read_preference=ReadPreference.PRIMARY,
    )


def collection(name: str) -> Collection:
    """One collection of the ledger, with durable writes."""
    return database()[name]
