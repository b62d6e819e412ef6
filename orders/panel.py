"""The viewer's own panel on a sale's page: who am I, what is mine here, what can I do next.

Each state is one partial, cut once for a sale's version and a language, and filled for each viewer
(`flashdrop/stencils.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.utils.html import conditional_escape, escape
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_noop as _

from flashdrop.languages import locale_of, moment_html, render, translated
from flashdrop.stencils import Stencil
from orders.history import History
from orders.identity import GUEST_NAME, Shopper
from orders.notices import Notice, words
from orders.order import Order, OrderStatus
from orders.receipts import receipt_path
from sales.money import format_minor
from sales.published import PublishedSale
from sales.showing import limit_text

# A few versions of every sale on show, in each state and language.
STENCILS_KEPT = 4096
HOLES = {
    "_me_signed_out": ("notice", "notice_code"),
    "_me_ready": ("name", "notice", "notice_code"),
    "_me_order": (
        *("name", "units", "order_id", "receipt_url", "total", "purchased_at"),
        *("notice", "notice_code"),
    ),
    "_me_pending": ("name", "units"),
    "_me_given_up": ("name", "what_became", "receipt_url", "notice", "notice_code"),
    "_me_taken": ("name",),
}


def signed_out(sale: PublishedSale, language: str, notice: Notice | None = None) -> str:
    """Nobody is signed in. `notice`, here and below, is what came of a try."""
    return _filled("_me_signed_out", sale, language, _said(notice, sale, language))


def ready(
    sale: PublishedSale, language: str, shopper: Shopper, notice: Notice | None = None, *, available: int | None = None
) -> str:
    """Signed in, nothing bought yet. `available`, here and below: units left, where that is known."""
    allowed = sale.limit_per_shopper
    fixed = _choices(allowed, available) | _said(notice, sale, language, allowed)
    return _filled("_me_ready", sale, language, fixed, notice, name=shown_name(shopper.name, language))


def taken(sale: PublishedSale, language: str, shopper: Shopper, *, was_here: bool = False) -> str:
    """This name has bought in another browser, or in this one before it was signed out; nothing more is said."""
    return _filled("_me_taken", sale, language, {"was_here": was_here}, name=shown_name(shopper.name, language))


def with_orders(
    sale: PublishedSale,
    language: str,
    orders: Sequence[Order],
    *,
    allowed: int,
    notice: Notice | None = None,
    available: int | None = None,
) -> str:
    """Orders of this browser, newest first, and the form once more when this shopper may buy `allowed` more units."""
    # What is held is what counts; an order that was given up is told of where there is nothing else, or as news.
    standing = [order for order in orders if order.units]
    since = standing[0].reserved_at if standing else None
    shown = [order for order in orders if order.units or (since and order.given_up_at and order.given_up_at > since)]
    newest = standing[0] if standing else orders[0]
    name = shown_name(newest.shopper_name, language)
    if not standing:
        texts = {"what_became": given_up_notice(newest, language), "receipt_url": receipt_path(newest.id)}
        fixed = _choices(allowed, available) | _said(notice, sale, language, allowed)
        return _filled("_me_given_up", sale, language, fixed, notice, name=name, **texts)
    texts = {
        "name": name,
        "units": ", ".join(str(unit) for order in reversed(standing) for unit in order.units),
        "total": _sum_text(standing, language),
    }
    is_pending = any(order.status is OrderStatus.PENDING for order in standing)
    if is_pending and len(shown) == 1:
        return _filled("_me_pending", sale, language, {}, name=name, units=texts["units"])
    fixed = _choices(0 if is_pending else allowed, available) | _said(notice, sale, language, allowed, has_bought=True)
    if len(shown) == 1:
        texts |= {"order_id": newest.id, **order_texts(newest, language)}
        return _filled("_me_order", sale, language, fixed, notice, **texts)
    parts = [
        {
            "status": order.status.value,
            "units": ", ".join(map(str, order.units or order.returned_units)),
            "is_given_up": order.is_given_up,
            **order_texts(order, language),
        }
        for order in shown
    ]
    # As many forms as shoppers: not worth a stencil.
    context = _context(sale, language, fixed | {"is_pending": is_pending, "parts": parts, **texts})
    return _chosen(render("orders/_me_order.html", context, language), notice, fixed)


def for_history(
    sale: PublishedSale,
    language: str,
    shopper: Shopper,
    history: History,
    notice: Notice | None = None,
    *,
    available: int | None = None,
    left: frozenset[str] = frozenset(),
) -> str:
    """The panel of somebody who has come to look; `left` are the sessions that this browser had before."""
    if not history.visible:
        if history.has_hidden:
            return taken(sale, language, shopper, was_here=not left.isdisjoint(history.hidden_sessions))
        return ready(sale, language, shopper, notice, available=available)
    allowed = still_allowed(sale, history)
    return with_orders(sale, language, history.visible, allowed=allowed, notice=notice, available=available)


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


def _sum_text(orders: Sequence[Order], language: str) -> str:
    """What all of them cost; money of two currencies, should the sale's have changed in between, is not added up."""
    sums: dict[str, int] = {}
    for order in reversed(orders):
        sums[order.currency] = sums.get(order.currency, 0) + order.price_minor * order.quantity
    return " + ".join(format_minor(amount, currency, locale_of(language)) for currency, amount in sums.items())


def _said(
    notice: Notice | None, sale: PublishedSale, language: str, allowed: int = 0, *, has_bought: bool = False
) -> dict[str, Any]:
    if notice is None:
        return {"notice": "", "notice_code": ""}
    return {
        "notice": words(notice, sale, language, allowed, has_bought=has_bought),
        "notice_code": notice.code,
    }


def _choices(allowed: int, available: int | None) -> dict[str, Any]:
    """How many this shopper may still buy, and how many of those can be chosen now.

    All where nothing is left: the button is closed then, and a unit that comes back opens it.
    """
    return {"allowed": allowed, "offered": min(allowed, available) if available else allowed}


def _filled(
    partial: str,
    sale: PublishedSale,
    language: str,
    fixed: dict[str, Any],
    notice: Notice | None = None,
    **texts: str,
) -> str:
    """The partial from its stencil. What was said goes into holes, as `texts` do; the rest of `fixed` is cut in."""
    said = {hole: fixed[hole] for hole in ("notice", "notice_code") if hole in fixed}
    cut_in = {key: value for key, value in fixed.items() if key not in said}
    if "notice" in said:
        cut_in["has_notice"] = bool(said["notice"])
    # The stencils of one panel must not be as many as there are pairs of what is allowed and what is left.
    is_common = cut_in.get("offered") == cut_in.get("allowed") or cut_in["allowed"] == sale.limit_per_shopper
    cut = _cut if is_common else _cut.__wrapped__
    return _chosen(cut(partial, sale, language, tuple(cut_in.items())).fill(**said, **texts), notice, fixed)


def _chosen(text: str, notice: Notice | None, fixed: dict[str, Any]) -> str:
    """The panel with what the shopper had chosen, or as much of it as can be chosen now."""
    chosen = min(notice.quantity, fixed.get("offered", 0)) if notice else 0
    option = f'<option value="{chosen}"'
    return text.replace(option, f"{option} selected", 1) if chosen > 1 else text


@lru_cache(STENCILS_KEPT)
def _cut(name: str, sale: PublishedSale, language: str, fixed: tuple[tuple[str, Any], ...]) -> Stencil:
    return Stencil(f"orders/{name}.html", _context(sale, language, dict(fixed)), HOLES[name], language)


def _context(sale: PublishedSale, language: str, values: dict[str, Any]) -> dict[str, Any]:
    locale = locale_of(language)
    choices = [
        {
            "quantity": quantity,
            "total": format_minor(sale.price_minor * quantity, sale.currency, locale),
            "is_out": quantity > values["offered"],
        }
        for quantity in range(1, values.get("allowed", 0) + 1)
    ]
    price = format_minor(sale.price_minor, sale.currency, locale)
    limit = limit_text(sale.limit_per_shopper, language)
    said = {"has_notice": bool(values.get("notice"))}
    return {"sale": sale, "price": price, "limit": limit, "choices": choices, **said, **values}
