"""An order as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orders.ledger_desk import OrderRecord, OrderState
from orders.order import Order
from orders.receipts import receipt_path
from sales.desk.words import moment
from sales.money import format_minor

PENDING = "pending"
AWAY = "The ledger can't be asked right now, so we don't know. Please try again in a moment."
STATES = {
    OrderState.OPEN.value: "Open",
    OrderState.FULFILLED.value: "Fulfilled",
    OrderState.CANCELLED.value: "Cancelled",
    OrderState.RELEASED.value: "Not confirmed",
    PENDING: "Being confirmed",
}
MEANINGS = {
    OrderState.OPEN.value: "Confirmed, and not handed over yet.",
    OrderState.FULFILLED.value: "Handed over.",
    OrderState.CANCELLED.value: "Given up by somebody at the desk. Its units went back on sale.",
    OrderState.RELEASED.value: "It could not be confirmed in time. Nothing was bought.",
    PENDING: "Reserved. It is confirmed as soon as the ledger has it, usually within a second.",
}
DEEDS = {"cancelled": "Cancelled", "fulfilled": "Fulfilled", "reopened": "Opened again"}
# Beyond this a list of units is not read.
UNITS_SPOKEN = 12


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an order's history."""

    at: datetime
    what: str
    by: str = ""
    reason: str = ""
    detail: str = ""

    @property
    def at_words(self) -> str:
        return moment(self.at)


def units(numbers: Sequence[int]) -> str:
    """`unit 17`, `units 17 and 18`, `units 1, 2, 3 and 200 more`."""
    if not numbers:
        return "no units"
    if len(numbers) == 1:
        return f"unit {numbers[0]:,}"
    shown = [f"{number:,}" for number in numbers[:UNITS_SPOKEN]]
    rest = len(numbers) - len(shown)
    last = f"{rest:,} more" if rest else shown.pop()
    return f"units {', '.join(shown)} and {last}"


def capital(text: str) -> str:
    """With a capital first letter; the rest stays."""
    return text[:1].upper() + text[1:]


def row(order: Order, state: str, sale_name: str = "") -> dict[str, Any]:
    """An order as a line of a list, and what every page says about it."""
    held = order.units or order.returned_units
    return {
        "id": order.id,
        "state": state,
        "state_words": STATES[state],
        "meaning": MEANINGS[state],
        "units": ", ".join(f"{number:,}" for number in held[:UNITS_SPOKEN]) + ("…" if len(held) > UNITS_SPOKEN else ""),
        "units_words": units(held),
        "holds_units": bool(order.units),
        "shopper": order.shopper_name,
        "total": format_minor(order.price_minor * order.quantity, order.currency),
        "price": format_minor(order.price_minor, order.currency),
        "quantity": order.quantity,
        "reserved_at": order.reserved_at,
        "reserved_words": moment(order.reserved_at.replace(microsecond=0)),
        "sku": order.sku,
        "sale_id": order.sale_id,
        "sale_name": sale_name or order.sku,
        "receipt": receipt_path(order.id),
    }


def record_row(record: OrderRecord, sale_name: str = "") -> dict[str, Any]:
    """`row` of an order in the ledger."""
    return row(record.order, record.state.value, sale_name)


def picked_row(record: OrderRecord, sale_names: Mapping[str, str], lines: Sequence[str]) -> dict[str, Any]:
    """What tells one order of many from the others, and the pasted lines that meant it."""
    order = record.order
    return {
        "id": order.id,
        "lines": lines,
        "units": ", ".join(f"{number:,}" for number in record.units),
        "shopper": order.shopper_name,
        "total": format_minor(order.price_minor * order.quantity, order.currency),
        "sale_name": sale_names.get(order.sale_id, order.sku),
    }


def named(record: OrderRecord) -> str:
    """An order in half a sentence: `order 65a…, unit 1 of Ann`; what it gave up is said to be."""
    held = units(record.units) + ("" if record.order.units else ", given back,")
    return f"order {record.order.id}, {held} of {record.order.shopper_name}"


def history(order: Order, record: OrderRecord | None) -> list[Step]:
    """What happened to an order, oldest first; `record` is None while it is in the gate's log only."""
    held = order.units or order.returned_units
    reserved = f"{capital(units(held))} taken out of stock." if held else "Taken out of stock."
    steps = [Step(order.reserved_at, "Reserved", order.shopper_name, detail=reserved)]
    if record is None:
        return steps
    if record.state is OrderState.RELEASED:
        at = record.given_up_at or order.reserved_at
        return [*steps, Step(at, "Not confirmed", detail="Given up by itself; its units went back on sale.")]
    if order.created_at is not None:
        steps.append(Step(order.created_at, "Confirmed", detail="Written to the ledger: from now on it stands."))
    told = {"cancelled": f"{capital(units(record.returned_units))} went back on sale."} if record.returned_units else {}
    for event in record.events:
        what = DEEDS.get(event.what, capital(event.what))
        steps.append(Step(event.at, what, event.by, event.reason, told.get(event.what, "")))
    return steps


def stands(record: OrderRecord | None) -> str:
    """How an order stands, with who and when, as the end of a sentence: `already cancelled by mia at ...`."""
    if record is None:
        return "not in the ledger (it may still be being confirmed)"
    last = record.events[-1] if record.events else None
    done = f" by {last.by} on {moment(last.at.replace(microsecond=0))}" if last else ""
    return {
        OrderState.OPEN: "open",
        OrderState.FULFILLED: f"already fulfilled{done}",
        OrderState.CANCELLED: f"already cancelled{done}",
        OrderState.RELEASED: "not confirmed, so there is nothing to do: nothing was bought",
    }[record.state]
