"""The audit: promises 1 to 4, held against what the two stores say now."""

from __future__ import annotations

from dataclasses import dataclass

from flashdrop.redis_client import redis
from orders import ledger
from sales import catalogue, stock
from sales.gate import Levels
from sales.published import PublishedSale

LISTED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise, the figures behind it, and whether it holds."""

    promise: str
    figures: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Audit:
    """All findings about one sale."""

    sale: PublishedSale
    findings: list[Finding]

    @property
    def holds(self) -> bool:
        return all(finding.holds for finding in self.findings)


async def audit(sale: PublishedSale) -> Audit:
    """Count a sale's orders in the ledger, without trusting its indexes, and compare them with the gate.

    A reading while orders are being placed may catch some between the stores; repeat it once things have settled.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store can't be asked.
    """
    pending = await _all_pending(sale)
    _, (levels,) = await stock.levels(redis(), [sale.id])
    sale = await catalogue.get(sale.id) or sale
    tally = await ledger.tally(sale.id)
    double, above = await ledger.doubly_sold(sale.id), await ledger.units_above(sale.id, sale.stock)
    greedy = await ledger.over_limit(sale.id, sale.highest_limit)
    in_ledger = await ledger.find([order_id for order_id, _ in pending])
    open_units = sum(units for order_id, units in pending if order_id not in in_ledger)
    return Audit(
        sale,
        [
            Finding(
                "1 never oversold",
                f"confirmed {tally.units} of {sale.stock}; sold twice {_some(double)}; above stock {_some(above)}",
                tally.units <= sale.stock and not double and not above,
            ),
            Finding("2 limit per shopper", f"limit {sale.limit_per_shopper}; over it {_some(greedy)}", not greedy),
            Finding(
                "3 confirmed is durable",
                f"{tally.orders} orders in the ledger; gate issued {levels.issued if levels.loaded else 'unknown'}",
                not levels.loaded or levels.issued >= tally.units,
            ),
            Finding(
                "4 nothing stranded",
                _balance(sale, levels, tally.units, open_units),
                levels.loaded and levels.available + open_units + tally.units == levels.stock == sale.stock,
            ),
        ],
    )


async def _all_pending(sale: PublishedSale) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    after = "-"
    while entries := await stock.pending(redis(), sale.id, after=after, count=1000):
        after = entries[-1].entry_id
        found += [(entry.order_id, len(entry.units)) for entry in entries]
    return found


def _balance(sale: PublishedSale, levels: Levels, confirmed: int, pending: int) -> str:
    if not levels.loaded:
        return "the gate has not loaded this sale"
    text = f"available {levels.available} + pending {pending} + confirmed {confirmed}"
    total = levels.available + pending + confirmed
    return f"{text} = {total}, stock {sale.stock}"


def _some(items: list[tuple[int, list[str]]] | list[tuple[str, int]]) -> str:
    shown = ", ".join(f"{what}: {details}" for what, details in items[:LISTED])
    return f"{len(items)} ({shown})" if items else "0"
