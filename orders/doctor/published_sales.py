"""What is on sale now: whether the gate holds each sale as the ledger has it, and whether a worker looks after them."""

from __future__ import annotations

import asyncio

from flashdrop.redis_client import redis
from orders.doctor.finding import Area, Finding, Notes, is_at_risk
from orders.worker import HEARTBEAT_SECONDS
from sales import catalogue, stock
from sales.gate import Levels
from sales.keys import WORKER_HEARTBEAT
from sales.published import PublishedSale
from sales.workers import WorkerState, worker_state

# A worker puts right in a moment what a publication or a restart has left; that is nobody's worry.
SETTLE_SECONDS = 1.5
# A round takes half a second.
SLOW_SECONDS = 5.0
START_WORKER = "start `manage.py run_worker`, on two hosts or more, under whatever restarts it"


async def check_sales() -> list[Finding]:
    """The worker, and each published sale. Looked at twice before anything is called wrong.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store can't be asked.
    """
    findings = await _look()
    if is_at_risk(findings):
        await asyncio.sleep(SETTLE_SECONDS)
        findings = await _look()
    return findings


async def _look() -> list[Finding]:
    sales = [sale for sale in await catalogue.every() if sale.published]
    notes = Notes(Area.SALES)
    await _worker(len(sales), notes)
    if not sales:
        notes.ok("published", "no sale is")
    sale_ids = [sale.id for sale in sales]
    run_ids = await stock.run_ids(redis(), sale_ids)
    _, levels = await stock.levels(redis(), sale_ids)
    for sale, level, run_id in zip(sales, levels, run_ids, strict=True):
        _sale(sale, level, run_id, notes)
    return notes.findings


async def _worker(published: int, notes: Notes) -> None:
    # By what is left of its time, which no host's clock has a part in; below 0 there is none.
    left = await redis().pttl(WORKER_HEARTBEAT) / 1000
    age = HEARTBEAT_SECONDS - left
    if left < 0 and await worker_state(redis()) is WorkerState.WAITING:
        return notes.at_risk(
            "worker",
            f"it runs, but none has completed a round for {HEARTBEAT_SECONDS} s: what a lost process held stays taken "
            "(promise 4: within seconds)",
            "read the worker's log: it names the store that it waits for, or the rebuild that takes so long",
        )
    if left < 0 and published:
        return notes.at_risk(
            "worker",
            f"none has completed a round for {HEARTBEAT_SECONDS} s (published sales: {published}): a unit that a lost "
            "process held stays taken, and a lost gate stays lost (promise 4: within seconds)",
            START_WORKER,
        )
    if left < 0:
        return notes.advice(
            "worker", f"none has completed a round for {HEARTBEAT_SECONDS} s; no sale is published yet", START_WORKER
        )
    if age > SLOW_SECONDS:
        return notes.advice(
            "worker",
            f"its last round ended {age:.1f} s ago, where half a second is usual",
            "read the worker's log: a store that is slow to answer, or too many sales for one",
        )
    return notes.ok("worker", f"completed a round {max(0.0, age):.1f} s ago")


def _sale(sale: PublishedSale, levels: Levels, run_id: str, notes: Notes) -> None:
    name = f"sale {sale.sku}"
    closed = "it answers 503 (promise 8)"
    rebuild = f"`manage.py run_worker` does it by itself; at once: `manage.py rebuild_sale {sale.sku}`"
    if not levels.loaded:
        return notes.at_risk(name, f"not loaded at the gate: {closed}", rebuild)
    if levels.epoch != sale.epoch:
        found = f"the gate has epoch {levels.epoch}, the ledger {sale.epoch}: {closed}"
        return notes.at_risk(name, found, rebuild)
    if levels.run_id != run_id:
        return notes.at_risk(
            name,
            "its gate was loaded in an earlier run of the server, which may have lost writes since (promises 4 and 6)",
            rebuild,
        )
    if levels.version < sale.version:
        return notes.at_risk(
            name,
            f"the gate sells by version {levels.version}, the ledger has {sale.version}: a change in the admin does "
            "not hold yet (promise 7)",
            f"`manage.py run_worker` does it by itself; at once: `manage.py audit_sale {sale.sku} --repair --yes`",
        )
    if levels.version > sale.version:
        return notes.at_risk(
            name,
            f"the gate has version {levels.version}, the ledger only {sale.version}: the ledger comes from an older "
            "backup, and orders since are missing in it (promise 3)",
            f"stop selling, restore the newest backup, then `manage.py rebuild_sale {sale.sku}`",
        )
    return notes.ok(name, f"loaded, epoch {levels.epoch}, version {levels.version}, {levels.available} units left")
