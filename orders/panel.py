"""The viewer's own panel on a sale's page: who am I, what is mine here, what can I do next.

Each state is one partial, cut once for a sale's version and filled for each viewer (`flashdrop/stencils.py`).
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from babel.dates import format_datetime

from flashdrop.stencils import Stencil
from orders.answers import ANSWERS
from orders.history import History
from orders.identity import Shopper
from orders.order import Order, OrderStatus
from orders.placing import Refusal
from orders.receipts import receipt_path
from sales.money import format_minor
from sales.published import PublishedSale

# A few versions of every sale on show, in each state.
STENCILS_KEPT = 2048
SECONDS_REMEMBERED = 256
HOLES = {
    "_me_signed_out": ("notice",),
    "_me_ready": ("name", "notice"),
    "_me_order": ("name", "units", "order_id", "receipt_url", "total", "purchased_at", "notice"),
    "_me_pending": ("name", "units"),
    "_me_given_up": ("name", "notice", "receipt_url"),
    "_me_taken": ("name",),
}


def signed_out(sale: PublishedSale, notice: str = "") -> str:
    """Nobody is signed in."""
    return _stencil("_me_signed_out", sale, has_notice=bool(notice)).fill(notice=notice)


def ready(sale: PublishedSale, shopper: Shopper, notice: str = "") -> str:
    """Signed in, nothing bought yet; `notice` tells what came of a try."""
    return _stencil("_me_ready", sale, has_notice=bool(notice)).fill(name=shopper.name, notice=notice)


def refused(sale: PublishedSale, shopper: Shopper, refusal: Refusal) -> str:
    """The answer to a try that came to nothing; the same button is the retry."""
    if refusal is Refusal.NAME_NEEDED:
        return signed_out(sale, ANSWERS[refusal].message)
    return ready(sale, shopper, ANSWERS[refusal].message)


def taken(sale: PublishedSale, shopper: Shopper) -> str:
    """This name has bought in another browser; nothing more is said."""
    return _stencil("_me_taken", sale).fill(name=shopper.name)


def with_order(sale: PublishedSale, order: Order, *, still_allowed: int, notice: str = "") -> str:
    """An order of this browser, and the form once more when this shopper may buy `still_allowed` more units."""
    units = ", ".join(map(str, order.units))
    if order.status is OrderStatus.PENDING:
        return _stencil("_me_pending", sale).fill(name=order.shopper_name, units=units)
    if order.status is not OrderStatus.COMPLETED:
        texts = {"notice": given_up_notice(order), "receipt_url": receipt_path(order.id)}
        return _stencil("_me_given_up", sale).fill(name=order.shopper_name, **texts)
    return _stencil("_me_order", sale, still_allowed=max(still_allowed, 0), has_notice=bool(notice)).fill(
        name=order.shopper_name, units=units, order_id=order.id, notice=notice, **order_texts(order)
    )


def for_history(sale: PublishedSale, shopper: Shopper, history: History, notice: str = "") -> str:
    """The panel of somebody who has come to look."""
    if not history.visible:
        return taken(sale, shopper) if history.has_hidden else ready(sale, shopper, notice)
    # What is held is what counts; an order that was given up is told of where there is nothing else.
    standing = next((order for order in history.visible if order.units), history.visible[0])
    return with_order(sale, standing, still_allowed=still_allowed(sale, history), notice=notice)


def still_allowed(sale: PublishedSale, history: History) -> int:
    """Units this shopper may still buy, as far as this browser may know: none once another browser holds some."""
    held = sum(len(order.units) for order in history.visible)
    return 0 if history.has_hidden else max(0, sale.limit_per_shopper - held)


def given_up_notice(order: Order) -> str:
    """What became of an order that was given up: when, and what went back on sale."""
    if order.status is not OrderStatus.CANCELLED:
        return "Your order could not be confirmed. Nothing was bought."
    texts = given_up_texts(order)
    when = f" on {texts['given_up_at']}" if texts["given_up_at"] else ""
    what = f"No. {texts['returned_units']}" if texts["returned_units"] else "What it held"
    return f"Your order was cancelled{when}. {what} went back on sale."


def given_up_texts(order: Order) -> dict[str, str]:
    """What an order held before it was given up, and when that was; empty for one that stands."""
    at = order.given_up_at
    return {
        "returned_units": ", ".join(map(str, order.returned_units)),
        "given_up_at": _to_the_second(at.replace(microsecond=0)) if at else "",
    }


def order_texts(order: Order) -> dict[str, str]:
    """An order's money, time and receipt link as people read them."""
    return {
        "receipt_url": receipt_path(order.id),
        "total": format_minor(order.price_minor * order.quantity, order.currency),
        "purchased_at": _to_the_second(order.reserved_at.replace(microsecond=0)),
    }


@lru_cache(SECONDS_REMEMBERED)
def _to_the_second(at: datetime) -> str:
    return format_datetime(at, "d MMM y, HH:mm:ss 'UTC'", locale="en")


def _stencil(name: str, sale: PublishedSale, **fixed: Any) -> Stencil:
    return _cut(name, sale, tuple(fixed.items()))


@lru_cache(STENCILS_KEPT)
def _cut(name: str, sale: PublishedSale, fixed: tuple[tuple[str, Any], ...]) -> Stencil:
    values = dict(fixed)
    context = {
        "sale": sale,
        "price": format_minor(sale.price_minor, sale.currency),
        "quantities": range(1, values.get("still_allowed", sale.limit_per_shopper) + 1),
        **values,
    }
    return Stencil(f"orders/{name}.html", context, HOLES[name])
