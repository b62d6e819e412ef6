"""The reconciler: compares gate and ledger while both are busy, and heals in the safe direction only.

The stores can't be read in one instant, so the gate is read between two counts of the ledger. Orders only become more
in between (but for cancellations), which makes two statements certain:

- fewer units issued than the *first* count holds: the gate has forgotten orders;
- more units issued than the log and the *second* count hold together: units are stranded.

A cancellation in flight can look like either for a moment, so drift must be seen again: forgotten orders at the next
look, stranded units after a while. Healing is a rebuild in either case: it can only take units away from a gate that
was wrong, never from the ledger.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from flashdrop import metrics
from flashdrop.redis_client import redis
from orders import ledger
from orders.rebuild import rebuild
from sales import stock
from sales.published import PublishedSale

# Units issued and entries pending, as the gate has them.
Levels = tuple[int, int]
EVERY_SECONDS = 2.0
# Counting a large ledger takes its time; all sales together may take this share of ours.
SHARE_OF_TIME = 0.05
# A sale in which nothing has moved since it was found in order is looked at this often.
UNMOVED_SECONDS = 60.0
STRANDED_FOR_SECONDS = 5.0
DRIFTS = ("forgotten", "stranded")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drift:
    """Units by which the gate is certainly wrong; both are 0 when it may be right."""

    forgotten: int
    stranded: int
    confirmed: int = field(default=0, compare=False)
    """Units that the ledger holds, for whoever watches."""


async def measure(sale: PublishedSale) -> Drift:
    """Compare the stores once.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store can't be asked.
    """
    before = await ledger.tally(sale.id)
    held = await stock.held(redis(), sale.id)
    after = await ledger.tally(sale.id)
    if held is None:
        return Drift(0, 0, after.units)
    return Drift(
        forgotten=max(0, before.units - held.issued),
        stranded=max(0, held.issued - held.pending - after.units),
        confirmed=after.units,
    )


@dataclass(slots=True)
class _Watch:
    sku: str
    next_look_at: float = 0.0
    looked_at: float = 0.0
    in_order_at: Levels | None = None
    stranded_since: float | None = None
    has_forgotten: bool = False


class Reconciler:
    """Looks at each sale now and then, less often the longer a look takes; rebuilds the gate that is wrong."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}

    def forget_all_but(self, sale_ids: Collection[str]) -> None:
        """Sales that are gone are watched no more."""
        for gone in self._watches.keys() - set(sale_ids):
            for kind in DRIFTS:
                metrics.DRIFT.remove(self._watches[gone].sku, kind)
            del self._watches[gone]

    async def look_at(self, sale: PublishedSale, levels: Levels | None = None) -> Drift | None:
        """Measure when it is this sale's turn, and act on what is certain. Gives what it found; None: not looked.

        `levels` are the gate's units issued and entries pending: while they stay as they were when all was in order,
        nothing is counted.
        """
        watch = self._watches.get(sale.id)
        if watch is None:
            watch = self._watches[sale.id] = _Watch(sale.sku)
            for kind in DRIFTS:
                metrics.DRIFT.labels(sale.sku, kind)
        started = time.monotonic()
        if started < watch.next_look_at:
            return None
        has_moved = levels is None or levels != watch.in_order_at
        if not has_moved and started < watch.looked_at + UNMOVED_SECONDS:
            return None
        drift = await measure(sale)
        ended = watch.looked_at = time.monotonic()
        pause = (ended - started) * len(self._watches) / SHARE_OF_TIME
        watch.next_look_at = ended + max(EVERY_SECONDS, pause)
        watch.in_order_at = None if drift.forgotten or drift.stranded else levels
        if drift.stranded and watch.stranded_since is None:
            watch.stranded_since = ended
        elif not drift.stranded:
            watch.stranded_since = None
        stays_stranded = watch.stranded_since is not None and ended - watch.stranded_since >= STRANDED_FOR_SECONDS
        had_forgotten, watch.has_forgotten = watch.has_forgotten, bool(drift.forgotten)
        keeps_forgetting = bool(drift.forgotten) and had_forgotten
        if keeps_forgetting or stays_stranded:
            metrics.DRIFT.labels(sale.sku, "forgotten" if keeps_forgetting else "stranded").inc()
            log.error("sale %s: the gate disagrees with the ledger (%s); rebuilding it", sale.sku, drift)
            await rebuild(sale)
            watch.stranded_since = None
        return drift
