"""Questions to one server of an installation: is it up, is it the primary? And making a replica set of several."""

from __future__ import annotations

import asyncio
from typing import Any

import redis.asyncio as redis
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError
from redis.exceptions import RedisError

from flashdrop.faults.http import request

ALREADY_INITIALIZED = 23
ASK_SECONDS = 1.0
# A replica set that notices the loss of its primary sooner than MongoDB's default of ten seconds.
ELECTION_MS, HEARTBEAT_MS = 2000, 500


async def gate_answers(port: int) -> bool:
    """Whether the Redis on `port` answers and has loaded its data."""
    client = redis.Redis(port=port, socket_connect_timeout=ASK_SECONDS, socket_timeout=ASK_SECONDS)
    try:
        return bool(await client.ping())
    except RedisError:
        return False
    finally:
        await client.aclose()


async def sentinel_sees(port: int, service: str, replicas: int) -> bool:
    """Whether a Sentinel knows the primary, that many replicas, and the other Sentinels."""
    client = redis.Redis(port=port, socket_timeout=ASK_SECONDS, decode_responses=True)
    try:
        state: Any = await client.sentinel_master(service)
        return int(state["num-slaves"]) >= replicas and int(state["num-other-sentinels"]) >= 2
    except RedisError:
        return False
    finally:
        await client.aclose()


async def sentinels_primary(port: int, service: str) -> int:
    """The port of the primary that a Sentinel names."""
    client = redis.Redis(port=port, socket_timeout=ASK_SECONDS, decode_responses=True)
    try:
        _, found = await client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)  # type: ignore[no-untyped-call]
        return int(found)
    finally:
        await client.aclose()


def client_of(port: int, patience_ms: int = 500) -> AsyncMongoClient[dict[str, Any]]:
    """A client of this one MongoDB node."""
    return AsyncMongoClient(
        "127.0.0.1",
        port,
        directConnection=True,
        serverSelectionTimeoutMS=patience_ms,
        socketTimeoutMS=max(2000, patience_ms),
    )


async def is_primary(port: int) -> bool:
    """Whether the MongoDB node on `port` is the primary."""
    client = client_of(port)
    try:
        return bool((await client.admin.command("hello")).get("isWritablePrimary"))
    except PyMongoError:
        return False
    finally:
        await client.close()


async def initiate(ports: list[int]) -> bool:
    """Make the nodes on `ports` one replica set, the first preferred as primary. Whether it is one now."""
    members = [{"_id": i, "host": f"127.0.0.1:{port}", "priority": 2 if i == 0 else 1} for i, port in enumerate(ports)]
    settings = {"electionTimeoutMillis": ELECTION_MS, "heartbeatIntervalMillis": HEARTBEAT_MS}
    client = client_of(ports[0])
    try:
        await client.admin.command("replSetInitiate", {"_id": "rs0", "members": members, "settings": settings})
    except OperationFailure as error:
        return error.code == ALREADY_INITIALIZED
    except PyMongoError:
        return False
    finally:
        await client.close()
    return True


async def http_status(port: int, path: str) -> int:
    """The status that a web tier answers with, 0 when it doesn't."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            line = await reader.readline()
            writer.close()
            return int(line.split()[1])
    except (OSError, TimeoutError, IndexError, ValueError):
        return 0


async def shows_active(port: int, sku: str) -> bool:
    """Whether the web worker that happens to answer shows the sale as open."""
    try:
        reply = await request(port, "GET", f"/api/products/{sku}/sale-status", {})
    except OSError:
        return False
    return reply.data.get("phase") == "active"
