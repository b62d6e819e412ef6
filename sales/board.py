"""The board: each process's snapshot of every sale on show, refreshed from the stores by one background task.

Settings come from the ledger every second (at once when the gate has a newer version), the clock and the levels of
lively sales from the gate five times a second, those of quiet sales every second. What shoppers read is rendered from
the snapshot once for each change (`sales/showing.py`). When the gate can't be asked the board says `not_ready`; it
never guesses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime, timedelta

from flashdrop import siblings
from flashdrop.loops import PerLoop
from flashdrop.mongo_client import PyMongoError, mongo, within
from flashdrop.prepared import Prepared
from flashdrop.redis_client import RedisError, redis
from flashdrop.supervised import Loop
from sales import catalogue, featuring, stock
from sales.brakes import Memory
from sales.doubts import Doubt, Doubts
from sales.gate import Levels
from sales.hub import hub
from sales.published import PublishedSale
from sales.showing import Phase, Showing, render_products

REFRESH_SECONDS = 0.2
SETTINGS_SECONDS = 1.0
# How often a sale is looked at in which nothing happens and that nobody watches.
QUIET_SECONDS = 1.0
# How long a sale counts as lively after a change, or after its window opened.
LIVELY_SECONDS = 5.0
# Longer than this without an answer from the gate, and what the board shows is no longer the truth.
STALE_SECONDS = 1.0
# How long the first request may wait for the first look at the stores.
FIRST_LOAD_SECONDS = 5.0
# How long somebody may wait for the board to look again.
LOOK_AGAIN_SECONDS = 1.0
# Longer than this without an answer from the ledger, and a sale may have changed unheard.
COMPLETE_SECONDS = 5.0
log = logging.getLogger(__name__)


class Board:
    """Every sale on show. Started on first use; `stop` ends its task."""

    def __init__(self) -> None:
        self.by_sku: dict[str, Showing] = {}
        self.products: Prepared = render_products([])
        """The list of everything on show."""
        self.is_known = False
        """Whether the ledger's sales have been read at least once, and shown since."""
        self._read_at = float("-inf")
        self.sales: dict[str, PublishedSale] = {}
        """The ledger's settings of every sale, withdrawn ones too, by sale id."""
        self.sale_named: dict[str, PublishedSale] = {}
        """The same by sku: what a purchase asks the gate about, whatever is on show."""
        self.unreadable = 0
        """Sales whose documents in the ledger can't be read; the others are on show."""
        self._settings_at = float("-inf")
        self._woken_at = float("-inf")
        self._levels_at = float("-inf")
        self._levels: dict[str, Levels] = {}
        self._all_levels_at = float("-inf")
        self._lively_until: dict[str, float] = {}
        self._brakes = Memory()
        self.doubts = Doubts()
        """While there is any, nothing is sold and every sale is shown as not ready."""
        self.shown_sum = siblings.sum_of([])
        """What is on show, as other processes compare it with theirs."""
        self._clock_offset = timedelta()
        # The front page's sale stays the same until the board changes or the clock reaches the next edge.
        self._featured: Showing | None = None
        self._featured_from: dict[str, Showing] | None = None
        self._featured_until = featuring.FOREVER
        self._loop: Loop | None = None
        self._first = asyncio.Event()
        self._reload = asyncio.Event()
        # Looks at the stores that were begun, and the last of those that has ended.
        self._begun = self._ended = 0
        self._turn = asyncio.Event()

    @property
    def hears_ledger(self) -> bool:
        """Whether the ledger has answered lately, with nothing but what can be read."""
        return not self.unreadable and self._has_read_lately

    @property
    def knows_what_is_on_show(self) -> bool:
        """Whether a sale that the board doesn't have is not on show."""
        return self.hears_ledger and not self.doubts

    @property
    def may_have_lost_sales(self) -> bool:
        """Whether a sale may have been there of which the ledger knows nothing."""
        return not self.is_known or Doubt.SALES in self.doubts or Doubt.INDEXES in self.doubts

    @property
    def knows_what_is_withdrawn(self) -> bool:
        """Whether a sale that was read as withdrawn may be said to be so."""
        return self._has_read_lately and not self.may_have_lost_sales

    @property
    def _has_read_lately(self) -> bool:
        return self.is_known and time.monotonic() - self._read_at < COMPLETE_SECONDS

    @property
    def age_seconds(self) -> float:
        """Since the gate last answered."""
        return time.monotonic() - self._levels_at

    @property
    def unloaded(self) -> list[str]:
        """The skus of what is on show and can't be sold."""
        return [sku for sku, showing in self.by_sku.items() if showing.phase is Phase.NOT_READY]

    def now(self) -> datetime:
        """The gate's clock."""
        return datetime.now(UTC) + self._clock_offset

    def start(self) -> None:
        """Begin refreshing. Repeating it is harmless."""
        if self._loop is None:
            self._loop = Loop("board", self._round)

    async def stop(self) -> None:
        if self._loop is not None:
            await self._loop.stop()

    async def wait_for_first(self) -> None:
        """Return once the stores have been asked for the first time, whatever they said, or after a few seconds."""
        self.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._first.wait(), FIRST_LOAD_SECONDS)

    def ask_for_settings(self) -> None:
        """Read the ledger's settings at the next refresh instead of waiting for their turn, and refresh now.

        A stampede that hears "not ready" asks thousands of times a second; the stores hear of it once in a refresh.
        """
        self._settings_at = self._all_levels_at = float("-inf")
        if time.monotonic() - self._woken_at >= REFRESH_SECONDS:
            self._woken_at = time.monotonic()
            self._reload.set()

    async def look_again(self) -> None:
        """Return once the stores were asked after this call, whatever they said, or after a second."""
        wanted = self._begun + 1
        self.ask_for_settings()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                while self._ended < wanted:
                    await self._turn.wait()

    def featured(self) -> Showing | None:
        """The sale for the front page; see `sales.featuring`."""
        now = self.now()
        if self._featured_from is not self.by_sku or now >= self._featured_until:
            shown = self.by_sku.values()
            self._featured = featuring.choose(shown, now)
            self._featured_from, self._featured_until = self.by_sku, featuring.holds_until(shown, now)
        return self._featured

    async def refresh(self) -> None:
        """Ask the stores and rebuild what has changed. Never raises for a store that is away."""
        if time.monotonic() - self._settings_at >= SETTINGS_SECONDS:
            await self._refresh_settings()
        await self._ask_levels()
        await self.doubts.probe([sale.id for sale in self.sales.values() if sale.published])
        if any(sale.version < self._levels[i].version for i, sale in self.sales.items() if i in self._levels):
            await self._refresh_settings()
        self._show({} if self.doubts else self._levels)

    async def _round(self) -> None:
        self._begun += 1
        try:
            await self.refresh()
        except Exception:
            self._close()
            raise
        finally:
            self._ended = self._begun
            self._turn.set()
            self._turn = asyncio.Event()
            self._first.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reload.wait(), self._pause_seconds())
        self._reload.clear()

    def _pause_seconds(self) -> float:
        """Until the next refresh: sooner when a window opens or closes, so that nobody waits for the rhythm."""
        now = self.now()
        edges = [
            (edge - now).total_seconds()
            for sale in self.sales.values()
            if sale.published
            for edge in (sale.opens_at, sale.closes_at)
            if edge > now
        ]
        return min([REFRESH_SECONDS, *(edge + 0.002 for edge in edges)])

    async def _refresh_settings(self) -> None:
        try:
            # Read first: what is entered there is in the ledger already.
            is_told = await self.doubts.read_register()
            sales, self.unreadable = await within(STALE_SECONDS, catalogue.shelf())
            missed = self.sales.keys() | self.doubts.lost
            # Once for each that leaves the shelf, not at each refresh for as long as the register names it.
            if missed & await within(STALE_SECONDS, self.doubts.compare(sales)):
                sales, self.unreadable = await within(STALE_SECONDS, catalogue.shelf())
        except (PyMongoError, TimeoutError) as error:
            log.warning("the ledger's settings can't be read: %s", error)
            # Once in a while, not at every refresh: the gate's levels must not wait for it.
            self._settings_at = time.monotonic()
            return
        # What the ledger has lost is neither over nor withdrawn: it stays, as not ready. Nor is anything let go of
        # while nobody tells what the ledger must have.
        lost = self.doubts.lost if is_told else self.sales.keys()
        kept = {sale_id: sale for sale_id, sale in self.sales.items() if sale_id in lost}
        self.sales = kept | {sale.id: sale for sale in sales}
        self.sale_named = {sale.sku: sale for sale in self.sales.values()}
        for gone in self._lively_until.keys() - self.sales.keys():
            del self._lively_until[gone]
        self._settings_at = self._read_at = time.monotonic()

    async def _ask_levels(self) -> None:
        ids = [sale.id for sale in self.sales.values() if sale.published]
        asks_all = time.monotonic() - self._all_levels_at >= QUIET_SECONDS
        if not asks_all:
            ids = [sale_id for sale_id in ids if sale_id not in self._levels or self._is_lively(sale_id)]
        try:
            async with asyncio.timeout(STALE_SECONDS):
                now, answered = await stock.levels(redis(), ids)
        except (RedisError, TimeoutError) as error:
            log.warning("the gate can't be asked: %s", error or type(error).__name__)
            self._levels = {}
            return
        self._clock_offset = now - datetime.now(UTC)
        self._levels_at = time.monotonic()
        found = dict(zip(ids, answered, strict=True))
        await self._hold_brakes(found)
        if asks_all:
            self._all_levels_at = self._levels_at
            self._levels = found
        else:
            self._levels |= found

    async def _hold_brakes(self, levels: dict[str, Levels]) -> None:
        try:
            await self._brakes.hold(levels, self.sales)
        except RedisError as error:
            log.warning("a brake can't be pulled again: %s", error)

    def _is_lively(self, sale_id: str) -> bool:
        return self._lively_until.get(sale_id, 0.0) > time.monotonic() or hub().has_viewers(sale_id)

    def _close(self) -> None:
        """What isn't known must not be shown as on sale; nor may the board's task end over it."""
        try:
            self._show({})
        except Exception:
            log.exception("telling the viewers that the board is closed failed")

    def _show(self, levels: dict[str, Levels]) -> None:
        now = self.now()
        shown: dict[str, Showing] = {}
        news: list[Showing] = []
        for sale in self.sales.values():
            if not sale.published:
                continue
            before = self.by_sku.get(sale.sku)
            after = Showing.of(sale, levels.get(sale.id), now)
            if before is not None and before.state == after.state:
                shown[sale.sku] = before
                continue
            shown[sale.sku] = after
            self._lively_until[sale.id] = time.monotonic() + LIVELY_SECONDS
            news.append(after)
        is_known = self.knows_what_is_on_show
        news += [before.gone(now, is_known=is_known) for sku, before in self.by_sku.items() if sku not in shown]
        if shown != self.by_sku:
            self.by_sku = shown
            self.products = render_products(list(shown.values()))
        self.is_known = self._read_at > float("-inf")
        self.shown_sum = siblings.sum_of(showing.sale.id for showing in shown.values())
        siblings.siblings.write(self.shown_sum, self.is_known and not self.doubts and not self.unloaded)
        # Last: whatever fails while rendering, the requests that come now are answered by the new state.
        for showing in news:
            if hub().has_viewers(showing.sale.id):
                hub().publish(showing.sale.id, showing.banner_html)
        hub().reassure()


def _new_board() -> Board:
    # Made first, so that they are closed last.
    mongo()
    redis()
    hub()
    return Board()


board: PerLoop[Board] = PerLoop(_new_board, Board.stop)


async def current_board() -> Board:
    """The running loop's board, started and loaded."""
    found = board()
    if not found.is_known:
        await asyncio.sleep(0)  # a view that runs without a task gives way here
        await found.wait_for_first()
    return found
