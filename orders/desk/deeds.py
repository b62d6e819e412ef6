"""What can be done to an order at the desk: cancel it, mark it as fulfilled, undo that. One order, or many in steps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flashdrop.mongo_client import PyMongoError
from orders import cancelling, ledger_desk
from orders.cancelling import CannotCancel
from orders.desk.words import stands
from orders.ledger_desk import Event, OrderRecord, OrderState
from sales import permissions

# As many as the ledger's connections of one process.
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing to do: `name` in addresses, `done` in histories; `needs` is the state it starts from."""

    name: str
    done: str
    label: str
    permission: str
    needs: OrderState
    leaves: OrderState
    reason_needed: bool


CANCEL = Deed("cancel", "cancelled", "Cancel", permissions.CANCEL_ORDERS, OrderState.OPEN, OrderState.CANCELLED, True)
FULFIL = Deed("fulfil", "fulfilled", "Fulfil", permissions.FULFIL_ORDERS, OrderState.OPEN, OrderState.FULFILLED, False)
REOPEN = Deed(
    "reopen", "reopened", "Open again", permissions.FULFIL_ORDERS, OrderState.FULFILLED, OrderState.OPEN, True
)
DEEDS = {deed.name: deed for deed in (CANCEL, FULFIL, REOPEN)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: `is_done`, or the order as it stands and `why` not. Unknown: `is_known` is false; try again."""

    order_id: str
    is_done: bool
    record: OrderRecord | None = None
    is_known: bool = True
    is_repeat: bool = False
    """It had been done before, by the same person for the same reason, since they began."""

    @property
    def why(self) -> str:
        """Why it was refused."""
        return stands(self.record)


async def do(deed: Deed, order_id: str, by: str, reason: str) -> Outcome:
    """Do it to one order; one atomic update in the ledger, so that of two people one has their way.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be asked; whether it was done is unknown, repeating is safe.
    """
    if deed is CANCEL:
        try:
            return Outcome(order_id, True, await cancelling.cancel(order_id, by, reason))
        except CannotCancel as refused:
            return Outcome(order_id, False, refused.record)
    change = ledger_desk.fulfil if deed is FULFIL else ledger_desk.reopen
    record = await change(order_id, Event(datetime.now(UTC), deed.done, by, reason))
    return Outcome(order_id, True, record) if record else Outcome(order_id, False, await ledger_desk.read(order_id))


async def do_all(deed: Deed, order_ids: Sequence[str], by: str, reason: str, since: datetime) -> list[Outcome]:
    """Do it to each of `order_ids`: a step of what `by` began at `since`. Repeating a step is harmless.

    Never raises for a store: what is unknown says so.
    """
    free = asyncio.Semaphore(AT_ONCE)

    async def one(order_id: str) -> Outcome:
        async with free:
            try:
                outcome = await do(deed, order_id, by, reason)
            except PyMongoError:
                return Outcome(order_id, False, is_known=False)
        if outcome.is_done or not was_ours(deed, outcome.record, by, reason, since):
            return outcome
        return Outcome(order_id, True, outcome.record, is_repeat=True)

    return list(await asyncio.gather(*map(one, order_ids)))


def was_ours(deed: Deed, record: OrderRecord | None, by: str, reason: str, since: datetime) -> bool:
    """Whether how an order stands is what `by` did to it for this reason since then."""
    if record is None or record.state is not deed.leaves or not record.events:
        return False
    last = record.events[-1]
    return (last.what, last.by, last.reason) == (deed.done, by, reason) and last.at >= since
