"""The register: which sales the ledger must have, kept at the gate, so that a ledger that has lost them is found out.

A sale is entered when it is published, and by workers again and again, for Redis may lose its data. It is never taken
out because the ledger doesn't have it: that is what it is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flashdrop.metrics import timed
from flashdrop.redis_client import Gate, one_for_each_server
from sales.keys import PUBLISHED_SALES, probe_key

# What a probe has written goes away by itself.
PROBE_SECONDS = 10


@timed("redis")
async def sales(client: Gate) -> dict[str, str]:
    """Sale id to sku of every sale that the ledger must have.

    Raises:
        redis.exceptions.RedisError: the gate can't be asked.
    """
    found: Any = await client.hgetall(PUBLISHED_SALES)
    return dict(found)


@timed("redis")
async def enter(client: Gate, wanted: Mapping[str, str]) -> None:
    """Add sales, sale id to sku; to be called only for what the ledger has, or has had. Safe to repeat."""
    if wanted:
        await client.hset(PUBLISHED_SALES, items=[part for pair in wanted.items() for part in pair])


@timed("redis")
async def forget(client: Gate, sale_id: str) -> None:
    """Take a sale out: it is archived, or an operator knows that it is gone for good. Safe to repeat."""
    await client.hdel(PUBLISHED_SALES, sale_id)


@timed("redis")
async def probe(client: Gate, sale_ids: Sequence[str]) -> None:
    """Write something small to each server that holds one of these sales, as a purchase would.

    Raises:
        redis.exceptions.RedisError: one of them can't be asked, or refuses; the text says why.
    """
    for key in one_for_each_server(client, [probe_key(sale_id) for sale_id in sale_ids or [""]]):
        await client.set(key, 1, ex=PROBE_SECONDS)
