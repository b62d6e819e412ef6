"""How a sale stands at this moment, by the stores that decide; what is unknown stays unknown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.utils import timezone

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError, within
from flashdrop.redis_client import RedisError, redis
from sales import catalogue, stock
from sales.models import Sale
from sales.published import PublishedSale
from sales.showing import Phase, phase_at

T = TypeVar("T")
log = logging.getLogger(__name__)
# Somebody under pressure waits for the page.
ANSWER_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Standing:
    """A moment of one sale. The figures are None while the gate can't be asked, or has not loaded the sale.

    `now` is the gate's clock where it answers. `pending` are units that are being confirmed; None when too many to
    count. `phase` is what shoppers are told; None for a sale they don't see.
    """

    now: datetime
    phase: Phase | None
    stock: int | None
    taken: int | None
    pending: int | None
    gate_answers: bool
    ledger_answers: bool

    @property
    def left(self) -> int | None:
        """Units that can be bought."""
        return None if self.stock is None or self.taken is None else max(self.stock - self.taken, 0)


def look(sale: Sale) -> Standing:
    """Ask the stores, all at once and not for long. Synchronous; never raises for a store that is away."""
    return loops.run(lambda: _look(sale))


async def _look(sale: Sale) -> Standing:
    client = redis()
    answer, held, published = await asyncio.gather(
        _ask(sale, stock.levels(client, [sale.pk])),
        _ask(sale, stock.held(client, sale.pk)),
        _ask(sale, _settings(sale)),
    )
    now, levels = (answer[0], answer[1][0]) if answer else (timezone.now(), None)
    in_force = published[0] if published else _as_saved(sale, levels.epoch if levels else 0)
    known = levels is not None and levels.loaded
    return Standing(
        now=now,
        phase=phase_at(in_force, levels, now) if in_force and in_force.published else None,
        stock=levels.stock if levels and known else None,
        taken=levels.issued if levels and known else None,
        pending=held.pending if held else None,
        gate_answers=answer is not None,
        ledger_answers=published is not None,
    )


async def _settings(sale: Sale) -> tuple[PublishedSale | None]:
    return (await catalogue.get(sale.pk),)


def _as_saved(sale: Sale, epoch: int) -> PublishedSale | None:
    """With the ledger away: what was published last, unless it has been changed here since."""
    if not sale.version:
        return None
    return PublishedSale(
        **asdict(sale.settings()),
        version=sale.version,
        epoch=epoch,
        available=0,
        highest_stock=sale.stock,
        highest_limit=sale.limit_per_shopper,
    )


async def _ask(sale: Sale, question: Coroutine[Any, Any, T]) -> T | None:
    try:
        return await within(ANSWER_SECONDS, question)
    except (RedisError, PyMongoError, TimeoutError) as error:
        log.warning("sale %s: a store can't be asked how it stands: %s", sale.sku, error)
        return None
