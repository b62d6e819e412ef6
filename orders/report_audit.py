"""The promises in a report: the audit's findings, without naming any order or shopper.

The audit reads each order into this process, which also serves shoppers. Past `AUDITED_ORDERS` the stores count
instead: the same promises, but whoever wants to know which order breaks one runs `manage.py audit_sale`.
"""

from __future__ import annotations

from dataclasses import dataclass

from flashdrop.redis_client import redis
from orders import ledger
from orders.audit import Finding, audit
from orders.reconciliation import measure
from sales import stock
from sales.published import PublishedSale

AUDITED_ORDERS = 20_000


@dataclass(frozen=True, slots=True)
class Promises:
    """`findings` have no offenders; `in_flight` orders were reserved and not confirmed meanwhile."""

    findings: list[Finding]
    is_order_by_order: bool
    in_flight: int

    @property
    def hold(self) -> bool:
        return all(finding.holds for finding in self.findings)


async def promises(sale: PublishedSale, sold_orders: int) -> Promises:
    """Hold promises 1 to 4 against the stores.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store can't be asked.
    """
    in_flight = await stock.pending_count(redis(), sale.id)
    if sold_orders <= AUDITED_ORDERS:
        found = [Finding(one.promise, one.figures, one.holds) for one in (await audit(sale)).findings]
    else:
        found = await _counted(sale)
    return Promises(found, sold_orders <= AUDITED_ORDERS, in_flight)


async def _counted(sale: PublishedSale) -> list[Finding]:
    tally = await ledger.tally(sale.id)
    above = await ledger.units_above(sale.id, sale.stock)
    double = await ledger.doubly_sold(sale.id)
    greedy = await ledger.over_limit(sale.id, sale.highest_limit)
    held = await stock.held(redis(), sale.id)
    drift = await measure(sale)
    _, (levels,) = await stock.levels(redis(), [sale.id])
    pending = held.pending if held else 0
    total = levels.available + pending + tally.units
    return [
        Finding(
            "1 never oversold",
            f"confirmed {tally.units} of {sale.stock}; sold twice {len(double)}; above stock {len(above)}",
            tally.units <= sale.stock and not double and not above,
        ),
        Finding("2 limit per shopper", f"limit {sale.limit_per_shopper}; over it {len(greedy)}", not greedy),
        Finding(
            "3 confirmed is durable",
            f"{tally.orders} orders in the ledger; gate issued {levels.issued if levels.loaded else 'unknown'}; "
            f"units forgotten by the gate {drift.forgotten}",
            not drift.forgotten,
        ),
        Finding(
            "4 nothing stranded",
            f"available {levels.available} + pending {pending} + confirmed {tally.units} = {total}, "
            f"stock {sale.stock}; stranded {drift.stranded}"
            if levels.loaded
            else "the gate has not loaded this sale",
            levels.loaded and not drift.stranded and total == levels.stock == sale.stock,
        ),
    ]
