"""The verdict on one fault: what the clients were told, held against what the ledger has."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from flashdrop.faults.faults import Fault
from flashdrop.faults.row import Row
from flashdrop.faults.shoppers import DONE, Answer
from flashdrop.redis_client import redis
from orders import ledger
from orders.audit import audit
from sales import catalogue, stock
from sales.published import PublishedSale

SOLD_OUT = "OUT_OF_STOCK"
LIMIT = "LIMIT_EXCEEDED"
WINDOW = ("FLASH_SALE_NOT_STARTED", "FLASH_SALE_ENDED")
NOT_HERE = "PRODUCT_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Balance:
    """Where the units of a sale are."""

    stock: int
    available: int
    pending: int
    confirmed: int
    is_loaded: bool
    broken: tuple[str, ...]
    """The promises that `orders.audit` finds broken, with their figures."""

    @property
    def stranded(self) -> int:
        """Units that are nowhere, or in two places, or still pending."""
        return abs(self.stock - self.available - self.confirmed)

    @property
    def holds(self) -> bool:
        return self.is_loaded and not self.stranded and not self.broken


async def balance(sale_id: str) -> Balance:
    """Count once.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store can't be asked.
    """
    sale = await catalogue.get(sale_id)
    assert sale is not None
    found = await audit(sale)
    tally = await ledger.tally(sale_id)
    _, (levels,) = await stock.levels(redis(), [sale_id])
    return Balance(
        stock=sale.stock,
        available=levels.available,
        pending=await stock.pending_count(redis(), sale_id),
        confirmed=tally.units,
        is_loaded=levels.loaded and levels.epoch == sale.epoch,
        broken=tuple(f"{one.promise}: {one.figures}" for one in found.findings if not one.holds),
    )


@dataclass(frozen=True, slots=True)
class Record:
    """What the suite saw of one fault. `probed_at` is when things had settled and new shoppers were sent."""

    fault: Fault
    sale: PublishedSale
    answers: list[Answer]
    ids: dict[str, str]
    """The shopper ids that the ledger knows the suite's shoppers by."""
    ended_at: float
    probed_at: float
    balanced_after: float | None
    false_boards: int
    window_moves: bool
    notes: list[str]


async def judge(record: Record) -> Row:
    """Hold the clients' record against the ledger."""
    final = await balance(record.sale.id)
    sold: dict[str, tuple[int, ...]] = {}
    held_by: defaultdict[str, list[str]] = defaultdict(list)
    async for shopper_id, order_id, units, _ in ledger.holdings(record.sale.id):
        sold[order_id] = units
        held_by[shopper_id].append(order_id)
    named = {name: held_by.get(shopper_id, []) for name, shopper_id in record.ids.items()}
    purchases = [answer for answer in record.answers if answer.is_purchase]
    told_done = {(a.shopper, a.order_id or "", a.units) for a in record.answers if a.is_success}
    notes = [*record.notes, *final.broken]
    lost = [one for one in told_done if one[1] not in sold or sold[one[1]] != one[2]]
    notes += [f"lost: {shopper} order {order_id} units {units}" for shopper, order_id, units in lost[:3]]
    return Row(
        fault=record.fault.name,
        what=record.fault.what,
        stock=final.stock,
        confirmed=final.confirmed,
        oversold=await _oversold(final, record.sale.id, told_done),
        over_limit=len(await ledger.over_limit(record.sale.id, record.sale.limit_per_shopper)),
        doubled=_doubled(named, told_done),
        lost=len(lost),
        stranded=final.stranded,
        untrue=_untrue(record, purchases, named, final, notes),
        wrong_retries=_wrong_retries(purchases, notes),
        # A gate that forgets everything may forget what it promised: that is not held against it, and not told as kept.
        unkept=None if record.fault.gate_forgets else await _unkept(record.answers, notes),
        server_errors=sum(answer.status == 500 for answer in record.answers),
        errors=_errors(record.answers),
        recovered_after=_recovered_after(purchases, record.ended_at),
        balanced_after=record.balanced_after,
        notes=notes,
    )


async def _oversold(final: Balance, sale_id: str, told_done: set[tuple[str, str, tuple[int, ...]]]) -> int:
    """Units beyond the stock, units sold twice, and units that two clients were told are theirs."""
    twice = len(await ledger.doubly_sold(sale_id))
    holders = Counter(unit for order_id, units in {(one[1], one[2]) for one in told_done} for unit in units)
    told_twice = sum(1 for count in holders.values() if count > 1)
    return max(0, final.confirmed - final.stock) + max(twice, told_twice)


def _doubled(named: dict[str, list[str]], told_done: set[tuple[str, str, tuple[int, ...]]]) -> int:
    told: defaultdict[str, set[str]] = defaultdict(set)
    for shopper, order_id, _ in told_done:
        told[shopper].add(order_id)
    return sum(1 for name, orders in named.items() if len(orders) > 1 or len(told[name]) > 1)


def _untrue(
    record: Record, purchases: list[Answer], named: dict[str, list[str]], final: Balance, notes: list[str]
) -> int:
    found: list[Answer] = [answer for answer in purchases if answer.code == NOT_HERE]
    if not record.window_moves:
        found += [answer for answer in purchases if answer.code in WINDOW]
    found += [answer for answer in purchases if answer.code == LIMIT and not named[answer.shopper]]
    if final.confirmed < final.stock:
        found += [answer for answer in purchases if answer.code == SOLD_OUT and answer.sent_at > record.probed_at]
    if record.fault.stock >= record.fault.shoppers:
        found += [answer for answer in purchases if answer.code == SOLD_OUT and answer.sent_at < record.probed_at]
    last: dict[str, Answer] = {}
    for answer in purchases:
        if answer.status and (answer.shopper not in last or last[answer.shopper].answered_at < answer.answered_at):
            last[answer.shopper] = answer
    found += [answer for name, answer in last.items() if answer.code in (SOLD_OUT, LIMIT) and named[name]]
    notes += [f"untrue: {count} x {code}" for code, count in Counter(answer.code for answer in found).items()]
    if record.false_boards:
        notes.append(f"untrue: {record.false_boards} pages said sold out")
    return len(found) + record.false_boards


def _wrong_retries(purchases: list[Answer], notes: list[str]) -> int | None:
    """Repeats of a confirmed purchase that were not answered with it; None where nobody repeated one."""
    done: dict[str, tuple[float, str | None]] = {}
    for answer in purchases:
        if answer.is_success and (answer.shopper not in done or answer.answered_at < done[answer.shopper][0]):
            done[answer.shopper] = answer.answered_at, answer.order_id
    repeats = [a for a in purchases if a.shopper in done and a.sent_at > done[a.shopper][0]]
    wrong = [
        answer
        for answer in repeats
        if 400 <= answer.status < 500 or (answer.is_success and answer.order_id != done[answer.shopper][1])
    ]
    notes += [f"wrong retry: {count} x {code}" for code, count in Counter(answer.code for answer in wrong).items()]
    return len(wrong) if repeats else None


async def _unkept(answers: list[Answer], notes: list[str]) -> int | None:
    """How many orders a client was told are reserved that the ledger doesn't have, or has with other units.

    None where nobody was told so.
    """
    pending = [answer for answer in answers if answer.order_status == "pending" and answer.order_id]
    promised = {answer.order_id: answer.units for answer in pending if answer.order_id}
    if not promised:
        return None
    standing = await ledger.find(sorted(promised))
    unkept = [
        order_id
        for order_id, units in sorted(promised.items())
        if order_id not in standing or (standing[order_id].units and standing[order_id].units != units)
    ]
    notes += [f"unkept: order {order_id}" for order_id in unkept[:3]]
    return len(unkept)


def _errors(answers: list[Answer]) -> dict[str, int]:
    """What clients saw besides an order or a refusal."""
    counts = Counter(
        answer.code if answer.status != 202 else "202 pending"
        for answer in answers
        if (answer.status in (0, 202) or answer.status >= 500) and answer.code != "left"
    )
    return dict(counts.most_common())


def _recovered_after(purchases: list[Answer], ended_at: float) -> float | None:
    """Seconds from the end of the fault to the first order for somebody who asked after it."""
    after = [a.answered_at for a in purchases if a.is_success and a.order_status == DONE and a.sent_at >= ended_at]
    return round(min(after) - ended_at, 2) if after else None
