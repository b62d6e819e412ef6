"""How a sale stands at this moment, by the stores that decide; what is unknown stays unknown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.utils import timezone

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError, within
from flashdrop.redis_client import RedisError, redis
from sales import catalogue, stock
from sales.gate import Brake, Levels
from sales.models import Sale
from sales.published import PublishedSale
from sales.showing import Phase, phase_at_gate

T = TypeVar("T")
log = logging.getLogger(__name__)
# Somebody under pressure waits for the page.
ANSWER_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Standing:
    """A moment of one sale, as the gate has it: what is saved here or in the ledger stops and opens nothing by itself.

    `now` is the gate's clock where it answers. `levels` are None while the gate can't be asked. `pending` are units
    that are being confirmed; None when too many to count. `phase` is what shoppers are told; None when that isn't
    known, and for a sale they don't see (`is_hidden`).
    """

    now: datetime
    phase: Phase | None
    is_hidden: bool
    levels: Levels | None
    pending: int | None
    ledger_answers: bool

    @property
    def gate_answers(self) -> bool:
        return self.levels is not None

    @property
    def in_force(self) -> Levels | None:
        """What the gate sells by; None when it can't be asked or has not loaded the sale."""
        return self.levels if self.levels is not None and self.levels.loaded else None

    @property
    def stock(self) -> int | None:
        return self.in_force.stock if self.in_force else None

    @property
    def taken(self) -> int | None:
        return self.in_force.issued if self.in_force else None

    @property
    def left(self) -> int | None:
        """Units that can be bought."""
        return max(self.in_force.available, 0) if self.in_force else None

    @property
    def is_stopped(self) -> bool | None:
        """Whether the gate refuses everybody, by its settings or by a brake; None when it can't be asked."""
        return self.levels.is_stopped if self.levels is not None else None

    @property
    def brake(self) -> Brake | None:
        """One that is pulled and not yet part of the sale's settings."""
        return self.levels.brake if self.levels is not None else None


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
    phase = _phase(sale, levels, published, now)
    return Standing(
        now=now,
        phase=phase,
        is_hidden=phase is None and levels is not None,
        levels=levels,
        pending=held.pending if held else None,
        ledger_answers=published is not None,
    )


def _phase(
    sale: Sale, levels: Levels | None, published: tuple[PublishedSale | None] | None, now: datetime
) -> Phase | None:
    if levels is None or not sale.version:
        return None
    in_ledger = published[0] if published else None
    if published is not None and in_ledger is None:
        return Phase.NOT_READY  # it was published, and the ledger has lost it
    if in_ledger is not None and in_ledger.archived_at is not None and not levels.loaded:
        return Phase.ENDED if in_ledger.published else None
    if not levels.loaded and in_ledger is not None and not in_ledger.published:
        return None
    if levels.loaded and in_ledger is not None and in_ledger.epoch != levels.epoch:
        return Phase.NOT_READY
    return phase_at_gate(levels, now)


async def _settings(sale: Sale) -> tuple[PublishedSale | None]:
    return (await catalogue.get(sale.pk),)


async def _ask(sale: Sale, question: Coroutine[Any, Any, T]) -> T | None:
    try:
        return await within(ANSWER_SECONDS, question)
    except (RedisError, PyMongoError, TimeoutError) as error:
        log.warning("sale %s: a store can't be asked how it stands: %s", sale.sku, error)
        return None
