"""What somebody typed into the search box, understood: an order, a unit, or a shopper's name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from orders.identity import InvalidIdentifier, check_identifier, shopper_id
from orders.ledger_desk import Wanted
from orders.receipts import order_id_of

ORDER_ID = re.compile(r"[0-9a-f]{24}\Z")
# A receipt's address, or a page of the desk.
LINK = re.compile(r"/orders/([^/?#\s]+)")
UNIT = re.compile(r"(?:#|no\.?\s*|unit\s+)(\d{1,8})\Z", re.IGNORECASE)
NUMBER = re.compile(r"\d{1,8}\Z")


class Kind(StrEnum):
    """What a text can stand for."""

    ORDER = "order"
    UNIT = "unit"
    SHOPPER = "shopper"


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to understand a text: an order id, a unit's number or a shopper id in `value`, and how to say it."""

    kind: Kind
    value: str
    words: str

    def within(self, wanted: Wanted) -> Wanted:
        """`wanted`, narrowed down to this."""
        match self.kind:
            case Kind.ORDER:
                return replace(wanted, order_id=self.value)
            case Kind.UNIT:
                return replace(wanted, unit=int(self.value))
            case _:
                return replace(wanted, shopper_id=self.value)


class NotUnderstood(ValueError):
    """It can't stand for anything; the text says why and what to do."""


def readings(text: str, *, in_sale: bool) -> list[Reading]:
    """The ways to understand `text`, the likeliest first; none for nothing.

    Raises:
        NotUnderstood: there is no way.
    """
    text = text.strip()
    if not text:
        return []
    if link := LINK.search(text):
        order_id = link[1] if ORDER_ID.match(link[1]) else order_id_of(link[1])
        if order_id is None:
            raise NotUnderstood("That link is not a receipt of this shop, or a part of it is missing.")
        return [_order(order_id)]
    if order_id := order_id_of(text):
        return [_order(order_id)]
    if unit := UNIT.match(text):
        if not in_sale:
            raise NotUnderstood("Unit numbers count within one sale. Choose the sale, then search again.")
        return [_unit(unit[1])]
    if ORDER_ID.match(text.lower()):
        return [_order(text.lower()), _shopper(text)]
    if NUMBER.match(text) and in_sale:
        return [_unit(text), _shopper(text)]
    return [_shopper(text)]


def _order(order_id: str) -> Reading:
    return Reading(Kind.ORDER, order_id, f"order {order_id}")


def _unit(number: str) -> Reading:
    return Reading(Kind.UNIT, number, f"unit {int(number):,}")


def _shopper(text: str) -> Reading:
    try:
        name = check_identifier(text)
    except InvalidIdentifier as error:
        raise NotUnderstood(str(error)) from error
    return Reading(Kind.SHOPPER, shopper_id(name), f"the shopper “{name}”")
