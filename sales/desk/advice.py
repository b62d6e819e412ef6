"""What may be a slip in a sale's settings, or surprise whoever set them: said before shoppers find out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from babel.numbers import get_currency_precision

from sales.desk import words
from sales.models import Sale
from sales.money import format_minor
from sales.published import SaleSettings

SHORTEST = timedelta(minutes=5)
LONGEST = timedelta(days=7)
FURTHEST = timedelta(days=365)
NAMED_OVERLAPS = 5
# So many times another price or stock, or so small a part of it, may be a slip with the decimal point.
TENFOLD = 10
# The same for a price that is unusual anyhow.
THREEFOLD = 3
# Where no other sale says what things cost here: in whole units of a currency with decimals, and of one without.
CHEAP, DEAR = 5, 10_000
WITHOUT_DECIMALS = 100
MANY_UNITS = 100_000


class Warning(NamedTuple):
    """`key` names what is doubtful, so that one answer to it holds; `fields` are the settings that it follows from."""

    key: str
    fields: frozenset[str]
    text: str


WINDOW = frozenset({"opens_at", "closes_at", "published"})


def advice(sale: Sale, now: datetime) -> list[str]:
    """Each warning is a sentence or two in plain words; none for a sale that is over."""
    return [warning.text for warning in warnings(sale, now)]


def warnings(sale: Sale, now: datetime, before: SaleSettings | None = None) -> list[Warning]:
    """What deserves a second look in `sale` as it is about to be; `before` is how it was."""
    if now >= sale.closes_at:
        return []
    return [
        *_about_window(sale, now),
        *_about_price(sale, before),
        *_about_buying(sale, before),
        *_about_others(sale, now),
    ]


def unanswered(sale: Sale, now: datetime, before: SaleSettings | None) -> list[Warning]:
    """Those that come with a change from `before` (None: a new sale), or with its being published."""
    found = warnings(sale, now, before)
    if before is None or (sale.published and not before.published):
        return found
    after = sale.settings()
    changed = {name for name in words.LABELS if getattr(after, name) != getattr(before, name)}
    if not sale.published:
        changed.discard("published")  # being taken off the shop, it is neither bought nor in anybody's way
    return [warning for warning in found if warning.fields & changed]


def _about_window(sale: Sale, now: datetime) -> list[Warning]:
    said, length = [], sale.closes_at - sale.opens_at
    if length < SHORTEST:
        text = f"The sale lasts only {words.duration(length)}. Some shoppers may not have loaded the page by then."
        said.append(Warning("short", WINDOW, text))
    elif length > LONGEST:
        said.append(Warning("long", WINDOW, f"The sale lasts {words.duration(length)}. Is the closing date right?"))
    if sale.opens_at - now > FURTHEST:
        text = f"The sale opens in {words.duration(sale.opens_at - now)}, in {sale.opens_at.year}. Is the year right?"
        said.append(Warning("far", WINDOW, text))
    if sale.opens_at <= now:
        ago = words.duration(now - sale.opens_at)
        text = ""
        if not sale.published:
            text = f"The opening time was {ago} ago. Shoppers can buy in the moment you publish this."
        elif sale.paused:
            text = f"The window opened {ago} ago. Shoppers can buy in the moment you resume."
        elif not sale.version:
            text = f"The opening time was {ago} ago: shoppers can buy at once."
        if text:
            said.append(Warning("open", WINDOW, text))
    return said


def _about_price(sale: Sale, before: SaleSettings | None) -> list[Warning]:
    amount, fields = sale.price_minor, frozenset({"price_minor", "currency"})
    if amount == 0:
        return [Warning("free", fields, "The price is 0: shoppers get it for nothing.")]
    price = format_minor(amount, sale.currency)
    if before is not None and before.price_minor and before.currency == sale.currency:
        earlier = format_minor(before.price_minor, before.currency)
        if _is_far_from(amount, before.price_minor):
            return [Warning("price", fields, f"The price goes from {earlier} to {price}. Is the decimal point right?")]
    decimals = get_currency_precision(sale.currency)
    whole = amount / 10**decimals if decimals else amount / WITHOUT_DECIMALS
    is_usual = CHEAP <= whole <= DEAR
    others = list(
        Sale.objects.filter(currency=sale.currency, price_minor__gt=0)
        .exclude(pk=sale.pk)
        .values_list("price_minor", flat=True)
        .distinct()
    )
    if any(not _is_far_from(amount, other, TENFOLD if is_usual else THREEFOLD) for other in others):
        return []
    if others:
        nearest = min(others, key=lambda other: max(amount / other, other / amount))
        text = f"The price is {price}; the nearest of any other sale is {format_minor(nearest, sale.currency)}."
        return [Warning("price", fields, f"{text} Is the decimal point right?")]
    if is_usual:
        return []
    much = "little" if whole < CHEAP else "much"
    return [Warning("price", fields, f"The price is {price}, which is {much} for one unit. Is it right?")]


def _is_far_from(one: int, other: int, times: int = TENFOLD) -> bool:
    return max(one, other) >= times * min(one, other)


def _about_buying(sale: Sale, before: SaleSettings | None) -> list[Warning]:
    said, buying = [], frozenset({"stock", "limit_per_shopper"})
    if sale.stock >= MANY_UNITS:
        text = f"{words.units(sale.stock)} are on sale. Is that how many there are?"
        said.append(Warning("stock", frozenset({"stock"}), text))
    elif before is not None and before.stock != sale.stock and _is_far_from(sale.stock, before.stock):
        text = f"The stock goes from {before.stock:,} to {sale.stock:,}. Is that how many there are?"
        said.append(Warning("stock", frozenset({"stock"}), text))
    if sale.limit_per_shopper > sale.stock:
        text = (
            f"One shopper may buy up to {sale.limit_per_shopper:,}, which is more than the {words.units(sale.stock)} "
            "there are: the first may take everything."
        )
        said.append(Warning("limit", buying, text))
    elif sale.limit_per_shopper > 1:
        fewest = -(-sale.stock // sale.limit_per_shopper)
        text = (
            f"One shopper may buy up to {sale.limit_per_shopper}. "
            f"{words.units(sale.stock).capitalize()} may be gone after {fewest:,} shopper{'s' if fewest > 1 else ''}."
        )
        said.append(Warning("limit", buying, text))
    if sale.guests_allowed:
        text = (
            "Guests may buy without giving a name. The limit then holds per browser only: whoever opens another "
            "browser can buy again."
        )
        said.append(Warning("guests", frozenset({"guests_allowed"}), text))
    return said


def _about_others(sale: Sale, now: datetime) -> list[Warning]:
    overlapping = (
        Sale.objects.filter(published=True, opens_at__lt=sale.closes_at, closes_at__gt=max(sale.opens_at, now))
        .exclude(pk=sale.pk)
        .order_by("opens_at")[:NAMED_OVERLAPS]
    )
    return [Warning(f"overlap {other.pk}", WINDOW, _overlap(sale, other)) for other in overlapping]


def _overlap(sale: Sale, other: Sale) -> str:
    """As `sales.featuring` chooses: of those running, one that isn't paused and has something left; closes first."""
    start, end = max(sale.opens_at, other.opens_at), min(sale.closes_at, other.closes_at)
    ours_first = (sale.paused, sale.closes_at, sale.pk) < (other.paused, other.closes_at, other.pk)
    why = "it closes first" if sale.paused == other.paused else "the other is paused"
    until = "it is resumed" if sale.paused or other.paused else "that is sold out"
    first, second = ("this sale", f"“{other.name}”") if ours_first else (f"“{other.name}”", "this sale")
    hidden = sale if not ours_first else other
    return (
        f"It overlaps with “{other.name}”, from {words.moment(start)} to {words.moment(end)}. The front page shows one "
        f"sale at a time: {first} meanwhile, because {why}, and {second} once {until}. "
        f"Shoppers always reach {second} at /sales/{hidden.sku}/."
    )
