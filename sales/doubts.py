"""What makes stores unfit to sell by, though they answer: writes that the gate refuses, what the ledger has lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum

from flashdrop.redis_client import RedisConnectionError, RedisError, RedisTimeoutError, redis
from sales import catalogue, register
from sales.published import PublishedSale

# A purchase is turned away, and the page says so, within two seconds.
PROBE_SECONDS = 1.0
ANSWER_SECONDS = 1.0
NAMED = 5
log = logging.getLogger(__name__)


class Doubt(StrEnum):
    """About what."""

    INDEXES = "indexes"
    """The ledger lacks a unique index."""
    SALES = "sales"
    """The ledger has lost sales that were published."""
    WRITES = "writes"
    """The gate takes no writes."""


OF_LEDGER = frozenset({Doubt.INDEXES, Doubt.SALES})


class Doubts(dict[Doubt, str]):
    """Why nothing may be sold, in words. A store that does not answer leaves what is known of it as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[str] = set()
        """The ids of the sales that the ledger has lost."""
        self._register: dict[str, str] = {}
        self._probed_at = float("-inf")

    def note(self, about: Doubt, why: str | None) -> None:
        """Say why, or with None that it is no longer so."""
        if why is None:
            self.pop(about, None)
            return
        if about not in self:
            log.error("nothing is sold: %s", why)
        self[about] = why

    async def probe(self, sale_ids: Sequence[str]) -> None:
        """Once a second: could a purchase be written? A gate that is silent is for others to find out."""
        if time.monotonic() - self._probed_at < PROBE_SECONDS:
            return
        self._probed_at = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await register.probe(redis(), sale_ids)
        except (RedisConnectionError, RedisTimeoutError, TimeoutError) as error:
            log.debug("the gate can't be probed: %s", error)
        except RedisError as error:
            self.note(Doubt.WRITES, f"Redis refuses writes: {error}")
        else:
            self.note(Doubt.WRITES, None)

    async def read_register(self) -> bool:
        """Which sales the ledger must have. Returns whether the gate has told."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._register = await register.sales(redis())
        except (RedisError, TimeoutError) as error:
            log.debug("the register can't be read: %s", error)
            return False
        return True

    async def compare(self, sales: Iterable[PublishedSale]) -> set[str]:
        """Hold what the ledger has against the register that was read before.

        Returns the ids that the ledger has beside `sales`: archived, unreadable, or put back since they were read.

        Raises:
            pymongo.errors.PyMongoError: it can't be asked for what is not among `sales`.
        """
        unseen: set[str] = self._register.keys() - {sale.id for sale in sales}
        self.lost = lost = await catalogue.missing(unseen) if unseen else set()
        named = ", ".join(sorted(self._register[sale_id] for sale_id in lost)[:NAMED])
        self.note(Doubt.SALES, f"the ledger has lost {len(lost)} published sales: {named}" if lost else None)
        return unseen - lost
