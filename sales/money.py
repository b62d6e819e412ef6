"""Money for people: integer minor units in, text out."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from babel.numbers import format_currency, get_currency_precision

# A sale has one price and a few totals.
AMOUNTS_REMEMBERED = 1024


@lru_cache(AMOUNTS_REMEMBERED)
def format_minor(amount_minor: int, currency: str, locale: str = "en") -> str:
    """`12900, "EUR"` becomes `€129.00`; how many digits are minor comes from CLDR (none for JPY)."""
    amount = Decimal(amount_minor).scaleb(-get_currency_precision(currency))
    return format_currency(amount, currency, locale=locale)
