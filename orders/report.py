"""What is to be said of a sale once it has been on: figures from the ledger, the gate and the audit; of no shopper."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from flashdrop.redis_client import RedisError
from orders import ledger_report
from orders.ledger_report import Returned, Step
from orders.report_audit import Promises, promises
from sales import catalogue, tally
from sales.desk.scale import ROUND_SECONDS
from sales.published import PublishedSale

T = TypeVar("T")
MOST_STEPS = 120
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Figures of one sale at `counted_at`. What is None is not known: a store could not be asked, or nothing happened.

    `steps` begin at `begins` and are `step_seconds` long; those in which nothing was placed are missing.
    """

    sale: PublishedSale
    counted_at: datetime
    took_seconds: float
    begins: datetime
    ends: datetime
    step_seconds: int
    steps: list[Step]
    sold_out_at: datetime | None
    """When the last unit was reserved: units are given out from the lowest number on."""
    returned_units: int
    resold_units: int
    confirmation_p50_ms: int | None
    confirmation_p95_ms: int | None
    shoppers_by_orders: dict[int, int]
    demand: int | None
    answers: dict[str, int] | None
    promises: Promises | None

    def total(self, name: str) -> int:
        """The sum of one field of the steps."""
        return sum(getattr(step, name) for step in self.steps)

    @property
    def left(self) -> int:
        return max(0, self.sale.stock - self.total("sold_units"))

    @property
    def shoppers(self) -> int:
        """Who hold an order."""
        return sum(self.shoppers_by_orders.values())

    @property
    def busiest(self) -> Step | None:
        """The step with the busiest second, the first of them."""
        return max(self.steps, key=lambda step: step.busiest_orders, default=None)

    @property
    def is_running(self) -> bool:
        return self.sale.published and self.sale.opens_at <= self.counted_at < self.sale.closes_at


async def report(sale_id: str) -> Report | None:
    """Count everything. None for a sale that was never published. A few seconds for a million orders.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be asked; without the gate, what only it knows is None.
    """
    started = time.monotonic()
    sale = await catalogue.get(sale_id)
    if sale is None:
        return None
    now = datetime.now(UTC)
    span = await ledger_report.span(sale_id)
    begins = min([sale.opens_at, *([span.first] if span else [])]).replace(microsecond=0)
    ends = max([min(now, sale.closes_at), *([span.last] if span else []), begins + timedelta(seconds=1)])
    steps, waits = [], {}
    if span is not None:
        # A sale that is sold out in seconds is looked at in seconds, however long it could have gone on.
        last_unit_at = await ledger_report.reserved_at(sale_id, sale.stock)
        if last_unit_at is not None:
            ends = max(span.last, begins) + timedelta(seconds=1)
    step_seconds = step_for((ends - begins).total_seconds())
    if span is not None:
        steps, waits = await asyncio.gather(
            ledger_report.steps(sale_id, begins, step_seconds), ledger_report.confirmation_ms(sale_id)
        )
    given_back = Returned({}, None)
    if any(step.cancelled_orders for step in steps):
        given_back = await ledger_report.returned(sale_id, sale.stock)
    held_again = await ledger_report.held_among(sale_id, list(given_back.times_by_unit))
    returned_units = sum(given_back.times_by_unit.values())
    sold_orders = sum(step.sold_orders for step in steps)
    if sale.highest_limit == 1:  # nobody can hold two: there is nothing to group
        shoppers = {1: sold_orders} if sold_orders else {}
    else:
        shoppers = await ledger_report.orders_per_shopper(sale_id)
    return Report(
        sale=sale,
        counted_at=now,
        begins=begins,
        ends=ends,
        step_seconds=step_seconds,
        steps=steps,
        sold_out_at=await _first_out(sale, given_back),
        returned_units=returned_units,
        # A unit that came back n times was sold again n - 1 times, and once more if somebody holds it now.
        resold_units=returned_units - len(given_back.times_by_unit) + held_again,
        confirmation_p50_ms=percentile(waits, 0.50),
        confirmation_p95_ms=percentile(waits, 0.95),
        shoppers_by_orders=shoppers,
        demand=await _asked(tally.demand(sale_id)),
        answers=await _asked(tally.outcomes_in_all(sale_id)),
        promises=await _asked(promises(sale, sold_orders)),
        took_seconds=time.monotonic() - started,
    )


def step_for(seconds: float) -> int:
    """The shortest round step that divides `seconds` into no more than `MOST_STEPS`."""
    days = 86400 * math.ceil(seconds / 86400 / MOST_STEPS)
    return next((step for step in ROUND_SECONDS if seconds / step <= MOST_STEPS), days)


def percentile(counts: dict[int, int], share: float) -> int | None:
    """The smallest value that at least `share` of the counted ones don't exceed."""
    left = math.ceil(sum(counts.values()) * share)
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return None


async def _first_out(sale: PublishedSale, given_back: Returned) -> datetime | None:
    """When the unit with the highest number was first reserved: all others were taken by then."""
    found = [await ledger_report.reserved_at(sale.id, sale.stock), given_back.first_reserved_at]
    return min((at for at in found if at is not None), default=None)


async def _asked(question: Awaitable[T]) -> T | None:
    """The gate's answer, None while it can't be asked."""
    try:
        return await question
    except RedisError as error:
        log.warning("the report goes without what only the gate knows: %s", error)
        return None
