"""The viewer's own panel on a sale's page: who am I, what is mine here, what can I do next.

Each state is one partial, cut once for a sale's version and a language, and filled for each viewer
(`flashdrop/stencils.py`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.utils.html import conditional_escape, escape
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_noop as _

from flashdrop.languages import locale_of, moment_html, translated
from flashdrop.stencils import Stencil
from orders.answers import ANSWERS
from orders.history import History
from orders.identity import GUEST_NAME, Shopper
from orders.order import Order, OrderStatus
from orders.placing import Refusal
from orders.receipts import receipt_path
from sales.money import format_minor
from sales.published import PublishedSale

# A few versions of every sale on show, in each state and language.
STENCILS_KEPT = 4096
HOLES = {
    "_me_signed_out": ("notice",),
    "_me_ready": ("name", "notice"),
    "_me_order": ("name", "units", "order_id", "receipt_url", "total", "purchased_at", "notice"),
    "_me_pending": ("name", "units"),
    "_me_given_up": ("name", "notice", "receipt_url"),
    "_me_taken": ("name",),
}


def signed_out(sale: PublishedSale, language: str, notice: str = "") -> str:
    """Nobody is signed in. `notice`, here and below, is a message from the code's own set, not translated yet."""
    words = translated(notice, language)
    return _stencil("_me_signed_out", sale, language, has_notice=bool(notice)).fill(notice=words)


def ready(sale: PublishedSale, language: str, shopper: Shopper, notice: str = "") -> str:
    """Signed in, nothing bought yet; `notice` tells what came of a try."""
    texts = {"name": shown_name(shopper.name, language), "notice": translated(notice, language)}
    return _stencil("_me_ready", sale, language, has_notice=bool(notice)).fill(**texts)


def refused(sale: PublishedSale, language: str, shopper: Shopper, refusal: Refusal) -> str:
    """The answer to a try that came to nothing; the same button is the retry."""
    if refusal is Refusal.NAME_NEEDED:
        return signed_out(sale, language, ANSWERS[refusal].message)
    return ready(sale, language, shopper, ANSWERS[refusal].message)


def taken(sale: PublishedSale, language: str, shopper: Shopper) -> str:
    """This name has bought in another browser; nothing more is said."""
    return _stencil("_me_taken", sale, language).fill(name=shown_name(shopper.name, language))


def with_order(sale: PublishedSale, language: str, order: Order, *, still_allowed: int, notice: str = "") -> str:
    """An order of this browser, and the form once more when this shopper may buy `still_allowed` more units."""
    units, name = ", ".join(map(str, order.units)), shown_name(order.shopper_name, language)
    if order.status is OrderStatus.PENDING:
        return _stencil("_me_pending", sale, language).fill(name=name, units=units)
    if order.is_given_up:
        texts = {"notice": given_up_notice(order, language), "receipt_url": receipt_path(order.id)}
        return _stencil("_me_given_up", sale, language).fill(name=name, **texts)
    fixed = {"still_allowed": max(still_allowed, 0), "has_notice": bool(notice)}
    texts = {"notice": translated(notice, language), **order_texts(order, language)}
    return _stencil("_me_order", sale, language, **fixed).fill(name=name, units=units, order_id=order.id, **texts)


def for_history(sale: PublishedSale, language: str, shopper: Shopper, history: History, notice: str = "") -> str:
    """The panel of somebody who has come to look."""
    if not history.visible:
        return taken(sale, language, shopper) if history.has_hidden else ready(sale, language, shopper, notice)
    # What is held is what counts; an order that was given up is told of where there is nothing else.
    standing = next((order for order in history.visible if order.units), history.visible[0])
    return with_order(sale, language, standing, still_allowed=still_allowed(sale, history), notice=notice)


def still_allowed(sale: PublishedSale, history: History) -> int:
    """Units this shopper may still buy, as far as this browser may know: none once another browser holds some."""
    held = sum(len(order.units) for order in history.visible)
    return 0 if history.has_hidden else max(0, sale.limit_per_shopper - held)


def shown_name(name: str, language: str) -> str:
    """A shopper's name as it was given; the word for a guest is ours, and so is translated."""
    return translated(GUEST_NAME, language) if name == GUEST_NAME else name


def given_up_notice(order: Order, language: str) -> str:
    """What became of an order that was given up: when, and what went back on sale."""
    if order.status is not OrderStatus.CANCELLED:
        return translated(_("This order could not be confirmed. Nothing was bought."), language)
    texts = given_up_texts(order, language)
    # Whole sentences, for languages that put their parts in another order. An order that is cancelled has both texts,
    # unless it was cancelled before they were kept.
    if texts["given_up_at"] and texts["returned_units"]:
        message = _("This order was cancelled on %(given_up_at)s. No. %(returned_units)s went back on sale.")
    else:
        message = _("This order was cancelled. What it held went back on sale.")
    parts = {name: conditional_escape(text) for name, text in texts.items()}
    return mark_safe(escape(translated(message, language)) % parts)  # noqa: S308


def given_up_texts(order: Order, language: str) -> dict[str, str]:
    """What an order held before it was given up, and when that was; empty for one that stands."""
    at = order.given_up_at
    return {
        "returned_units": ", ".join(map(str, order.returned_units)),
        "given_up_at": moment_html(at.replace(microsecond=0), language, seconds=True) if at else "",
    }


def order_texts(order: Order, language: str) -> dict[str, str]:
    """An order's money, time and receipt link as people read them."""
    total = format_minor(order.price_minor * order.quantity, order.currency, locale_of(language))
    at = order.reserved_at.replace(microsecond=0)
    return {
        "receipt_url": receipt_path(order.id),
        "total": total,
        "purchased_at": moment_html(at, language, seconds=True),
    }


def _stencil(name: str, sale: PublishedSale, language: str, **fixed: Any) -> Stencil:
    return _cut(name, sale, language, tuple(fixed.items()))


@lru_cache(STENCILS_KEPT)
def _cut(name: str, sale: PublishedSale, language: str, fixed: tuple[tuple[str, Any], ...]) -> Stencil:
    values = dict(fixed)
    context = {
        "sale": sale,
        "price": format_minor(sale.price_minor, sale.currency, locale_of(language)),
        "quantities": range(1, values.get("still_allowed", sale.limit_per_shopper) + 1),
        **values,
    }
    return Stencil(f"orders/{name}.html", context, HOLES[name], language)
