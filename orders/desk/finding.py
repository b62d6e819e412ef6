"""What somebody typed or pasted, understood: an order, a unit, or a shopper's name.

People choose their own names, so that any text may be a shopper's: `no1`, an order's number, a receipt's address. Every
way to understand a text is given, and whoever acts on it chooses by what the ledger finds for each. Nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from enum import StrEnum

from flashdrop.spreadsheet import unmarked
from orders.identity import GUEST_NAME, InvalidIdentifier, check_identifier, shopper_id
from orders.ledger_desk import Wanted
from orders.receipts import order_id_of

ORDER_ID = re.compile(r"[0-9a-f]{24}\Z")
# A receipt's address, or a page of the desk.
LINK = re.compile(r"/orders/([^/?#\s]+)")
# As our pages write units, as people do, and as a number alone.
UNIT = re.compile(r"(#|n[or]\.?|number|units?:?)? ?([1-9]\d{0,7}|[1-9]\d{0,2}(?:,\d{3}){1,2})\.?\Z")
# What is longer is no unit, however it is written.
LONGEST_UNIT = 40
CHOOSE_A_SALE = "Choose the sale to look for unit {}: unit numbers count within one sale."
NO_RECEIPT = "That link is not a receipt of this shop, or a part of it is missing."


class Kind(StrEnum):
    """What a text can stand for."""

    ORDER = "order"
    UNIT = "unit"
    SHOPPER = "shopper"


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to understand a text: an order id, a unit's number or a shopper id in `value`, and how to say it.

    `key` tells the readings of one text apart.
    """

    kind: Kind
    value: str
    words: str
    key: str

    def within(self, wanted: Wanted) -> Wanted:
        """`wanted`, narrowed down to this."""
        match self.kind:
            case Kind.ORDER:
                return replace(wanted, order_id=self.value)
            case Kind.UNIT:
                return replace(wanted, unit=int(self.value))
            case _:
                return replace(wanted, shopper_id=self.value)


@dataclass(frozen=True, slots=True)
class Understood:
    """Every way to understand a text, whether it is a number and nothing else, and a `hint` for whoever meant something
    that is missing.
    """

    readings: tuple[Reading, ...] = ()
    is_number: bool = False
    hint: str = ""


class NotUnderstood(ValueError):
    """It can't stand for anything; the text says why and what to do."""


def understand(text: str, *, in_sale: bool) -> Understood:
    """The ways to understand `text`: as an order, a unit, a shopper; none for nothing.

    Raises:
        NotUnderstood: there is no way.
    """
    found: dict[tuple[Kind, str], Reading] = {}
    hint = problem = ""
    is_number = False

    def add(kind: Kind, value: str, words: str) -> None:
        count = sum(known is kind for known, _ in found)
        found.setdefault((kind, value), Reading(kind, value, words, f"{kind}-{count + 1}" if count else kind.value))

    plain = _without_quotes(text.strip())
    forms = list(dict.fromkeys([*plain, *map(unmarked, plain)]))
    for form in forms:
        link = LINK.search(form)
        named = link[1] if link else form
        if order_id := named.lower() if ORDER_ID.match(named.lower()) else order_id_of(named):
            add(Kind.ORDER, order_id, f"order {order_id}")
        elif link:
            hint = NO_RECEIPT
    for form in plain:  # what bears the mark of a text is no number
        if len(form) <= LONGEST_UNIT and (unit := UNIT.match(_plain(form))):
            is_number = unit[1] is None
            number = int(unit[2].replace(",", ""))
            if in_sale:
                add(Kind.UNIT, str(number), f"unit {number:,}")
            else:
                hint = CHOOSE_A_SALE.format(f"{number:,}")
    for form in forms:
        try:
            name = check_identifier(form)
        except InvalidIdentifier as error:
            problem = str(error)
        else:
            add(Kind.SHOPPER, shopper_id(name), f"the shopper “{name}”")
    if forms and not found:
        raise NotUnderstood(hint or problem)
    return Understood(tuple(found.values()), is_number, hint)


def is_guest_name(text: str) -> bool:
    """Whether it is what our lists call all those who gave no name."""
    forms = [form for form in _without_quotes(text.strip()) if len(form) <= LONGEST_UNIT]
    return any(_plain(form) == GUEST_NAME.casefold() for form in forms)


def _without_quotes(text: str) -> list[str]:
    """The text as it stands, and without the quotes that a spreadsheet puts around it."""
    forms = [text]
    if len(text) > 2 and text[0] == text[-1] == '"':
        forms.append(text[1:-1].replace('""', '"').strip())
    return [form for form in forms if form]


def _plain(text: str) -> str:
    """Whatever the width, the case and the white space."""
    seen = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", seen).casefold().split())
