"""Whether what the back office shows is what shoppers will get: gate and ledger held against the row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from flashdrop.redis_client import redis
from orders import ledger
from orders.readiness.line import Line, amber, green, red
from orders.worker import GRACE_SECONDS
from sales import catalogue, stock
from sales.desk import journal
from sales.gate import Levels
from sales.published import PublishedSale, SaleSettings

PUBLISHED = "Published"
WAIT = "It puts itself right within seconds. If this stays red, tell whoever runs the shop."


@dataclass(frozen=True, slots=True)
class Row:
    """The sale as the back office has it."""

    settings: SaleSettings
    needs_publishing: bool


async def check_in_force(row: Row) -> list[Line]:
    """Published alike everywhere; nothing sold yet; nothing waiting.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store can't be asked.
    """
    sale_id = row.settings.id
    published = await catalogue.get(sale_id)
    now, (levels,) = await stock.levels(redis(), [sale_id])
    (run_id,) = await stock.run_ids(redis(), [sale_id])
    waiting = await stock.pending_count(redis(), sale_id)
    oldest = await stock.pending(redis(), sale_id, count=1) if waiting else []
    age = (now - oldest[0].reserved_at).total_seconds() if oldest else 0.0
    lines = [_published(row, published, levels, run_id)]
    if now < row.settings.opens_at:
        lines.append(_unsold((await ledger.tally(sale_id)).orders, levels))
    return [*lines, _waiting(waiting, age)]


def _published(row: Row, published: PublishedSale | None, levels: Levels, run_id: str) -> Line:
    if not row.settings.published:
        return red(PUBLISHED, "It is a draft: shoppers don't see it.", "Tick Published in Settings, and save.")
    if row.needs_publishing or published is None:
        return red(PUBLISHED, "It is saved here, and not in the ledger yet: shoppers don't see this.", WAIT)
    differences = journal.changes_between(published, _as_kept(row.settings))
    if differences:
        told = "; ".join(f"{one.field_label}: {one.before} there, {one.after} here" for one in differences)
        return red(PUBLISHED, f"Shoppers get something else than this page says. {told}.", "Save it in Settings again.")
    if published.archived_at is not None:
        return red(PUBLISHED, "It is over, and put away.", "Duplicate it, or give it a window in the future and save.")
    if not levels.loaded:
        return red(PUBLISHED, "The gate, which decides who gets a unit, has not loaded it.", WAIT)
    if levels.epoch != published.epoch or levels.run_id != run_id:
        return red(PUBLISHED, "The gate was restarted and is not yet filled again from the ledger.", WAIT)
    if levels.version != published.version:
        found = f"The gate sells by version {levels.version}, the ledger has version {published.version}."
        return red(PUBLISHED, found, WAIT)
    return green(
        PUBLISHED,
        f"Version {published.version} is in force, the same at the gate, in the ledger and here.",
        details=(f"epoch {published.epoch}, {levels.available:,} of {levels.stock:,} units free",),
    )


def _as_kept(settings: SaleSettings) -> SaleSettings:
    """As the ledger keeps them: times cut to the millisecond."""
    return replace(settings, opens_at=_cut(settings.opens_at), closes_at=_cut(settings.closes_at))


def _cut(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _unsold(orders: int, levels: Levels) -> Line:
    name = "Nothing sold yet"
    held = max(orders, levels.issued)
    if held:
        return amber(
            name,
            f"{orders:,} orders are in the ledger already, and {levels.issued:,} units are taken, before it opens.",
            "Look at them under Orders. If they are from a trial, duplicate this sale and open the new one instead.",
        )
    return green(name, "No order and no unit taken: the whole stock is there.")


def _waiting(waiting: int, age: float) -> Line:
    name = "Orders being confirmed"
    if age > GRACE_SECONDS:
        return red(
            name,
            f"{waiting:,} orders wait for their confirmation, the oldest for {age:.0f} s.",
            "Shoppers are told to wait. See the lines about the ledger and the worker; tell whoever runs the shop.",
        )
    if waiting:
        return amber(name, f"{waiting:,} are on their way into the ledger.", "Look again in a few seconds.")
    return green(name, "None is waiting.")
