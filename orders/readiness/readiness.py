"""The whole go/no-go of a sale: every check, each bounded in time, whatever the stores do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flashdrop import loops
from flashdrop.config import Config, config
from flashdrop.mongo_client import PyMongoError, within
from flashdrop.redis_client import RedisError
from orders.doctor.examination import examine
from orders.doctor.finding import Finding
from orders.readiness.capacity import check_capacity
from orders.readiness.in_force import PUBLISHED, Row, check_in_force
from orders.readiness.installation import check_installation
from orders.readiness.line import Light, Line, red, sorted_by_light, worst
from orders.readiness.offer import check_offer
from orders.readiness.picture import check_picture
from orders.readiness.rehearsed import check_rehearsed
from sales import catalogue
from sales.desk.journal import Entry
from sales.published import PublishedSale

CHECK_SECONDS = 8.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything that was found, and what it comes to."""

    lines: list[Line]
    checked_at: datetime

    @property
    def light(self) -> Light:
        return worst(self.lines)

    @property
    def title(self) -> str:
        return {Light.GREEN: "Go", Light.AMBER: "Go, with care", Light.RED: "No-go"}[self.light]

    @property
    def summary(self) -> str:
        """What stands in the way, by name."""
        red_ones = [line.name for line in self.lines if line.light is Light.RED]
        amber_ones = [line.name for line in self.lines if line.light is Light.AMBER]
        if red_ones:
            return f"Put right first: {', '.join(red_ones)}." + (
                f" Then look at: {', '.join(amber_ones)}." if amber_ones else ""
            )
        if amber_ones:
            return f"It can open. Look at: {', '.join(amber_ones)}."
        return f"All {len(self.lines)} checks are green."


def check(row: Row, log_of_sale: Sequence[Entry], shoppers: int | None, settings: Config = config) -> Verdict:
    """Look at everything. Never raises for a store that is away: that is a red line. For synchronous callers."""
    rehearsed = check_rehearsed(log_of_sale)
    return loops.run(lambda: _check(row, rehearsed, shoppers, settings))


async def _check(row: Row, rehearsed: Line, shoppers: int | None, settings: Config) -> Verdict:
    now = datetime.now(UTC)
    sale = row.settings
    others, in_force, findings, picture = await asyncio.gather(
        _others(), _in_force(row), _findings(settings), asyncio.to_thread(check_picture, sale.image_url)
    )
    lines = [
        *check_offer(sale, others, now),
        picture,
        *in_force,
        rehearsed,
        *check_installation(findings, settings),
        check_capacity(shoppers, sale.stock),
    ]
    return Verdict(sorted_by_light(lines), now)


async def _others() -> list[PublishedSale]:
    try:
        return await within(CHECK_SECONDS, catalogue.every())
    except (PyMongoError, TimeoutError):
        return []  # the line about what is published says so


async def _in_force(row: Row) -> list[Line]:
    try:
        return await within(CHECK_SECONDS, check_in_force(row))
    except (PyMongoError, RedisError, TimeoutError) as error:
        log.warning("what is in force can't be checked: %r", error)
        found = "It can't be said: a store does not answer."
        return [red(PUBLISHED, found, "See the lines about the gate and the ledger.")]


async def _findings(settings: Config) -> list[Finding]:
    return await examine(settings)
