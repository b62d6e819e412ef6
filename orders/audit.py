"""The audit: promises 1 to 4, held against what the two stores say now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flashdrop.redis_client import redis
from orders import ledger
from orders.indexes import unguarded
from orders.reconciliation import Drift, measure
from orders.worker import GRACE_SECONDS
from sales import catalogue, stock
from sales.building import Holding
from sales.gate import Levels, Reservation
from sales.published import PublishedSale
from sales.records import Record, records


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise, the figures behind it, whether it holds, and one line for each order or shopper to look at."""

    promise: str
    figures: str
    holds: bool
    offenders: tuple[str, ...] = ()
    is_known: bool = True
    """Whether the stores could be asked all of it; what is not known is not told as held."""

    @property
    def verdict(self) -> bool | None:
        """Whether it holds; None where that is not known."""
        return self.holds if self.is_known or not self.holds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the stores said. `forgotten` and `stranded` are orders of which the gate and the ledger disagree."""

    levels: Levels
    run_id: str
    pending: dict[str, Reservation]
    overdue: dict[str, Reservation]
    sold: dict[str, Holding]
    forgotten: dict[str, Holding]
    stranded: dict[str, Record]
    drift: Drift
    double: list[tuple[int, list[str]]]
    above: list[tuple[str, int]]
    greedy: list[tuple[str, int]]
    unguarded: str | None = None
    """What the ledger lacks that makes overselling impossible."""

    @property
    def open_units(self) -> int:
        """Units that the log holds and the ledger does not."""
        return sum(len(one.units) for order_id, one in self.pending.items() if order_id not in self.sold)


@dataclass(frozen=True, slots=True)
class Audit:
    """All findings about one sale, and what they were drawn from."""

    sale: PublishedSale
    findings: list[Finding]
    evidence: Evidence

    @property
    def holds(self) -> bool:
        return all(finding.holds for finding in self.findings)

    @property
    def ledger_damage(self) -> list[str]:
        """Where the ledger itself breaks promise 1 or 2; no gate can make that good."""
        return [line for one in self.findings[:2] if not one.holds for line in one.offenders or (one.figures,)]


async def audit(sale: PublishedSale) -> Audit:
    """Count a sale's orders in the ledger, without trusting its indexes, and compare them with the gate.

    A reading while orders are being placed may catch some between the stores; repeat it once things have settled.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store can't be asked.
    """
    held = await records(redis(), sale.id)
    pending = await _all_pending(sale)
    now, (levels,) = await stock.levels(redis(), [sale.id])
    (run_id,) = await stock.run_ids(redis(), [sale.id])
    sale = await catalogue.get(sale.id) or sale
    sold = {holding[1]: holding async for holding in ledger.holdings(sale.id)}
    evidence = Evidence(
        levels=levels,
        run_id=run_id,
        pending=pending,
        overdue={key: one for key, one in pending.items() if one.reserved_at < now - timedelta(seconds=GRACE_SECONDS)},
        sold=sold,
        forgotten=await _forgotten(sale, sold, held) if levels.loaded else {},
        # Read in this order: what the gate held at first is by now in the log or in the ledger.
        stranded={key: one for key, one in held.items() if key not in pending and key not in sold},
        drift=await measure(sale),
        double=await ledger.doubly_sold(sale.id),
        above=await ledger.units_above(sale.id, sale.stock),
        greedy=await ledger.over_limit(sale.id, sale.highest_limit),
        unguarded=await unguarded(),
    )
    findings = [
        *(_oversold(sale, evidence), _limit(sale, evidence), _durable(evidence), _stranded(sale, evidence)),
        guarded(evidence.unguarded),
    ]
    return Audit(sale, findings, evidence)


async def _all_pending(sale: PublishedSale) -> dict[str, Reservation]:
    found: dict[str, Reservation] = {}
    after = "-"
    while entries := await stock.pending(redis(), sale.id, after=after, count=1000):
        after = entries[-1].entry_id
        found |= {entry.order_id: entry for entry in entries}
    return found


async def _forgotten(sale: PublishedSale, sold: dict[str, Holding], held: dict[str, Record]) -> dict[str, Holding]:
    """Orders of the ledger that the gate doesn't hold, or with other units, asked twice: some may be of just now."""
    for _ in range(2):
        missing = {key: one for key, one in sold.items() if key not in held or held[key].units != one[2]}
        if not missing:
            break
        held = await records(redis(), sale.id)
    return missing


def _oversold(sale: PublishedSale, found: Evidence) -> Finding:
    confirmed = _units_sold(found)
    return Finding(
        "1 never oversold",
        f"confirmed {confirmed} of {sale.stock}; sold twice {len(found.double)}; above stock {len(found.above)}",
        confirmed <= sale.stock and not found.double and not found.above,
        (
            *(f"unit {unit}: orders {', '.join(sorted(order_ids))}" for unit, order_ids in found.double),
            *(f"order {order_id}: unit {unit} is above the stock" for order_id, unit in found.above),
        ),
    )


def _limit(sale: PublishedSale, found: Evidence) -> Finding:
    orders = {
        shopper_id: [key for key, one in found.sold.items() if one[0] == shopper_id] for shopper_id, _ in found.greedy
    }
    return Finding(
        "2 limit per shopper",
        f"limit {sale.limit_per_shopper}; over it {len(found.greedy)}",
        not found.greedy,
        tuple(
            f"shopper {shopper_id}: {units} units, orders {', '.join(sorted(orders[shopper_id]))}"
            for shopper_id, units in found.greedy
        ),
    )


def _durable(found: Evidence) -> Finding:
    is_counted_short = bool(found.drift.forgotten) and not found.double
    issued = f"gate issued {found.levels.issued}" if found.levels.loaded else "gate issued unknown"
    return Finding(
        "3 confirmed is durable",
        f"{len(found.sold)} orders in the ledger; {issued}; forgotten by the gate {len(found.forgotten)}",
        not found.forgotten and not (found.levels.loaded and is_counted_short),
        tuple(
            f"order {order_id} of shopper {one[0]}: the gate does not hold its units {_joined(one[2])}"
            for order_id, one in found.forgotten.items()
        ),
        is_known=found.levels.loaded,
    )


def _stranded(sale: PublishedSale, found: Evidence) -> Finding:
    levels, confirmed = found.levels, _units_sold(found)
    if sale.archived_at is not None and not levels.loaded:
        return Finding(
            "4 nothing stranded",
            f"archived {sale.archived_at:%Y-%m-%d}, the gate has let it go; confirmed {confirmed}, available "
            f"{sale.available}, stock {sale.stock}; pending {found.open_units}",
            not found.pending and confirmed + sale.available == sale.stock,
        )
    total = levels.available + found.open_units + confirmed
    figures = f"available {levels.available} + pending {found.open_units} + confirmed {confirmed} = {total}"
    if not levels.loaded:
        figures = "the gate has not loaded this sale"
    elif levels.epoch != sale.epoch:
        figures = f"the gate has epoch {levels.epoch}, the ledger {sale.epoch}"
    return Finding(
        "4 nothing stranded",
        f"{figures}, stock {sale.stock}; stranded {len(found.stranded)}; pending too long {len(found.overdue)}",
        levels.loaded and levels.epoch == sale.epoch and total == levels.stock == sale.stock and not found.stranded,
        (
            *(
                f"order {order_id} of shopper {one.shopper_id}: units {_joined(one.units)} are neither sold nor pending"
                for order_id, one in found.stranded.items()
            ),
            *(
                f"order {order_id} of shopper {one.shopper_id}: pending since {one.reserved_at:%H:%M:%S} UTC"
                for order_id, one in found.overdue.items()
            ),
        ),
    )


def guarded(problem: str | None) -> Finding:
    """Whether the ledger refuses what promises 1, 2 and 5 forbid; `problem` is what `indexes.unguarded` says."""
    return Finding("1, 2, 5 are guarded", problem or "the ledger's unique indexes are in place", problem is None)


def _units_sold(found: Evidence) -> int:
    return sum(len(units) for _, _, units, _ in found.sold.values())


def _joined(units: tuple[int, ...]) -> str:
    return ", ".join(map(str, units))
