"""The worker's rounds. Any number of workers may run; every step is idempotent and safe beside any other.

Correctness never depends on a worker being alive or quick: it only makes "within seconds" true.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from time import perf_counter

from asgiref.sync import sync_to_async
from django.db import DatabaseError

from flashdrop import supervised
from flashdrop.envelope import to_ms
from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import RedisError, redis
from flashdrop.supervised import Loop
from orders.archiving import Archivist
from orders.cancelling import finish_cancelled
from orders.indexes import prepare, unguarded
from orders.rebuild import RebuildImpossible, rebuild
from orders.reconciliation import Reconciler
from orders.recovery import finish_pending
from orders.telemetry import Telemetry
from sales import backoffice, catalogue, publishing, register, stock
from sales.backoffice import LedgerAway
from sales.brakes import AGREED_EVERY_SECONDS, Keeper
from sales.desk import braking
from sales.desk.braking import OWN_SAVE_SECONDS
from sales.gate import Levels
from sales.keys import WORKER_HEARTBEAT
from sales.published import PublishedSale

ROUND_SECONDS = 0.5
# A web process that is alive confirms far sooner; what is older has lost its process.
GRACE_SECONDS = 3.0
HEARTBEAT_SECONDS = 10
# How long a register that Redis has lost may miss a sale.
ENTER_SECONDS = 5.0
log = logging.getLogger(__name__)


class Worker:
    """Keeps gate and ledger in step until `stop` is set."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.telemetry = Telemetry()
        self._reconciler = Reconciler()
        self._archivist = Archivist()
        self._keeper = Keeper()
        self._is_prepared = False
        self._problem: str | None = None
        self._enter_at = float("-inf")

    async def run(self) -> None:
        """Rounds, one after another, until stopped. A store that is away is waited for."""
        supervised.FAILURES.labels("worker")
        log.info("worker started")
        watching = Loop("brakes_at_gate", self._watch_brakes), Loop("brakes_in_ledger", self._agree_on_brakes)
        try:
            await self._rounds()
        finally:
            for loop in watching:
                await loop.stop()
        log.info("worker stopped")

    async def _watch_brakes(self) -> None:
        """Apart from the rounds, which a ledger that is away holds up."""
        await self._attempt("watching the brakes", self._keeper.look_at_gate)
        await asyncio.sleep(ROUND_SECONDS)

    async def _agree_on_brakes(self) -> None:
        await self._attempt("noting the brakes", self._keeper.look_at_ledger)
        await asyncio.sleep(AGREED_EVERY_SECONDS)

    async def _rounds(self) -> None:
        while not self.stop.is_set():
            started = perf_counter()
            try:
                await self.round()
            except (PyMongoError, RedisError) as error:
                log.warning("a store is away; trying again: %s", str(error)[:200] or type(error).__name__)
            except Exception:
                supervised.FAILURES.labels("worker").inc()
                log.exception("a round failed; trying again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), max(0.05, ROUND_SECONDS - (perf_counter() - started)))

    async def round(self) -> None:
        """One look at everything. A sale that can't be helped now does not keep the others waiting.

        Nothing is done for a ledger that lacks a unique index: what is pending stays so, and what is lost is not
        written over.
        """
        if await self._look_at_indexes() is not None:
            return
        await self._attempt("publishing what is outstanding", backoffice.publish_outstanding)
        await self._attempt("putting cancelled units back on sale", finish_cancelled)
        sales = await catalogue.every()
        await self._attempt("letting archived sales go", partial(self._archivist.begin_round, sales))
        await self._attempt("entering the sales in the register", partial(self._enter, sales))
        sale_ids = [sale.id for sale in sales]
        run_ids = await stock.run_ids(redis(), sale_ids)
        now, levels = await stock.levels(redis(), sale_ids)
        pending = await stock.pending_counts(redis(), sale_ids)
        for sale, level, run_id, entries in zip(sales, levels, run_ids, pending, strict=True):
            await self._attempt(f"sale {sale.sku}", partial(self._tend, sale, level, now, run_id, entries))
        self._reconciler.forget_all_but(sale_ids)
        self.telemetry.ended_round(sales)
        await redis().set(WORKER_HEARTBEAT, to_ms(datetime.now(UTC)), ex=HEARTBEAT_SECONDS)

    async def _look_at_indexes(self) -> str | None:
        problem = await unguarded() if self._is_prepared else await prepare()
        self._is_prepared = True
        if problem is not None and problem != self._problem:
            log.error("no order is written and no gate rebuilt: %s", problem)
        self._problem = problem
        return problem

    async def _enter(self, sales: list[PublishedSale]) -> None:
        """What the ledger has, and what the back office knows that it must have."""
        if time.monotonic() < self._enter_at:
            return
        self._enter_at = time.monotonic() + ENTER_SECONDS
        await register.enter(redis(), {sale.id: sale.sku for sale in sales} | await backoffice.must_have())

    async def _tend(self, sale: PublishedSale, levels: Levels, now: datetime, run_id: str, pending: int) -> None:
        if levels.brake is not None and (now - levels.brake.pulled_at).total_seconds() > OWN_SAVE_SECONDS:
            take_over = sync_to_async(braking.take_over)
            await self._attempt(f"sale {sale.sku}: its brake", partial(take_over, sale.id, levels.brake))
        if levels.is_gone and not self._keeper.has_decided(sale.id):
            await self._keeper.look_at_ledger()
        if _needs_rebuild(sale, levels, run_id):
            # Looked at again: another worker may have done it while we were busy with other sales.
            current = await catalogue.get(sale.id)
            _, (levels,) = await stock.levels(redis(), [sale.id])
            if current is not None and _needs_rebuild(current, levels, run_id):
                await rebuild(current)
            return
        if levels.version < sale.version:
            await publishing.put_in_force(sale)
        oldest = await stock.pending(redis(), sale.id, count=1) if pending else []
        self.telemetry.saw(sale, levels, pending, oldest[0].reserved_at if oldest else None, now)
        if pending:
            await finish_pending(sale, before=now - timedelta(seconds=GRACE_SECONDS))
        if levels.available != sale.available:
            await catalogue.set_available(sale.id, levels.available)
        elif await self._archivist.judge(sale, levels, now):
            return
        drift = await self._reconciler.look_at(sale, (levels.issued, pending))
        if drift is not None:
            self.telemetry.measured(sale, drift)

    async def _attempt(self, what: str, step: Callable[[], Awaitable[object]]) -> None:
        try:
            await step()
        except RebuildImpossible as error:
            log.info("%s", error)
        except (PyMongoError, RedisError, DatabaseError, LedgerAway) as error:
            log.warning("%s: %s", what, str(error)[:200] or type(error).__name__)
        except Exception:
            log.exception("%s failed", what)


def _needs_rebuild(sale: PublishedSale, levels: Levels, run_id: str) -> bool:
    """Whether the gate is lost, of another epoch, or of an earlier run of its server and so perhaps from the past."""
    return not levels.loaded or levels.epoch != sale.epoch or levels.run_id != run_id
