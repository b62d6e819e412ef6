"""The hidden copy of a sale: real at the gate and in the ledger, unknown to the shop, and removed without a trace.

Three things keep it from shoppers. The ledger has it as not published and marks it as a rehearsal, so that
`catalogue.every` leaves it out: no board lists it or takes an order for it, and no worker tends it. Only the gate has
it as published, and only who holds its settings can ask the gate about it. Its sku is not to be guessed.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flashdrop.redis_client import redis
from orders import indexes, ledger
from orders.reserving import reservations
from orders.settlement import confirmations, forgetting
from sales import catalogue, stock
from sales.gate import Publication
from sales.keys import sale_keys
from sales.published import PublishedSale, SaleSettings

PREFIX = "rehearsal-"
# Its gate is gone after this, whatever became of the process that rehearsed.
LEFT_SECONDS = 180
# What a process that died has left in the ledger goes when the next rehearsal begins, this long after its window.
OVER = timedelta(seconds=30)
log = logging.getLogger(__name__)


class NotInForce(Exception):
    """The gate does not take the copy's settings."""


class HiddenCopy:
    """A sale like `original`, with a stock and a window of its own. Make it with `open`, end it with `remove`."""

    def __init__(self, original: SaleSettings, units: int, opens_at: datetime, closes_at: datetime) -> None:
        sale_id = PREFIX + secrets.token_hex(12)
        values: dict[str, Any] = {one.name: getattr(original, one.name) for one in fields(SaleSettings)}
        self._settings = SaleSettings(
            **values
            | {
                "id": sale_id,
                "sku": sale_id,
                "stock": units,
                "opens_at": opens_at,
                "closes_at": closes_at,
                "paused": False,
                "published": False,
            }
        )
        self._original_id = original.id
        self.sale: PublishedSale

    @property
    def id(self) -> str:
        return self._settings.id

    async def publish(self, **changes: Any) -> None:
        """Put the settings, with `changes`, into the ledger and in force at the gate, as publishing a sale does.

        Raises:
            NotInForce: the gate has lost the copy.
            pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store is away.
        """
        self._settings = replace(self._settings, **changes)
        await indexes.prepare()  # as for any sale: the ledger may be new
        self.sale = await catalogue.save(self._settings, rehearsal_of=self._original_id)
        at_gate = replace(self.sale, published=True)
        outcome, _ = await stock.publish(redis(), at_gate, create=self.sale.version == 1)
        if outcome is not Publication.APPLIED:
            raise NotInForce(f"the gate answers {outcome.name}")
        await self.let_expire()

    async def let_expire(self) -> None:
        """Have the gate forget what it holds of the copy by now, in a while."""
        for key in sale_keys(self.id):
            await redis().expire(key, LEFT_SECONDS)

    async def settle(self) -> None:
        """Wait until everything that was handed to this process's batches is done."""
        await reservations().drain()
        await confirmations().drain()
        await forgetting().drain()


async def remove(sale_id: str) -> int:
    """Take a rehearsal off the gate and out of the ledger, with its orders; returns how many those were. Repeatable.

    Raises:
        ValueError: `sale_id` is no rehearsal.
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store is away; what is left goes later.
    """
    if not sale_id.startswith(PREFIX):
        raise ValueError(f"{sale_id} is no rehearsal")
    if not await catalogue.is_rehearsal(sale_id):
        return 0
    await redis().delete(*sale_keys(sale_id))
    orders = await ledger.remove_rehearsed(sale_id)
    # Last: its mark is what allows the rest.
    await catalogue.remove_rehearsal(sale_id)
    return orders


async def sweep() -> int:
    """Remove what rehearsals that died half-way have left. Returns how many.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store is away.
    """
    left = [one for one in await catalogue.rehearsals() if one.closes_at + OVER < datetime.now(UTC)]
    for one in left:
        log.warning("removing %s, which a rehearsal has left", one.id)
        await remove(one.id)
    return len(left)
