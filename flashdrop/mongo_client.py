"""The MongoDB connection: one client per event loop, every write majority and journaled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from flashdrop.config import config
from flashdrop.loops import PerLoop

__all__ = ["Collection", "Document", "PyMongoError", "collection", "database", "members_say", "mongo", "within"]

T = TypeVar("T")
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
        # A time beyond Python's years would else keep everything from being read, not its own document alone.
        datetime_conversion="DATETIME_CLAMP",
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


async def members_say(url: str) -> dict[str, Document | str]:
    """What each member that the address names says of itself (`hello`), asked directly; its failure as text.

    For telling why a client finds no primary: it is not told which servers answer but can't be used.

    Raises:
        pymongo.errors.PyMongoError: the address can't be understood.
    """
    parsed = parse_uri(url, warn=False)
    tls = {name: value for name, value in parsed["options"].items() if name.lower().startswith("tls")}

    async def say(host: str, port: int | None) -> tuple[str, Document | str]:
        client: Client = AsyncMongoClient(
            host, port, directConnection=True, serverSelectionTimeoutMS=CONNECT_MS, socketTimeoutMS=CONNECT_MS, **tls
        )
        try:
            return f"{host}:{port}", await client.admin.command("hello")
        except PyMongoError as error:
            return f"{host}:{port}", str(error)
        finally:
            await client.close()

    return dict(await asyncio.gather(*(say(host, port) for host, port in parsed["nodelist"])))


_late: set[asyncio.Task[Any]] = set()


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, if it comes in time; else it is left to end by itself.

    A call of pymongo must not be cancelled: one that is cancelled while it looks for a server gives up a lock that it
    does not hold, and the calls beside it fail with a RuntimeError (PYTHON-5167).

    Raises:
        TimeoutError: not in time.
    """
    task = asyncio.create_task(work)
    _late.add(task)
    task.add_done_callback(_forget)
    await asyncio.wait((task,), timeout=seconds)
    if not task.done():
        raise TimeoutError
    return task.result()


def _forget(task: asyncio.Task[Any]) -> None:
    _late.discard(task)
    if not task.cancelled():
        task.exception()  # whoever waited has gone; it must not be reported as never retrieved
