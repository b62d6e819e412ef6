"""Sales that are not on the board: those that are over and put away, and names that nobody has.

They are on no board and in no list, and are read from the ledger when somebody asks, all that are asked for at once in
one question. A bounded number is kept, apart from a bounded number of names of which the ledger knows nothing, so that
made-up names push nothing out. What is not known of one name is said of that name alone.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable
from typing import TypeVar

from flashdrop.batching import Batcher, Overloaded
from flashdrop.loops import PerLoop
from flashdrop.mongo_client import PyMongoError, mongo
from sales import catalogue
from sales.board import SETTINGS_SECONDS, board, current_board
from sales.published import PublishedSale
from sales.showing import Showing

T = TypeVar("T")
KEPT = 200
KEPT_SECONDS = 10.0
# Names that wait for the ledger's answer; one more is told at once that nobody knows.
WAITING = 1024
PATIENCE_SECONDS = 1.5
SKU = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
log = logging.getLogger(__name__)


class Unheard(Exception):
    """Whether there is a sale of this name can't be told now."""


async def shown(sku: str) -> Showing | None:
    """The sale as shoppers are shown it: on the board, or archived. None where no such sale is published.

    Raises:
        Unheard: nobody can tell.
    """
    on_board = await current_board()
    in_use = on_board.sale_named.get(sku)
    if in_use is None:
        found = await archive().find(sku)
        return found if found is not None and found.sale.published else None
    showing = on_board.by_sku.get(sku)
    if showing is None and (in_use.published or not on_board.knows_what_is_withdrawn):
        raise Unheard  # read, and not shown yet; or withdrawn when the ledger last answered
    return showing


async def sale_named(sku: str) -> PublishedSale | None:
    """The ledger's settings of the sale, whether it is on show or not, in use or archived. None where there is none.

    Raises:
        Unheard: nobody can tell.
    """
    in_use = (await current_board()).sale_named.get(sku)
    if in_use is not None:
        return in_use
    found = await archive().find(sku)
    return found.sale if found is not None else None


async def if_known(question: Awaitable[T | None]) -> T | None:
    """What `shown` or `sale_named` finds; for those to whom no sale and nobody who knows are the same."""
    try:
        return await question
    except Unheard:
        return None


class _Kept(OrderedDict[str, tuple[float, T]]):
    """What was last heard of so many names, and when."""

    def keep(self, sku: str, what: T) -> None:
        self[sku] = time.monotonic(), what
        self.move_to_end(sku)
        if len(self) > KEPT:
            self.popitem(last=False)

    def of(self, sku: str, seconds: float) -> T | None:
        at, what = self.get(sku, (float("-inf"), None))
        return what if time.monotonic() - at < seconds else None


class Archive:
    """The sales that were asked for lately and are not on the board."""

    def __init__(self) -> None:
        mongo()  # made first, so that it is closed last
        self._found: _Kept[Showing] = _Kept()
        self._absent: _Kept[bool] = _Kept()
        self._questions: Batcher[str, PublishedSale | catalogue.Unreadable | None] = Batcher(
            _look_up, max_queue=WAITING, patience_seconds=PATIENCE_SECONDS, skips_abandoned=True
        )

    async def find(self, sku: str) -> Showing | None:
        """The archived sale of this name. None when the ledger has none, and no published one either.

        Raises:
            Unheard: the ledger does not say, or what it says is not to be relied on.
        """
        if not SKU.fullmatch(sku):
            return None
        if (kept := self._found.of(sku, KEPT_SECONDS)) is not None:
            return kept
        # As long as a board takes to hear of a new sale.
        if not self._absent.of(sku, SETTINGS_SECONDS):
            sale = await self._ask(sku)
            if sale is not None:
                return sale
            self._absent.keep(sku, True)
        if board().may_have_lost_sales:
            raise Unheard
        return None

    async def _ask(self, sku: str) -> Showing | None:
        before = self._found.of(sku, float("inf"))
        await asyncio.sleep(0)  # a view that runs without a task gives way here
        try:
            sale = await self._questions.submit(sku)
            if isinstance(sale, catalogue.Unreadable):
                raise sale
        except (PyMongoError, TimeoutError, Overloaded) as error:
            log.warning("whether a sale is archived can't be asked: %s", str(error)[:200] or type(error).__name__)
            if before is not None:  # once put away, a sale hardly changes
                return before
            raise Unheard from error
        if sale is None:
            self._found.pop(sku, None)
            return None
        if sale.archived_at is None:
            board().ask_for_settings()
            if sale.published:  # or taken out of the archive, since the board has looked
                raise Unheard
            return None
        if before is None or (sale.version, sale.available) != (before.sale.version, before.available):
            before = Showing.of(sale, None, board().now())
        self._found.keep(sku, before)
        return before

    async def stop(self) -> None:
        await self._questions.drain()


async def _look_up(skus: list[str]) -> list[PublishedSale | catalogue.Unreadable | None]:
    found = await catalogue.named(skus)
    return [found.get(sku) for sku in skus]


archive: PerLoop[Archive] = PerLoop(Archive, Archive.stop)
