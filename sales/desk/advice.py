"""What a merchandiser should know before shoppers do: warnings about a sale's settings. None of them stops a save."""

from __future__ import annotations

from datetime import datetime, timedelta

from sales.desk import words
from sales.models import Sale

SHORTEST = timedelta(minutes=5)
LONGEST = timedelta(days=7)
NAMED_OVERLAPS = 5


def advice(sale: Sale, now: datetime) -> list[str]:
    """Each warning is a sentence or two in plain words; none for a sale that is over."""
    if now >= sale.closes_at:
        return []
    return [*_about_window(sale, now), *_about_buying(sale), *_about_others(sale, now)]


def _about_window(sale: Sale, now: datetime) -> list[str]:
    said, length = [], sale.closes_at - sale.opens_at
    if length < SHORTEST:
        said.append(
            f"The sale lasts only {words.duration(length)}. Some shoppers may not have loaded the page by then."
        )
    elif length > LONGEST:
        said.append(f"The sale lasts {words.duration(length)}. Is the closing date right?")
    if sale.opens_at <= now:
        ago = words.duration(now - sale.opens_at)
        if not sale.published:
            said.append(f"The opening time was {ago} ago. Shoppers can buy in the moment you publish this.")
        elif sale.paused:
            said.append(f"The window opened {ago} ago. Shoppers can buy in the moment you resume.")
        elif not sale.version:
            said.append(f"The opening time was {ago} ago: shoppers can buy at once.")
    return said


def _about_buying(sale: Sale) -> list[str]:
    said = []
    if sale.price_minor == 0:
        said.append("The price is 0: shoppers get it for nothing.")
    if sale.limit_per_shopper > 1:
        fewest = -(-sale.stock // sale.limit_per_shopper)
        said.append(
            f"One shopper may buy up to {sale.limit_per_shopper}. "
            f"{words.units(sale.stock).capitalize()} may be gone after {fewest:,} shopper{'s' if fewest > 1 else ''}."
        )
    if sale.guests_allowed:
        said.append(
            "Guests may buy without giving a name. The limit then holds per browser only: whoever opens another "
            "browser can buy again."
        )
    return said


def _about_others(sale: Sale, now: datetime) -> list[str]:
    overlapping = (
        Sale.objects.filter(published=True, opens_at__lt=sale.closes_at, closes_at__gt=max(sale.opens_at, now))
        .exclude(pk=sale.pk)
        .order_by("opens_at")[:NAMED_OVERLAPS]
    )
    return [_overlap(sale, other) for other in overlapping]


def _overlap(sale: Sale, other: Sale) -> str:
    """As `sales.featuring` chooses: of those running, one that isn't paused and has something left; closes first."""
    start, end = max(sale.opens_at, other.opens_at), min(sale.closes_at, other.closes_at)
    ours_first = (sale.paused, sale.closes_at, sale.pk) < (other.paused, other.closes_at, other.pk)
    why = "it closes first" if sale.paused == other.paused else "the other is paused"
    first, second = ("this sale", f"“{other.name}”") if ours_first else (f"“{other.name}”", "this sale")
    hidden = sale if not ours_first else other
    return (
        f"It overlaps with “{other.name}”, from {words.moment(start)} to {words.moment(end)}. The front page shows one "
        f"sale at a time: {first} meanwhile, because {why}, and {second} once that is sold out. "
        f"Shoppers always reach {second} at /sales/{hidden.sku}/."
    )
