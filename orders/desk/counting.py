"""Reports that are being counted, and those that were a moment ago.

Counting a large sale takes seconds and is the same for whoever asks, so each process counts one at a time, in a thread
of its own, and keeps the result for a while.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from threading import RLock

from flashdrop import loops
from orders.report import Report, report

KEPT_SECONDS = {True: 60.0, False: 600.0}
"""While the sale runs, and else."""
MOST_KEPT = 64
# Somebody who asks for new figures gets none that are older.
FRESH_SECONDS = 2.0

_lock = RLock()  # what is counted at once is kept by whoever asked
_pool = ThreadPoolExecutor(1, "report")
_counting: dict[str, Future[Report | None]] = {}
_kept: dict[str, tuple[float, Report]] = {}


class StillCounting(Exception):
    """Not done yet; it goes on, ask again."""


def counted(sale_id: str, patience_seconds: float, *, is_fresh: bool = False) -> Report | None:
    """The sale's report, None for a sale that was never published.

    Raises:
        StillCounting: not within `patience_seconds`.
        pymongo.errors.PyMongoError: the ledger can't be asked.
    """
    with _lock:
        at, kept = _kept.get(sale_id, (0.0, None))
        if kept is not None and time.monotonic() - at < (FRESH_SECONDS if is_fresh else KEPT_SECONDS[kept.is_running]):
            return kept
        future = _counting.get(sale_id)
        if future is None:
            future = _counting[sale_id] = _pool.submit(_count, sale_id)
            future.add_done_callback(partial(_keep, sale_id))
    if not wait([future], patience_seconds).done:
        raise StillCounting
    return future.result()


def _count(sale_id: str) -> Report | None:
    return loops.run(lambda: report(sale_id))


def _keep(sale_id: str, future: Future[Report | None]) -> None:
    found = None if future.exception() else future.result()
    with _lock:
        _counting.pop(sale_id, None)
        _kept.pop(sale_id, None)
        if found is not None:
            _kept[sale_id] = (time.monotonic(), found)
            while len(_kept) > MOST_KEPT:
                del _kept[next(iter(_kept))]
