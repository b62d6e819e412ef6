"""One page of the orders that a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flashdrop.redis_client import RedisError
from orders import ledger_desk
from orders.desk.asked import Asked
from orders.desk.finding import NotUnderstood, Reading
from orders.desk.waiting import Waiting, waiting
from orders.ledger_desk import OrderRecord, OrderState, Place

PER_PAGE = 50
NOTHING_WAITS = Waiting([], has_more=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Orders of the ledger, newest first, with the places to go on from; those being confirmed; and what the term was
    understood as to find them.
    """

    records: list[OrderRecord] = field(default_factory=list)
    newer: Place | None = None
    older: Place | None = None
    waiting: Waiting = NOTHING_WAITS
    is_gate_known: bool = True
    reading: Reading | None = None


async def look(
    asked: Asked, sale_ids: Sequence[str], after: Place | None = None, before: Place | None = None
) -> list[Page]:
    """The page of `asked` after or before a place, else the first; `sale_ids` are those whose gate is asked.

    One for each way to understand the term that finds something; an empty one where none does. After or before a place
    there is one way, the one that was chosen.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be asked; `ExecutionTimeout`: it has too much to read.
    """
    pages = [await _look(asked, reading, sale_ids, after, before) for reading in asked.ways]
    return [page for page in pages if page.records or page.waiting.orders] or pages[:1]


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
        NotUnderstood: the term can be understood in more than one way, and none was chosen.
        pymongo.errors.PyMongoError: see `look`.
    """
    if len(asked.ways) > 1:
        ways = " or ".join(reading.words for reading in asked.readings)
        raise NotUnderstood(f"“{asked.texts['q']}” can mean {ways}. Search for it, and choose which you mean.")
    (reading,) = asked.ways
    return await ledger_desk.search(replace(asked.wanted(reading), state=state), count)


def _place(record: OrderRecord) -> Place:
    return Place(record.order.reserved_at, record.order.id)
