"""Which of the sales on show has the front page."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from sales.showing import Phase, Showing

SOON = timedelta(days=1)
FOREVER = datetime.max.replace(tzinfo=UTC)


class Rank(IntEnum):
    """What a sale offers to somebody who has come to the front page, the best first."""

    OPEN = 0
    NOT_READY = 1
    """In its window, and the gate can't be asked: it may well be open."""
    SOON = 2
    """Opens within a day."""
    LATER = 3
    TAKEN = 4
    """All taken for now or sold out, with time left in which a unit may come back."""
    PAUSED = 5
    OVER = 6


def rank(showing: Showing, now: datetime) -> Rank:
    """By the clock first, so that it holds between two looks at the stores, too."""
    sale = showing.sale
    if now < sale.opens_at:
        return Rank.SOON if sale.opens_at - now <= SOON else Rank.LATER
    if now >= sale.closes_at:
        return Rank.OVER
    if sale.paused or showing.phase is Phase.PAUSED:
        return Rank.PAUSED
    if showing.phase is Phase.NOT_READY:
        return Rank.NOT_READY
    return Rank.OPEN if showing.available > 0 else Rank.TAKEN


def choose(shown: Collection[Showing], now: datetime) -> Showing | None:
    """The best by `rank`. Of equals: the next to open, the first of open ones to close, the last of past ones."""

    def order(showing: Showing) -> tuple[Rank, bool, float, str]:
        found = rank(showing, now)
        at = showing.sale.opens_at if found in (Rank.SOON, Rank.LATER) else showing.sale.closes_at
        seconds = (at - now).total_seconds()
        may_come_back = found is Rank.TAKEN and showing.is_settling
        return found, not may_come_back, -seconds if found is Rank.OVER else seconds, showing.sale.id

    return min(shown, key=order, default=None)


def holds_until(shown: Collection[Showing], now: datetime) -> datetime:
    """The next moment at which the clock alone may change the choice."""
    edges = (edge for s in shown for edge in (s.sale.opens_at - SOON, s.sale.opens_at, s.sale.closes_at) if edge > now)
    return min(edges, default=FOREVER)
