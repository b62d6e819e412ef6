"""Prices as people type them; the smallest units of the currency are our business.

Half the world writes a comma where the other half writes a point. What can be read in two ways is never guessed.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from babel.numbers import get_currency_name, get_currency_precision, get_currency_symbol, is_currency

from sales.money import format_minor

SIGNS = "€$£¥₹₩₪₫₽₺₴₦฿"
MINUS = ("-", "−", "‒", "–")  # noqa: RUF001
ARABIC_DECIMAL, ARABIC_THOUSANDS = "\u066b", "\u066c"
MAY_BE_DECIMAL = (".", ",", ARABIC_DECIMAL)
# Apostrophes and spaces of all kinds, and what Arabic sets between thousands: never before decimals.
GROUPS_ONLY = ("'", "’", "_", " ", ARABIC_THOUSANDS)  # noqa: RUF001
PARTS = re.compile(rf"[0-9]+(?:[{re.escape(''.join((*MAY_BE_DECIMAL, *GROUPS_ONLY)))}][0-9]+)*\Z")


class BadPrice(ValueError):
    """Says in words what is wrong with what was typed."""


def plain(amount_minor: int, currency: str) -> str:
    """`12900, "EUR"` becomes `129.00`: what the form shows and takes.

    Three decimals after up to three digits could be thousands, so a zero goes before them: `1290, "KWD"` is `01.290`.
    """
    text = str(Decimal(amount_minor).scaleb(-get_currency_precision(currency)))
    return f"0{text}" if _as_thousands(text) is not None and "." in text else text


def to_minor(text: str, currency: str) -> int:
    """`129.00`, `129,00`, `129`, `129.00 EUR`, `1 290,00`, Arabic digits: the number of smallest units.

    Raises:
        BadPrice: it is no number, has other decimals than the currency, or may mean two prices: both are named.
    """
    if not is_currency(currency):
        raise BadPrice(f"{currency} is not a currency we know. Use three capital letters, such as EUR, USD or JPY.")
    decimals = get_currency_precision(currency)
    number = _number(text, currency)
    if number.startswith(MINUS):
        raise BadPrice("The price can't be below zero.")
    example = plain(1290 * 10**decimals if decimals > 2 else 129 * 10**decimals, currency)
    if PARTS.match(number) is None:
        raise BadPrice(f"Write the price as a number, such as {example}.")
    thousands, split = _as_thousands(number), _as_decimals(number)
    if thousands is not None and split is not None:
        _refuse_two_readings(number, currency, thousands, split)
    if thousands is not None:
        return int(thousands * 10**decimals)
    if split is None:
        raise BadPrice(f"Write the price as a number, such as {example}: it can't be told what its separators mean.")
    whole, rest = split
    if rest and len(rest) != decimals:
        name = get_currency_name(currency, locale="en")
        if not decimals:
            raise BadPrice(f"{name} ({currency}) has no decimals. Write a whole number, such as {example}.")
        raise BadPrice(
            f"A price in {currency} has {decimals} decimals, this one has {len(rest)}. Write it like {example}."
        )
    return int(whole + (rest or "0" * decimals))


def _number(text: str, currency: str) -> str:
    """What is left of `text` without the currency, with the digits of whatever script as ours."""
    text = "".join(" " if char.isspace() else char for char in text if unicodedata.category(char) != "Cf").strip()
    signs = [sign for sign in SIGNS if sign in get_currency_symbol(currency, locale="en")]
    for own in (currency, *signs):
        if text.upper().startswith(own):
            text = text[len(own) :].strip()
        elif text.upper().endswith(own):
            text = text[: -len(own)].strip()
    return "".join(str(unicodedata.decimal(char, char)) for char in text)


def _as_thousands(number: str) -> int | None:
    """The number when all of its separators stand between thousands."""
    first, *groups = re.split(r"[^0-9]", number)
    same = len(set(re.sub(r"[0-9]", "", number))) <= 1
    if ARABIC_DECIMAL in number or not same or not _are_thousands(first, groups):
        return None
    return int(first + "".join(groups))


def _as_decimals(number: str) -> tuple[str, str] | None:
    """The whole part and the decimals when the last separator stands before decimals; empty when there is none."""
    separators = re.sub(r"[0-9]", "", number)
    if not separators:
        return number, ""
    head, _, rest = number.rpartition(separators[-1])
    first, *groups = re.split(r"[^0-9]", head)
    others = set(separators[:-1])
    if separators[-1] not in MAY_BE_DECIMAL or separators[-1] in others or len(others) > 1:
        return None
    return (first + "".join(groups), rest) if _are_thousands(first, groups) and ARABIC_DECIMAL not in others else None


def _are_thousands(first: str, groups: list[str]) -> bool:
    if not groups:
        return True
    return len(first) <= 3 and not first.startswith("0") and all(len(group) == 3 for group in groups)


def _refuse_two_readings(number: str, currency: str, thousands: int, split: tuple[str, str]) -> None:
    decimals = get_currency_precision(currency)
    whole, rest = split
    if not rest:
        return
    readings = [thousands * 10**decimals]
    exact = Decimal(f"{whole}.{rest}").scaleb(decimals)
    if exact == exact.to_integral_value():
        readings.append(int(exact))
        spoken = " or ".join(format_minor(reading, currency) for reading in readings)
        ways = " or ".join(plain(reading, currency) for reading in readings)
        raise BadPrice(f"{number} may mean {spoken}. Write {ways}.")
    # 1,295 euros: no price as decimals, but perhaps a slip.
    raise BadPrice(
        f"{number} may mean {format_minor(readings[0], currency)}, or {whole} and the decimals {rest}, which "
        f"{currency} does not have. Write {plain(readings[0], currency)} if you mean the first."
    )
