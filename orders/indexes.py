"""The ledger's indexes: without them nothing is sold."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from flashdrop.loops import PerLoop
from flashdrop.mongo_client import PyMongoError, mongo
from orders import ledger
from sales import catalogue

RETRY_SECONDS = 1.0
FIRST_WAIT_SECONDS = 2.0
log = logging.getLogger(__name__)


async def ensure_indexes() -> None:
    """Create what is missing, in both collections.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be reached, or what it holds breaks an index.
    """
    await catalogue.ensure_indexes()
    await ledger.ensure_indexes()


async def ensure_all() -> None:
    """`ensure_indexes`, waiting for a ledger that is away: a web process or worker may start before it."""
    while True:
        try:
            await ensure_indexes()
            return
        except PyMongoError as error:
            log.warning("waiting for the ledger to create its indexes: %s", str(error)[:200])
        except Exception:  # nothing is sold until this has succeeded: it must not end
            log.exception("creating the ledger's indexes failed; trying again")
        await asyncio.sleep(RETRY_SECONDS)


class IndexGuard:
    """Creates the indexes in the background, once in each process; `is_ready` says when they are in place."""

    def __init__(self) -> None:
        mongo()  # made first, so that it is closed last
        self.is_ready = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        await ensure_all()
        self.is_ready = True

    async def wait(self) -> bool:
        """Whether the indexes are in place, after waiting a moment for them."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._task), FIRST_WAIT_SECONDS)
        return self.is_ready

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


index_guard: PerLoop[IndexGuard] = PerLoop(IndexGuard, IndexGuard.stop)


async def indexes_ready() -> bool:
    """Whether orders may be written."""
    guard = index_guard()
    return guard.is_ready or await guard.wait()
