"""What the live page shows of one sale, asked of both stores and of every process' tally.

The board of this process gives phase, stock and clock, as shoppers see them. Whatever can't be asked is None: the page
keeps what it showed last and says since when. Many people watch one sale: a process asks once a second for all of them,
and the ledger less often the longer it takes to count.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from flashdrop.loops import PerLoop
from flashdrop.mongo_client import PyMongoError, mongo, within
from flashdrop.redis_client import RedisError, redis
from orders import ledger
from orders.ledger import Tally
from sales import catalogue, stock, tally
from sales.board import STALE_SECONDS, current_board
from sales.doubts import Doubt
from sales.gate import Reservation
from sales.published import PublishedSale
from sales.showing import Phase, Showing
from sales.tally import Outcomes
from sales.workers import WorkerState, worker_state

T = TypeVar("T")
WATCHED_SECONDS = 300
FRESH_SECONDS = 0.9
ANSWER_SECONDS = 1.5
# How long a first look waits for the ledger's count; later ones show the last.
COUNT_SECONDS = 0.5
# Counting takes at most this share of the ledger's time.
COUNTING_SHARE = 0.03
LEAST_COUNT_PAUSE_SECONDS = 1.0
FORGOTTEN_SECONDS = 60.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sold:
    """What the ledger holds as sold, and when it was counted, by the gate's clock."""

    orders: int
    units: int
    counted_at: datetime


@dataclass(frozen=True, slots=True)
class Pending:
    """Orders whose confirmation is outstanding."""

    orders: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """One look. What is None is not known now."""

    now: datetime
    """By the gate's clock, as far as it is known."""
    sale: PublishedSale | None
    phase: Phase | None
    """None: not on show, or not known; `gate_answers` and `ledger_answers` say which."""
    total: int | None
    left: int | None
    pending: Pending | None
    sold: Sold | None
    outcomes: Outcomes | None
    tried: int | None
    """About how many different shoppers have tried to buy."""
    worker: WorkerState | None
    gate_answers: bool
    ledger_answers: bool


class Lookout:
    """Looks at a sale for everybody who watches it through this process."""

    def __init__(self) -> None:
        # Made first, so that they are closed last.
        mongo()
        redis()
        self._looks: dict[str, tuple[float, asyncio.Task[Figures]]] = {}
        self._counts: dict[str, Sold] = {}
        self._counting: dict[str, asyncio.Task[None]] = {}
        self._count_again_at: dict[str, float] = {}

    async def look(self, sale_id: str) -> Figures:
        """The figures of at most a second ago. Never raises for a store that is away."""
        asked_at, task = self._looks.get(sale_id, (0.0, None))
        if task is None or time.monotonic() - asked_at >= FRESH_SECONDS:
            self._forget()
            task = asyncio.get_running_loop().create_task(self._look(sale_id))
            self._looks[sale_id] = (time.monotonic(), task)
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """Leave nothing behind that asks the stores."""
        tasks = [task for _, task in self._looks.values()] + list(self._counting.values())
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, sale_id: str) -> Figures:
        board = await current_board()
        self._count(sale_id)
        pending, outcomes, tried, worker, _ = await asyncio.gather(
            _asked(_pending(sale_id)),
            _asked(tally.outcomes(sale_id, WATCHED_SECONDS)),
            _asked(_tried(sale_id)),
            _asked(_worker()),
            self._first_count(sale_id),
        )
        now, sale = board.now(), board.sales.get(sale_id) or await _asked(catalogue.get(sale_id))
        gate_answers = worker is not None and board.age_seconds <= 2 * STALE_SECONDS
        showing = board.by_sku.get(sale.sku) if sale is not None else None
        if showing is None and sale is not None and sale.archived_at is not None and sale.published:
            showing = Showing.of(sale, None, now)
        is_loaded = showing is not None and showing.phase is not Phase.NOT_READY
        return Figures(
            now=now,
            sale=sale,
            phase=showing.phase if showing is not None else None,
            total=showing.total if showing is not None and is_loaded else None,
            left=showing.available if showing is not None and is_loaded else None,
            pending=_waiting(pending, now) if pending is not None else None,
            sold=self._counts.get(sale_id),
            outcomes=outcomes,
            tried=tried,
            worker=worker,
            gate_answers=gate_answers,
            ledger_answers=board.hears_ledger,
        )

    def _count(self, sale_id: str) -> None:
        if sale_id not in self._counting and time.monotonic() >= self._count_again_at.get(sale_id, 0.0):
            self._counting[sale_id] = asyncio.get_running_loop().create_task(self._count_once(sale_id))

    async def _count_once(self, sale_id: str) -> None:
        started = time.monotonic()
        try:
            counted_at = (await current_board()).now()
            counted: Tally = await ledger.tally(sale_id)
            self._counts[sale_id] = Sold(counted.orders, counted.units, counted_at)
        except PyMongoError as error:
            log.warning("sale %s: the ledger can't count its orders: %s", sale_id, str(error)[:200])
        except Exception:
            log.exception("sale %s: its orders can't be counted", sale_id)
        finally:  # whatever happened, the next one may count
            took = time.monotonic() - started
            self._count_again_at[sale_id] = time.monotonic() + max(LEAST_COUNT_PAUSE_SECONDS, took / COUNTING_SHARE)
            del self._counting[sale_id]

    async def _first_count(self, sale_id: str) -> None:
        counting = self._counting.get(sale_id)
        if counting is not None and sale_id not in self._counts:
            await asyncio.wait((counting,), timeout=COUNT_SECONDS)

    def _forget(self) -> None:
        """What nobody has watched for a while."""
        old = [i for i, (asked_at, _) in self._looks.items() if time.monotonic() - asked_at > FORGOTTEN_SECONDS]
        for sale_id in old:
            del self._looks[sale_id]
        for kept in (self._counts, self._count_again_at):
            for sale_id in kept.keys() - self._looks.keys():
                del kept[sale_id]


lookout: PerLoop[Lookout] = PerLoop(Lookout, Lookout.stop)


async def _asked(question: Coroutine[Any, Any, T]) -> T | None:
    """A store's answer, None when there is none in time."""
    try:
        return await within(ANSWER_SECONDS, question)
    except (RedisError, PyMongoError, TimeoutError) as error:
        log.debug("a store can't be asked: %s", error or type(error).__name__)
        return None


async def _pending(sale_id: str) -> tuple[int, list[Reservation]]:
    count, oldest = await asyncio.gather(
        stock.pending_count(redis(), sale_id), stock.pending(redis(), sale_id, count=1)
    )
    return count, oldest


def _waiting(found: tuple[int, list[Reservation]], now: datetime) -> Pending:
    count, oldest = found
    return Pending(count, max(0.0, (now - oldest[0].reserved_at).total_seconds()) if oldest else 0.0)


async def _tried(sale_id: str) -> int:
    return await tally.demand(sale_id) or 0


async def _worker() -> WorkerState:
    return await worker_state(redis(), takes_writes=Doubt.WRITES not in (await current_board()).doubts)
