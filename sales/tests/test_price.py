"""Prices: taken as people write them anywhere, and never guessed where they can be read in two ways."""

# ruff: noqa: RUF001
from __future__ import annotations

import re

import pytest
from babel.numbers import get_currency_precision
from hypothesis import assume, given
from hypothesis import strategies as st

from sales.desk import price
from sales.desk.price import BadPrice
from sales.models import MAX_PRICE_MINOR

CURRENCIES = ("EUR", "USD", "JPY", "KRW", "KWD", "BHD", "TND", "INR", "CHF", "CLF")


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("129.00", "EUR", 12900),
        ("129,00", "EUR", 12900),
        ("129", "EUR", 12900),
        (" 129.00 eur", "EUR", 12900),
        ("EUR 129.00", "EUR", 12900),
        ("€129.00", "EUR", 12900),
        ("129,00 €", "EUR", 12900),
        ("$ 129.00", "CAD", 12900),
        ("0", "USD", 0),
        ("0.99", "USD", 99),
        ("13000", "JPY", 13000),
        ("¥13000", "JPY", 13000),
        ("01.290", "KWD", 1290),
        ("0.290", "KWD", 290),
        ("1290", "KWD", 1290000),
        ("1290.000", "KWD", 1290000),
        ("1,290.000", "KWD", 1290000),
        ("1٫290", "KWD", 1290),
        # One reading only, however it is grouped.
        ("1 290", "EUR", 129000),
        ("1\u00a0290,00", "EUR", 129000),
        ("1\u202f290,00", "EUR", 129000),
        ("1'290.00", "CHF", 129000),
        ("1’290.00", "CHF", 129000),
        ("1,290.00", "EUR", 129000),
        ("1.290,00", "EUR", 129000),
        ("1.234.567", "EUR", 123456700),
        ("12 345 678.90", "USD", 1234567890),
        ("١٢٩٫٠٠", "EUR", 12900),
        ("١٬٢٩٠٫٠٠", "EUR", 129000),
        ("۱۲۹", "EUR", 12900),
        ("１２９.００", "EUR", 12900),
        ("\u200f١٢٩\u200f", "EUR", 12900),
    ],
)  # fmt: skip
def test_prices_are_taken_as_people_write_them(text: str, currency: str, minor: int) -> None:
    assert price.to_minor(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "currency", "said"),
    [
        ("1,290", "KWD", "1,290 may mean KWD1,290.000 or KWD1.290. Write 1290.000 or 01.290."),
        ("1.290", "KWD", "may mean KWD1,290.000 or KWD1.290"),
        ("12,500", "TND", "may mean TND12,500.000 or TND12.500"),
        ("1,290", "EUR", "1,290 may mean €1,290.00 or €1.29. Write 1290.00 or 1.29."),
        ("1.290", "EUR", "may mean €1,290.00 or €1.29"),
        ("129.000", "EUR", "may mean €129,000.00 or €129.00"),
        ("1,295", "EUR", "may mean €1,295.00, or 1 and the decimals 295, which EUR does not have"),
        ("13,000", "JPY", "may mean ¥13,000 or ¥13. Write 13000 or 13."),
        ("13.000", "JPY", "may mean ¥13,000 or ¥13"),
        ("13,500", "JPY", "may mean ¥13,500, or 13 and the decimals 500"),
        ("129.5", "EUR", "has 2 decimals, this one has 1. Write it like 129.00"),
        ("1.29", "KWD", "has 3 decimals, this one has 2. Write it like 1290.000"),
        ("13000.00", "JPY", "has no decimals. Write a whole number, such as 129."),
        ("1,290.000", "EUR", "has 2 decimals, this one has 3"),
        ("1,29,000", "INR", "it can't be told what its separators mean"),
        ("12 9.00", "EUR", "it can't be told what its separators mean"),
        ("1'29", "EUR", "it can't be told what its separators mean"),
        ("1,290,00", "EUR", "it can't be told what its separators mean"),
        ("-1", "EUR", "can't be below zero"),
        ("−1", "EUR", "can't be below zero"),
        ("cheap", "EUR", "as a number, such as 129.00"),
        ("1", "XXQ", "not a currency we know"),
        ("12 USD", "EUR", "as a number"),
        ("$12", "EUR", "as a number"),
        ("12€90", "EUR", "as a number"),
        ("12EUR90", "EUR", "as a number"),
        ("1..2", "EUR", "as a number"),
        ("½", "EUR", "as a number"),
        ("1e3", "EUR", "as a number"),
        ("", "EUR", "as a number"),
    ],
)
def test_prices_that_could_mean_two_things_are_not_guessed(text: str, currency: str, said: str) -> None:
    with pytest.raises(BadPrice, match=re.escape(said)):
        price.to_minor(text, currency)


amounts = st.integers(min_value=0, max_value=MAX_PRICE_MINOR)


@given(amounts, st.sampled_from(CURRENCIES))
def test_what_the_form_shows_it_takes(minor: int, currency: str) -> None:
    assert price.to_minor(price.plain(minor, currency), currency) == minor


@given(amounts, st.sampled_from(CURRENCIES), st.sampled_from("., '\u00a0\u202f’"), st.sampled_from(".,"))
def test_whatever_somebody_means_nothing_else_is_taken(minor: int, currency: str, group: str, point: str) -> None:
    """Written in anybody's way, with their own separators: it is what they mean, or it is refused."""
    assume(group != point)
    decimals = get_currency_precision(currency)
    whole, rest = divmod(minor, 10**decimals)
    for digits in (f"{whole:,}".replace(",", group), str(whole)):
        for text in (f"{digits}{point}{rest:0{decimals}d}" if decimals else digits, digits):
            meant = minor if text != digits or not decimals else whole * 10**decimals
            try:
                assert price.to_minor(text, currency) == meant, text
            except BadPrice:
                # Refused for a reason: it reads otherwise with other separators.
                assert len(re.sub(r"[0-9]", "", text)) >= 1
