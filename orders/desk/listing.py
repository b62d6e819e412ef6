"""One page of the orders that a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flashdrop.redis_client import RedisError
from orders import ledger_desk
from orders.desk.asked import Asked
from orders.desk.finding import Reading
from orders.desk.waiting import Waiting, waiting
from orders.ledger_desk import OrderRecord, OrderState, Place

PER_PAGE = 50
NOTHING_WAITS = Waiting([], has_more=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Orders of the ledger, newest first, with the places to go on from; those being confirmed; and what it was that
    the term was understood as.
    """

    records: list[OrderRecord] = field(default_factory=list)
    newer: Place | None = None
    older: Place | None = None
    waiting: Waiting = NOTHING_WAITS
    is_gate_known: bool = True
    reading: Reading | None = None


async def look(asked: Asked, sale_ids: Sequence[str], after: Place | None = None, before: Place | None = None) -> Page:
    """The page of `asked` after or before a place, else the first; `sale_ids` are those whose gate is asked.

    Each way to understand the term is tried until one finds something.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be asked; `ExecutionTimeout`: it has too much to read.
    """
    page = Page()
    for reading in asked.ways:
        page = await _look(asked, reading, sale_ids, after, before)
        if page.records or page.waiting.orders:
            return page
    return page


async def _look(
    asked: Asked, reading: Reading | None, sale_ids: Sequence[str], after: Place | None, before: Place | None
) -> Page:
    wanted = asked.wanted(reading)
    pending, is_gate_known = NOTHING_WAITS, True
    if after is None and before is None and asked.state is None:
        try:
            pending = await waiting(wanted, sale_ids)
        except RedisError:
            is_gate_known = False
    if asked.is_pending_only:
        return Page(waiting=pending, is_gate_known=is_gate_known, reading=reading)
    if before is not None:
        found = await ledger_desk.search(wanted, PER_PAGE + 1, before=before)
        if len(found) > PER_PAGE:
            return Page(found[1:], newer=_place(found[1]), older=_place(found[-1]), reading=reading)
        return await _look(asked, reading, sale_ids, None, None)  # too few: it is the first page, with what is new
    found = await ledger_desk.search(wanted, PER_PAGE + 1, after)
    shown = found[:PER_PAGE]
    return Page(
        shown,
        newer=_place(shown[0]) if after and shown else None,
        older=_place(shown[-1]) if len(found) > PER_PAGE else None,
        waiting=pending,
        is_gate_known=is_gate_known,
        reading=reading,
    )


async def look_all(asked: Asked, state: OrderState, count: int) -> list[OrderRecord]:
    """All orders of `asked` that are in `state`, at most `count`, newest first.

    Raises:
        pymongo.errors.PyMongoError: see `look`.
    """
    for reading in asked.ways:
        if found := await ledger_desk.search(replace(asked.wanted(reading), state=state), count):
            return found
    return []


def _place(record: OrderRecord) -> Place:
    return Place(record.order.reserved_at, record.order.id)
