"""Running a rehearsal: in a thread with an event loop of its own, so that a shop that sells meanwhile is left alone.

Whatever happens, the copy is removed. Should the process die, the gate forgets the copy by itself and the next visit to
a rehearsal's page removes the rest.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import RedisError, redis, server_time
from orders.indexes import indexes_ready
from orders.rehearsal import copy as hidden
from orders.rehearsal import record as records
from orders.rehearsal.copy import HiddenCopy, NotInForce
from orders.rehearsal.performance import LASTS, OPENS_IN, Performance, Tell, TookTooLong
from orders.rehearsal.record import Plan, Record, State, Step
from sales.published import SaleSettings

MAX_SHOPPERS = 500
# At least one before the pause and one after it.
MIN_UNITS, MAX_UNITS = 2, 200
log = logging.getLogger(__name__)


class AnotherRuns(Exception):
    """One rehearsal at a time, in the whole shop."""


class StoresAway(Exception):
    """The stores can't be asked, so nothing was begun."""


def default_plan(stock: int) -> Plan:
    """A stock like the sale's, scaled down, and two and a half times as many shoppers."""
    units = max(MIN_UNITS, min(stock, 100))
    return Plan(shoppers=min(MAX_SHOPPERS, max(10, units * 5 // 2)), units=units)


def start(settings: SaleSettings, plan: Plan, by: str, when_over: Callable[[Record], None]) -> threading.Thread:
    """Begin a rehearsal and return; it runs in a thread, and `when_over` is called there at its end.

    Raises:
        AnotherRuns: see there.
        StoresAway: see there.
    """
    now = datetime.now(UTC)
    record = Record(secrets.token_hex(8), plan, by, began_at=now, told_at=now)
    try:
        if not loops.run(lambda: records.begin(settings.id, record)):
            raise AnotherRuns
    except RedisError as error:
        raise StoresAway from error
    thread = threading.Thread(target=_run, args=(settings, record, when_over), name="rehearsal", daemon=True)
    thread.start()
    return thread


def last(sale_id: str) -> Record | None:
    """The sale's last rehearsal of the last hour; what dead ones have left is removed meanwhile.

    Raises:
        StoresAway: the stores can't be asked.
    """

    async def ask() -> Record | None:
        found = await records.last(sale_id)
        if found is None or not found.is_running:
            await hidden.sweep()
        return found

    try:
        return loops.run(ask)
    except (RedisError, PyMongoError) as error:
        raise StoresAway from error


def _run(settings: SaleSettings, record: Record, when_over: Callable[[Record], None]) -> None:
    try:
        loops.run(lambda: rehearse(settings, record))
    except Exception:
        log.exception("how the rehearsal of sale %s went could not be kept", settings.sku)
    when_over(record)


async def rehearse(settings: SaleSettings, record: Record) -> None:
    """All of it: the copy, the steps, and the tidying up; the record tells the rest."""

    async def tell(step: Step) -> None:
        if step not in record.steps:
            record.steps.append(step)
        await records.tell(settings.id, record)

    try:
        await _perform(settings, record, tell)
    except (PyMongoError, RedisError, NotInForce) as error:
        log.warning("the rehearsal of sale %s broke off: %r", settings.sku, error)
        _break_off(record, "A store stopped answering. See Go / no-go, then rehearse again.")
    except TookTooLong:
        _break_off(record, "It took too long: the stores or this machine are slow. See Go / no-go.")
    except Exception:
        log.exception("the rehearsal of sale %s failed", settings.sku)
        _break_off(record, "Something unforeseen went wrong. Tell whoever runs the shop; the log has it.")
    await records.tell(settings.id, record)
    await records.end(record)


async def _perform(settings: SaleSettings, record: Record, tell: Tell) -> None:
    await hidden.sweep()
    if not await indexes_ready():
        raise NotInForce("the ledger's indexes are missing")
    now = await server_time(redis())
    copy = HiddenCopy(settings, record.plan.units, now + OPENS_IN, now + OPENS_IN + LASTS)
    performance = Performance(copy, record.plan, tell)
    try:
        await copy.publish()
        await performance.run()
    finally:
        await _tidy_up(copy, tell)
    held = all(step.holds for step in record.steps)
    record.state = State.HELD if held else State.FAILED
    seconds = performance.selling_seconds
    record.summary = (
        f"Everything held: {record.plan.units} units sold to {record.plan.shoppers} test shoppers in {seconds:.1f} s."
        if held
        else "Not everything held. Don't open before the steps marked with a cross are understood."
    )


async def _tidy_up(copy: HiddenCopy, tell: Tell) -> None:
    await copy.settle()
    orders = await hidden.remove(copy.id)
    await tell(Step("Tidied up", f"The copy, its stock and its {orders} test orders are removed.", True))


def _break_off(record: Record, why: str) -> None:
    record.state, record.summary = State.BROKEN_OFF, why
    for step in record.steps:
        if step.holds is None:
            step.holds, step.found = False, "It did not come to its end."
