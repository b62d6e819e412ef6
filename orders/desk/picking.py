"""Orders picked for something larger: by a list that somebody pasted, or by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orders import ledger_desk
from orders.desk.deeds import Deed
from orders.desk.finding import NUMBER, Kind, NotUnderstood, Reading, readings
from orders.desk.words import stands
from orders.ledger_desk import OrderRecord

AT_MOST = 10_000
NAMES_NEED_A_SALE = "Choose the sale: names and unit numbers count within one sale."


@dataclass(frozen=True, slots=True)
class Picked:
    """`ready` can be done; `left_out` says of each line or order id that can't why not."""

    ready: list[OrderRecord] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    @property
    def order_ids(self) -> list[str]:
        return [record.order.id for record in self.ready]

    @property
    def units(self) -> list[int]:
        """All units that these orders hold; of several sales, one after the other."""
        return sorted(unit for record in self.ready for unit in record.order.units)


def lines_of(pasted: str) -> list[str]:
    """The lines that say something, each once, in order; quotes around one, as from a spreadsheet, are left out."""
    lines = (line.strip().strip('"').strip() for line in pasted.splitlines())
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


async def by_lines(deed: Deed, lines: Sequence[str], sale_id: str | None, numbers: Kind) -> Picked:
    """The orders that pasted lines mean: order ids, receipt links, `#17`, names. `numbers`: what a bare number means.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be asked.
    """
    understood: list[tuple[str, Reading]] = []
    left_out: list[tuple[str, str]] = []
    for line in lines:
        try:
            understood.append((line, _read(line, sale_id, numbers)))
        except NotUnderstood as error:
            left_out.append((line, str(error)))
    of_kind = {kind: [one.value for _, one in understood if one.kind is kind] for kind in Kind}
    by_id = await ledger_desk.read_all(of_kind[Kind.ORDER])
    held: list[OrderRecord] = []
    if sale_id:
        units = list(map(int, of_kind[Kind.UNIT]))
        held = await ledger_desk.held_by(sale_id, shopper_ids=of_kind[Kind.SHOPPER], units=units)
    by_unit = {unit: record for record in held for unit in record.order.units}
    by_shopper: dict[str, list[OrderRecord]] = {}
    for record in held:
        by_shopper.setdefault(record.order.shopper_id, []).append(record)
    meant: list[tuple[str, OrderRecord | None]] = []
    for line, one in understood:
        if one.kind is Kind.ORDER:
            found = by_id.get(one.value)
            if found and sale_id and found.order.sale_id != sale_id:
                left_out.append((line, "an order of another sale"))
            else:
                meant.append((line, found))
        elif one.kind is Kind.UNIT and int(one.value) in by_unit:
            meant.append((line, by_unit[int(one.value)]))
        elif one.kind is Kind.SHOPPER and one.value in by_shopper:
            meant += [(line, record) for record in by_shopper[one.value]]
        else:
            left_out.append((line, f"nobody holds {one.words}" if one.kind is Kind.UNIT else "holds no order here"))
    picked = _sorted_out(deed, meant)
    return Picked(picked.ready, left_out + picked.left_out)


def _read(line: str, sale_id: str | None, numbers: Kind) -> Reading:
    found = readings(line, in_sale=sale_id is not None)
    if NUMBER.match(line):
        found = [one for one in found if one.kind is numbers]
    if not found or (found[0].kind is not Kind.ORDER and sale_id is None):
        raise NotUnderstood(NAMES_NEED_A_SALE)
    return found[0]


def _sorted_out(deed: Deed, meant: Sequence[tuple[str, OrderRecord | None]]) -> Picked:
    ready: dict[str, OrderRecord] = {}
    left_out = []
    for line, record in meant:
        if record is not None and record.state is deed.needs:
            ready[record.order.id] = record
        else:
            left_out.append((line, stands(record)))
    return Picked(list(ready.values()), left_out)
