"""Sales that are over and put away: what a shopper who comes by an old address is shown.

They are on no board and in no list, and are read from the ledger when somebody asks, all that are asked for at once in
one question. A bounded number is kept, names of which the ledger knows nothing among them.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict

from flashdrop.batching import Batcher, Overloaded
from flashdrop.loops import PerLoop
from flashdrop.mongo_client import PyMongoError, mongo
from sales import catalogue
from sales.board import SETTINGS_SECONDS, board, current_board
from sales.published import PublishedSale
from sales.showing import Showing

KEPT = 200
KEPT_SECONDS = 10.0
PATIENCE_SECONDS = 1.5
SKU = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
log = logging.getLogger(__name__)


async def shown(sku: str) -> Showing | None:
    """The sale as shoppers are shown it: on the board, or archived. None where there is none, or nobody knows
    (`board.knows_every_sale`).
    """
    on_board = await current_board()
    if sku in on_board.sale_named:
        return on_board.by_sku.get(sku)
    found = await archive().find(sku)
    return found if found is not None and found.sale.published else None


async def sale_named(sku: str) -> PublishedSale | None:
    """The ledger's settings of the sale, whether it is on show or not, in use or archived. None as in `shown`."""
    in_use = (await current_board()).sale_named.get(sku)
    if in_use is not None:
        return in_use
    found = await archive().find(sku)
    return found.sale if found is not None else None


class Archive:
    """The archived sales that were asked for lately."""

    def __init__(self) -> None:
        mongo()  # made first, so that it is closed last
        self._kept: OrderedDict[str, tuple[float, Showing | None]] = OrderedDict()
        self._questions: Batcher[str, PublishedSale | None] = Batcher(_look_up, patience_seconds=PATIENCE_SECONDS)

    async def find(self, sku: str) -> Showing | None:
        """The archived sale of this name. None when there is none, or the ledger does not say."""
        if not SKU.fullmatch(sku):
            return None
        kept_at, found = self._kept.get(sku, (float("-inf"), None))
        if time.monotonic() - kept_at < KEPT_SECONDS:
            return found
        await asyncio.sleep(0)  # a view that runs without a task gives way here
        try:
            sale = await self._questions.submit(sku)
        except (PyMongoError, TimeoutError, Overloaded) as error:
            log.warning("whether a sale is archived can't be asked: %s", str(error)[:200] or type(error).__name__)
            board().behind_until = time.monotonic() + SETTINGS_SECONDS
            return None
        if sale is not None and sale.archived_at is None:
            # Published, or taken out of the archive, since the board has looked.
            board().behind_until = time.monotonic() + SETTINGS_SECONDS
            board().ask_for_settings()
            return None
        if found is None or sale is None or (sale.version, sale.available) != (found.sale.version, found.available):
            found = Showing.of(sale, None, board().now()) if sale is not None else None
        self._kept[sku] = time.monotonic(), found
        self._kept.move_to_end(sku)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found

    async def stop(self) -> None:
        await self._questions.drain()


async def _look_up(skus: list[str]) -> list[PublishedSale | None]:
    found = await catalogue.named(skus)
    return [found.get(sku) for sku in skus]


archive: PerLoop[Archive] = PerLoop(Archive, Archive.stop)
