"""Reading a whole gate, for audits. Nothing here changes stock."""

from __future__ import annotations

from typing import NamedTuple

from flashdrop.redis_client import Gate
from sales.keys import sale_keys

SCANNED_AT_ONCE = 1000


class Record(NamedTuple):
    """What the gate holds under one order id."""

    shopper_id: str
    units: tuple[int, ...]


async def records(client: Gate, sale_id: str) -> dict[str, Record]:
    """Every reservation and order that the gate holds, by order id. Not one instant: what comes or goes may be missed.

    Raises:
        redis.exceptions.RedisError: the gate can't be asked.
    """
    found: dict[str, Record] = {}
    async for shopper_id, joined in client.hscan_iter(sale_keys(sale_id).shoppers, count=SCANNED_AT_ONCE):
        for part in joined.split(";"):
            order_id, units, *_ = part.split(" ")
            found[order_id] = Record(shopper_id, tuple(map(int, units.split(","))))
    return found
