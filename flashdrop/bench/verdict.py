"""Whether what browsers show in the end is what the ledger holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

SOLD_OUT = "sold_out"
# Panels that say: no order stands under this name.
WITHOUT_ORDER = {"ready", "given_up"}


@dataclass(frozen=True, slots=True)
class LastPage:
    """What one browser shows once everything has settled."""

    shopper_id: str
    phase: str | None
    """Of the banner."""
    state: str | None
    """Of the panel."""
    units: tuple[int, ...]
    """The numbers on the panel."""
    may_buy: bool
    """Whether the buy button can be pressed."""


@dataclass(frozen=True, slots=True)
class Held:
    """An order that stands in the ledger."""

    shopper_id: str
    units: tuple[int, ...]


def untruths(pages: Sequence[LastPage], orders: Iterable[Held], stock: int) -> list[str]:
    """Each way in which the pages of a sold-out sale and the ledger disagree, one line each; empty if they agree.

    `pages` are those of everybody who was there: an order that none of them shows is an untruth as well.
    """
    held: dict[str, list[int]] = {}
    for order in orders:
        held.setdefault(order.shopper_id, []).extend(order.units)
    found = [line for page in pages for line in _of_page(page, held.get(page.shopper_id, []))]
    shown = {page.shopper_id for page in pages}
    found += [f"{_named(units)} of {one}: on no page" for one, units in held.items() if one not in shown]
    sold = Counter(unit for units in held.values() for unit in units)
    found += [f"No. {unit} was sold {times} times" for unit, times in sold.items() if times > 1]
    missing, above = set(range(1, stock + 1)) - sold.keys(), sold.keys() - set(range(1, stock + 1))
    found += [f"{_named(missing)}: not sold"] if missing else []
    found += [f"{_named(above)}: sold, and above the stock"] if above else []
    return found


def _of_page(page: LastPage, units: list[int]) -> list[str]:
    found = []
    who = f"shopper {page.shopper_id}"
    if page.phase != SOLD_OUT:
        found.append(f"{who}: the banner says {page.phase}")
    if page.state == "order":
        if not units or sorted(page.units) != sorted(units):
            found.append(f"{who}: the panel shows {_named(page.units)}, the ledger holds {_named(units)}")
    elif page.state not in WITHOUT_ORDER:
        found.append(f"{who}: the panel says {page.state}, which is nothing definite here")
    elif units:
        found.append(f"{who}: the panel says {page.state}, the ledger holds {_named(units)}")
    elif page.may_buy:
        found.append(f"{who}: the panel still offers to buy")
    return found


def _named(units: Collection[int]) -> str:
    return "No. " + ", ".join(map(str, sorted(units))) if units else "nothing"
