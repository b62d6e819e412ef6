"""The promises in a report: the audit's findings, without naming any order or shopper.

The audit reads each order into this process, which also serves shoppers. Past `AUDITED_ORDERS` what
the report has counted is held against the gate, and the ledger's unique indexes are believed; whoever wants every order
looked at runs `manage.py audit_sale`.
"""

from __future__ import annotations

from dataclasses import dataclass

from flashdrop.redis_client import redis
from orders import ledger
from orders.audit import Finding, audit, guarded
from orders.indexes import unguarded
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


async def promises(sale: PublishedSale, sold_orders: int, sold_units: int, most_of_a_shopper: int) -> Promises:
    """Hold promises 1 to 4 against the stores; the figures are what the report has counted, for a large sale.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store can't be asked.
    """
    in_flight = await stock.pending_count(redis(), sale.id)
    if sold_orders <= AUDITED_ORDERS:
        found = [
            Finding(one.promise, one.figures, one.holds, is_known=one.is_known) for one in (await audit(sale)).findings
        ]
    else:
        found = await _counted(sale, sold_orders, sold_units, most_of_a_shopper)
    return Promises(found, sold_orders <= AUDITED_ORDERS, in_flight)


async def _counted(sale: PublishedSale, sold_orders: int, sold_units: int, most_of_a_shopper: int) -> list[Finding]:
    above = await ledger.units_above(sale.id, sale.stock)
    unique = {index["name"] for index in await ledger.indexes() if index.get("unique")}
    sold_once, within_limit = "unit_sold_once" in unique, "shopper_within_limit" in unique
    held = await stock.held(redis(), sale.id)
    _, (levels,) = await stock.levels(redis(), [sale.id])
    issued, pending = (held.issued, held.pending) if held else (levels.issued, 0)
    forgotten, stranded = max(0, sold_units - issued), max(0, issued - pending - sold_units)
    total = levels.available + pending + sold_units
    return [
        Finding(
            "1 never oversold",
            f"confirmed {sold_units} of {sale.stock}; above stock {len(above)}; "
            f"a unit sold twice is {'refused' if sold_once else 'NOT refused'} by the ledger",
            sold_units <= sale.stock and sold_once and not above,
        ),
        Finding(
            "2 limit per shopper",
            f"limit {sale.limit_per_shopper}; most orders of one shopper {most_of_a_shopper}; "
            f"more is {'refused' if within_limit else 'NOT refused'} by the ledger",
            most_of_a_shopper <= sale.highest_limit and within_limit,
        ),
        Finding(
            "3 confirmed is durable",
            f"{sold_orders} orders in the ledger; gate issued {issued if levels.loaded else 'unknown'}; "
            f"units forgotten by the gate {forgotten if levels.loaded else 'unknown'}",
            not (levels.loaded and forgotten),
            is_known=levels.loaded,
        ),
        Finding(
            "4 nothing stranded",
            f"available {levels.available} + pending {pending} + confirmed {sold_units} = {total}, "
            f"stock {sale.stock}; stranded {stranded}"
            if levels.loaded
            else "the gate has not loaded this sale",
            levels.loaded and not stranded and total == levels.stock == sale.stock,
        ),
        guarded(await unguarded()),
    ]
