"""The sale as a merchandiser has set it: is it what anybody would want to open? No store is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from babel.numbers import get_currency_precision

from orders.readiness.line import Line, amber, green, red
from sales.desk.words import duration, moment
from sales.money import format_minor
from sales.published import SaleSettings

SHORTEST = timedelta(minutes=1)
LONGEST = timedelta(days=30)
FARTHEST = timedelta(days=90)
SOON = timedelta(minutes=2)
HIGH_PRICE = 100_000
SETTINGS = "Change it in Settings."


def check_offer(sale: SaleSettings, others: Sequence[SaleSettings], now: datetime) -> list[Line]:
    """Window, company on the front page, stock, limit and price. `others` are the ledger's sales."""
    return [_window(sale, now), _alone(sale, others, now), _pause(sale), _stock(sale), _price(sale)]


def _window(sale: SaleSettings, now: datetime) -> Line:
    name, lasts = "Window", sale.closes_at - sale.opens_at
    window = f"{moment(sale.opens_at)} to {moment(sale.closes_at)}, {duration(lasts)} long"
    if sale.closes_at <= now:
        return red(name, f"Over since {duration(now - sale.closes_at)}: {window}.", f"Nobody can buy. {SETTINGS}")
    if lasts < SHORTEST:
        return red(name, f"Only {duration(lasts)} long: {window}.", SETTINGS)
    if sale.opens_at <= now:
        return green(name, f"Open now, for another {duration(sale.closes_at - now)}: {window}.")
    opens = f"Opens in {duration(sale.opens_at - now)}: {window}."
    if lasts > LONGEST:
        return amber(name, opens, f"That is a long sale. See that the closing day is meant. {SETTINGS}")
    if sale.opens_at - now > FARTHEST:
        return amber(name, opens, f"That is far away. See that the year is meant. {SETTINGS}")
    if sale.opens_at - now < SOON:
        return amber(
            name, opens, "There is hardly time to put anything right: open later, or leave things as they are."
        )
    return green(name, opens)


def _alone(sale: SaleSettings, others: Sequence[SaleSettings], now: datetime) -> Line:
    name = "Front page"
    beside = [
        one
        for one in others
        if one.id != sale.id
        and one.published
        and one.closes_at > now
        and one.opens_at < sale.closes_at
        and sale.opens_at < one.closes_at
    ]
    if not beside:
        return green(name, "No other sale is open during this one.")
    shown = min([*beside, sale], key=lambda one: (one.paused, one.closes_at, one.id))
    listed = "; ".join(f"{one.name}, {moment(one.opens_at)} to {moment(one.closes_at)}" for one in beside)
    who = "this one" if shown is sale else shown.name
    return amber(
        name,
        f"Open at the same time: {listed}. The front page shows the one that closes first and is neither sold out nor "
        f"paused: {who}.",
        f"Move one of the windows, or send shoppers to /sales/{sale.sku}/ instead of the front page.",
    )


def _pause(sale: SaleSettings) -> Line:
    if sale.paused:
        return red("Pause", "It is paused: when it opens, nobody can buy.", "Resume it in Control.")
    return green("Pause", "It is not paused.")


def _stock(sale: SaleSettings) -> Line:
    name = "Stock and limit"
    found = f"{sale.stock:,} unit{'s' if sale.stock != 1 else ''}, at most {sale.limit_per_shopper} per shopper."
    if sale.stock < 1 or sale.limit_per_shopper < 1:
        return red(name, found, f"Nobody can buy. {SETTINGS}")
    if sale.limit_per_shopper >= sale.stock and sale.stock > 1:
        return amber(name, found, f"One shopper may take everything. If that isn't meant: {SETTINGS}")
    if sale.guests_allowed:
        return amber(
            name,
            f"{found} Guests may buy without a name.",
            "A guest's limit holds per browser only: who opens a second one may buy again. If that isn't meant: "
            f"{SETTINGS}",
        )
    return green(name, found)


def _price(sale: SaleSettings) -> Line:
    name, price = "Price", format_minor(sale.price_minor, sale.currency)
    one = 10 ** get_currency_precision(sale.currency)
    if sale.price_minor == 0:
        return amber(name, f"{price}: it is given away.", f"See that this is meant. {SETTINGS}")
    if sale.price_minor < one:
        found = f"{price}: the price is set in the smallest unit of the currency, {sale.price_minor} here."
        return amber(name, found, f"See that no digits are missing. {SETTINGS}")
    if sale.price_minor >= HIGH_PRICE * one:
        return amber(name, price, f"See that there are not too many digits. {SETTINGS}")
    return green(name, f"{price} each.")
