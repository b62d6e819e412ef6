"""Prices as people type them; the smallest units of the currency are our business."""

from __future__ import annotations

import re
from decimal import Decimal

from babel.numbers import get_currency_name, get_currency_precision, is_currency

NUMBER = re.compile(r"(?P<whole>[0-9]+)(?:[.,](?P<rest>[0-9]+))?\Z")
SIGNS = re.compile(r"[€$£¥]")


class BadPrice(ValueError):
    """Says in words what is wrong with what was typed."""


def plain(amount_minor: int, currency: str) -> str:
    """`12900, "EUR"` becomes `129.00`: what the form shows and takes."""
    return str(Decimal(amount_minor).scaleb(-get_currency_precision(currency)))


def to_minor(text: str, currency: str) -> int:
    """`129.00`, `129,00`, `129` or `129.00 EUR` become 12900.

    Raises:
        BadPrice: it is no number, or has other decimals than the currency. It is not guessed: 1,290 may be either.
    """
    if not is_currency(currency):
        raise BadPrice(f"{currency} is not a currency we know. Use three capital letters, such as EUR, USD or JPY.")
    decimals = get_currency_precision(currency)
    example = plain(129 * 10**decimals, currency)
    bare = SIGNS.sub("", re.sub(rf"\b{currency}\b", "", text, flags=re.IGNORECASE)).strip()
    if bare.startswith("-"):
        raise BadPrice("The price can't be below zero.")
    found = NUMBER.match(bare)
    if found is None:
        raise BadPrice(f"Write the price as a number, such as {example}, without separators for thousands.")
    whole, rest = found["whole"], found["rest"] or ""
    if rest and len(rest) != decimals:
        name = get_currency_name(currency, locale="en")
        if not decimals:
            raise BadPrice(f"{name} ({currency}) has no decimals. Write a whole number, such as {example}.")
        raise BadPrice(
            f"A price in {currency} has {decimals} decimals, this one has {len(rest)}. Write it like {example}."
        )
    return int(whole + (rest or "0" * decimals))
