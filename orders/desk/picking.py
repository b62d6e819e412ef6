"""Orders picked for something larger: by a list that somebody pasted, or by their ids.

A line that can mean two orders is left out and says so: what is done to many is never guessed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from orders import ledger_desk
from orders.desk.deeds import Deed
from orders.desk.finding import Kind, NotUnderstood, Reading, Understood, is_guest_name, understand
from orders.desk.words import named, stands
from orders.ledger_desk import OrderRecord

AT_MOST = 10_000
NAMES_NEED_A_SALE = "Choose the sale: names and unit numbers count within one sale."
GUESTS = "Our lists call everybody so who gave no name. Use the order id, the receipt link or the unit."
SAY_WHICH = "Go back and say whether numbers are units or names."
BY_ID = "Take the one you mean by its order id."
# Of the orders that one reading finds.
NAMED = 3
NOBODY = {Kind.ORDER: "not in the ledger", Kind.UNIT: "nobody holds it", Kind.SHOPPER: "holds no order here"}
# A form sends its line ends so; anything else that splits lines may be part of a name.
LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Picked:
    """`ready` can be done; `left_out` says of each line or order id that can't why not. `lines`: those of a pasted list
    that meant an order, by its id.
    """

    ready: list[OrderRecord] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    lines: dict[str, list[str]] = field(default_factory=dict)

    @property
    def order_ids(self) -> list[str]:
        return [record.order.id for record in self.ready]

    @property
    def units(self) -> list[int]:
        """All units that these orders hold; of several sales, one after the other."""
        return sorted(unit for record in self.ready for unit in record.order.units)


def lines_of(pasted: str) -> list[str]:
    """The lines that say something, each once, in order."""
    lines = (line.strip() for line in LINE_END.split(pasted.removeprefix("\ufeff")))
    return list(dict.fromkeys(line for line in lines if line))


async def read(order_ids: Sequence[str]) -> list[tuple[str, OrderRecord | None]]:
    """Each order as it stands now; None where the ledger has none."""
    known = await ledger_desk.read_all(order_ids)
    return [(order_id, known.get(order_id)) for order_id in order_ids]


async def by_ids(deed: Deed, order_ids: Sequence[str]) -> Picked:
    """Of these orders, those in the state that `deed` starts from.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be asked.
    """
    return _sorted_out(deed, await read(order_ids))


async def by_lines(deed: Deed, lines: Sequence[str], sale_id: str | None, numbers: Kind | None) -> Picked:
    """The orders that pasted lines mean: order ids, receipt links, `#17`, names. `numbers`: what a bare number means;
    None where nobody said, and then such lines are left out.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be asked.
    """
    understood: list[tuple[str, Understood]] = []
    left_out: list[tuple[str, str]] = []
    for line in lines:
        try:
            understood.append((line, understand(line, in_sale=sale_id is not None)))
        except NotUnderstood as error:
            left_out.append((line, str(error)))
    found = await _Found.all([reading for _, one in understood for reading in one.readings], sale_id)
    meant: list[tuple[str, OrderRecord | None]] = []
    for line, one in understood:
        try:
            meant += [(line, record) for record in _meant(line, one, found, sale_id, numbers)]
        except NotUnderstood as why:
            left_out.append((line, str(why)))
    picked = _sorted_out(deed, meant)
    return Picked(picked.ready, left_out + picked.left_out, picked.lines)


class _Found:
    """What the ledger has for each reading, asked for all of them together."""

    def __init__(self) -> None:
        self._records: defaultdict[tuple[Kind, str], dict[str, OrderRecord]] = defaultdict(dict)

    @classmethod
    async def all(cls, readings: Sequence[Reading], sale_id: str | None) -> _Found:
        found = cls()
        of_kind = {kind: list({one.value for one in readings if one.kind is kind}) for kind in Kind}
        for record in (await ledger_desk.read_all(of_kind[Kind.ORDER])).values():
            found._add(Kind.ORDER, record.order.id, record)
        for record in await ledger_desk.held_by(sale_id, list(map(int, of_kind[Kind.UNIT]))) if sale_id else ():
            for unit in record.order.units:
                found._add(Kind.UNIT, str(unit), record)
        for record in await ledger_desk.of_shoppers(sale_id, of_kind[Kind.SHOPPER]):
            found._add(Kind.SHOPPER, record.order.shopper_id, record)
        return found

    def _add(self, kind: Kind, value: str, record: OrderRecord) -> None:
        self._records[kind, value][record.order.id] = record

    def of(self, reading: Reading) -> list[OrderRecord]:
        """Oldest first. A shopper's include those that were given up: whoever bought here once may be meant."""
        found = self._records.get((reading.kind, reading.value), {}).values()
        return sorted(found, key=lambda record: (record.order.reserved_at, record.units))


def _meant(
    line: str, understood: Understood, found: _Found, sale_id: str | None, numbers: Kind | None
) -> Sequence[OrderRecord]:
    """The orders of the one reading that `line` can have.

    Raises:
        NotUnderstood: there is none, or more than one; the text says which.
    """
    if is_guest_name(line):
        raise NotUnderstood(GUESTS)
    readings = understood.readings
    may_be_unit = any(reading.kind is Kind.UNIT for reading in readings)
    if may_be_unit and understood.is_number:
        if numbers is None:
            raise NotUnderstood(f"can mean {_each(readings, found)} {SAY_WHICH}")
        readings = tuple(reading for reading in readings if reading.kind is numbers)
    hits = [reading for reading in readings if found.of(reading)]
    if len({tuple(sorted(record.order.id for record in found.of(reading))) for reading in hits}) > 1:
        raise NotUnderstood(f"can mean {_each(hits, found)} {BY_ID}")
    if hits and numbers is not Kind.UNIT and all(hit.kind is Kind.UNIT for hit in hits):
        # Perhaps a name of somebody who bought nothing here: only who said that numbers are units means one.
        raise NotUnderstood(f"can mean {_each(readings, found)} {SAY_WHICH if numbers is None else BY_ID}")
    is_order = any(reading.kind is Kind.ORDER for reading in readings)
    if sale_id is None and not (is_order and (not hits or hits[0].kind is Kind.ORDER)):
        raise NotUnderstood(NAMES_NEED_A_SALE)
    if not hits:
        raise NotUnderstood(stands(None) if is_order else f"no order here: {_each(readings, found)}")
    records = found.of(hits[0])
    if sale_id and any(record.order.sale_id != sale_id for record in records):
        raise NotUnderstood("an order of another sale")
    # Whoever bought here once was looked for; what counts is what they hold now.
    return [record for record in records if record.order.slots] or records


def _each(readings: Sequence[Reading], found: _Found) -> str:
    """`unit 1 (order ... of Ann) or the shopper “no1” (holds no order here).`"""
    ways = [f"{one.words} ({'; '.join(map(named, found.of(one)[:NAMED])) or NOBODY[one.kind]})" for one in readings]
    return f"{' or '.join(ways)}."


def _sorted_out(deed: Deed, meant: Sequence[tuple[str, OrderRecord | None]]) -> Picked:
    ready: dict[str, OrderRecord] = {}
    lines: defaultdict[str, list[str]] = defaultdict(list)
    left_out = []
    for line, record in meant:
        if record is not None and record.state is deed.needs:
            ready[record.order.id] = record
            lines[record.order.id].append(line)
        else:
            left_out.append((line, stands(record)))
    return Picked(list(ready.values()), left_out, dict(lines))
