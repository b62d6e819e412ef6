"""Archiving: a sale that is long over and settled is put away, so that what is looked at each second stays little.

The ledger decides first: the sale is marked, in one update that names the version and the epoch it was judged by.
Boards and workers let go of it within a second. Then the gate lets go of its keys. Whoever publishes it again, or
rebuilds it, takes the mark off; its gate is then rebuilt from the ledger like any that is lost
(docs/decisions/0011-what-is-over-is-put-away.md).
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from flashdrop.redis_client import redis
from orders import ledger, ledger_desk
from sales import catalogue, register, stock
from sales.gate import Levels
from sales.published import PublishedSale

# Past its end a sale is still looked at by many: who got one, what came back, how it went.
ARCHIVE_AFTER = timedelta(hours=72)
# Every board has read the ledger since, and shows it no more.
LET_GO_AFTER = timedelta(seconds=10)
# Each costs a count of its orders.
AT_ONCE = 20
# What was not settled is judged anew after this long.
AGAIN_AFTER = timedelta(minutes=1)
log = logging.getLogger(__name__)


class Archivist:
    """Puts away what may be, a few sales in a round."""

    def __init__(self) -> None:
        self._judged_at: dict[str, datetime] = {}
        self._left = AT_ONCE
        self._has_looked_again = False

    async def begin_round(self, sales: list[PublishedSale]) -> None:
        """Have the gate let go of what was archived before.

        Raises:
            pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store is away; the rest waits.
        """
        self._left = AT_ONCE
        for gone in self._judged_at.keys() - {sale.id for sale in sales}:
            del self._judged_at[gone]
        await catalogue.take_back_reopened(datetime.now(UTC))
        if not self._has_looked_again:
            await catalogue.look_at_gates_again()
            self._has_looked_again = True
        for sale in await catalogue.archived_at_gate(datetime.now(UTC) - LET_GO_AFTER, AT_ONCE):
            if await stock.retire(redis(), sale):
                await register.forget(redis(), sale.id)
                await catalogue.gone_from_gate(sale)
            else:
                # Something was reserved or published since; the mark comes off, and it is tended like any other.
                log.warning("sale %s: archived, and its gate is in use; taking it back", sale.sku)
                await catalogue.take_back(sale)

    async def judge(self, sale: PublishedSale, levels: Levels, now: datetime) -> bool:
        """Archive the sale when it is long over and the stores agree about it. `now` is the gate's clock.

        Raises:
            pymongo.errors.PyMongoError: the ledger can't be asked; it stays.
        """
        judged_at = self._judged_at.get(sale.id)
        if (
            not self._left
            or now - sale.closes_at < ARCHIVE_AFTER
            or (judged_at is not None and now - judged_at < AGAIN_AFTER)
            or levels.pending
            or (levels.version, levels.available) != (sale.version, sale.available)
        ):
            return False
        self._left -= 1
        self._judged_at[sale.id] = now
        if await ledger_desk.has_to_release(sale.id) or (await ledger.tally(sale.id)).units != levels.issued:
            return False
        is_archived = await catalogue.archive(sale, datetime.now(UTC))
        if is_archived:
            log.info("sale %s: over since %s and settled; archived", sale.sku, sale.closes_at.isoformat())
        return is_archived
