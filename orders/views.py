"""The shop floor's pages about the viewer: sign in and out, my orders, receipts. Buying is `orders.buying`."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django_htmx.middleware import HtmxDetails

from flashdrop.api import by_method, page
from flashdrop.errors import handler404, plain_error
from flashdrop.languages import language_of, locale_of, render
from flashdrop.ratelimit import limited
from orders import identity, notices, panel
from orders.answers import SIGN_OUT_LATER
from orders.history import History, HistoryUnknown, find_order, history_in, history_of
from orders.identity import InvalidIdentifier, Shopper, shopper_of
from orders.notices import Notice
from orders.order import Order, OrderStatus
from orders.placing import Refusal
from orders.receipts import order_id_of
from orders.replies import (
    answer,
    history_unknown,
    html,
    later,
    panel_answer,
    private,
    redirect,
    refuse_form,
    wants_partial,
)
from orders.sessions import NotEnded
from sales.archive import if_known, sale_named, shown
from sales.board import current_board
from sales.money import format_minor
from sales.published import PublishedSale
from sales.showing import Showing
from sales.views import on_show

# The version of the sale's settings that the page has heard of already.
VERSION_PARAMETER = "seen"
VERSION = re.compile(r"[0-9]{1,15}")


@page("GET")
async def me(request: HttpRequest, sku: str) -> HttpResponseBase:
    """The viewer's own panel: a partial for HTMX, a page of its own without JavaScript."""
    board = await current_board()
    showing = await on_show(request, sku)
    if isinstance(showing, HttpResponse):
        return showing
    # Another part of the page, asking meanwhile, must not take what the page is to tell.
    told = None if wants_partial(request) else notices.remembered(request, sku)
    if told or _seen_version(request) > showing.sale.version:
        await board.look_again()
        showing = board.by_sku.get(sku, showing)
    shopper = shopper_of(request)
    try:
        history = await history_in(shopper, showing.sale.id) if shopper else None
    except HistoryUnknown:
        # Not a panel: what is on show stays there, and the page asks again.
        return history_unknown(request)
    sale, language = showing.sale, language_of(request)
    allowed = panel.still_allowed(sale, history) if history else 0
    notice = told if told and notices.still_holds(told, showing, shopper, history, allowed) else None
    if shopper is None or history is None or (notice and notice.code == Refusal.NAME_NEEDED.value):
        response = panel_answer(request, showing, panel.signed_out(sale, language, notice))
    else:
        notice = notices.as_it_is(notice, showing) if notice else None
        left = identity.left_here(request)
        text = panel.for_history(sale, language, shopper, history, notice, available=showing.available, left=left)
        is_pending = any(order.status is OrderStatus.PENDING for order in history.visible)
        response = panel_answer(request, showing, text, is_pending=is_pending)
    if told:
        notices.forget(response, reverse("me", args=[sku]))
    return response


@page("POST")
@limited
async def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Sign in, and go back to where that was asked for."""
    refused = refuse_form(request)
    if refused is not None:
        return refused
    showing = await if_known(shown(request.POST.get("sku", "")))
    try:
        is_guest = request.POST.get("guest") == "1"
        identifier, present = request.POST.get("identifier", ""), identity.in_this_browser(request)
        shopper = identity.sign_in_guest() if is_guest else identity.sign_in(identifier, present)
    except InvalidIdentifier as error:
        if showing is None:
            return plain_error(request, 400, "VALIDATION_ERROR", str(error))
        notice = Notice(notices.INVALID_NAME, message=str(error))
        text = panel.signed_out(showing.sale, language_of(request), notice)
        return answer(request, showing, text, 400, notice)
    response = await _signed_in(request, showing, shopper)
    identity.remember(request, response, shopper)
    return response


@limited
async def sign_out(request: HttpRequest) -> HttpResponseBase:
    """Sign out, and go back to where that was asked for; with orders that it hides, tell so first."""
    refused = refuse_form(request)
    if refused is not None:
        return refused
    showing = await if_known(shown(request.POST.get("sku", "")))
    try:
        rows = [] if request.POST.get("confirmed") else await _at_stake(request)
        if rows and showing is not None and wants_partial(request):
            return panel_answer(request, showing, _leaving(request, showing, rows))
        if rows:
            return redirect(reverse("sign_out") + (f"?sku={showing.sale.sku}" if showing else ""))
        await identity.end_session(request)
    except (HistoryUnknown, NotEnded):
        return later(request, SIGN_OUT_LATER)
    if showing is None:
        response: HttpResponse = redirect(reverse("my_orders"))
    else:
        response = answer(request, showing, panel.signed_out(showing.sale, language_of(request)), 200)
    identity.forget(request, response)
    return response


async def before_signing_out(request: HttpRequest) -> HttpResponseBase:
    """What signing out costs, for browsers without scripts and from *My orders*."""
    showing = await if_known(shown(request.GET.get("sku", "")))
    try:
        rows = await _at_stake(request)
    except HistoryUnknown:
        return history_unknown(request)
    if not rows:
        return redirect(reverse("me", args=[showing.sale.sku]) if showing else reverse("my_orders"))
    return html(request, "orders/leaving.html", {"me": _leaving(request, showing, rows)})


leave = by_method(GET=before_signing_out, POST=sign_out)


@page("GET")
async def my_orders(request: HttpRequest) -> HttpResponseBase:
    """The viewer's orders in all sales."""
    shopper = shopper_of(request)
    if shopper is None:
        return html(request, "orders/list.html", {"shopper_name": None, "orders": []})
    board = await current_board()
    try:
        history = await history_of(shopper, list(board.sales))
    except HistoryUnknown:
        return history_unknown(request)
    language = language_of(request)
    was_here = not identity.left_here(request).isdisjoint(history.hidden_sessions)
    context = {
        "shopper_name": panel.shown_name(shopper.name, language),
        "orders": await _order_rows(history.visible, language),
        "hidden": "left" if was_here else "elsewhere" if history.hidden_sessions else "",
    }
    return html(request, "orders/list.html", context)


@page("GET")
async def receipt(request: HttpRequest, token: str) -> HttpResponseBase:
    """One order, for whoever holds its link."""
    order_id = order_id_of(token)
    if order_id is None:
        return handler404(request)
    try:
        order = await find_order(order_id)
    except HistoryUnknown:
        return history_unknown(request)
    if order is None:
        if HtmxDetails(request):
            return private(HttpResponse(status=204))  # nothing new: what is being read stays
        # We signed this id, so the order was reserved; it is on its way into the ledger.
        row: dict[str, Any] = {"id": order_id, "status": "pending"}
    else:
        row = _order_row(order, await if_known(sale_named(order.sku)), language_of(request))
    return html(request, "orders/receipt.html", {"order": row, "is_pending": order is None, "here": request.path})


async def _signed_in(request: HttpRequest, showing: Showing | None, shopper: Shopper) -> HttpResponse:
    if showing is None:
        return redirect(reverse("my_orders"))
    if not wants_partial(request):
        return redirect(reverse("me", args=[showing.sale.sku]))
    try:
        history = await history_in(shopper, showing.sale.id)
    except HistoryUnknown:
        history = History([], has_hidden=False)
    sale, available, left = showing.sale, showing.available, identity.left_here(request)
    text = panel.for_history(sale, language_of(request), shopper, history, available=available, left=left)
    return panel_answer(request, showing, text)


async def _at_stake(request: HttpRequest) -> list[dict[str, Any]]:
    """The orders that this browser shows and won't after signing out.

    Raises:
        HistoryUnknown: a store is away.
    """
    shopper = identity.in_this_browser(request)
    if shopper is None:
        return []
    history = await history_of(shopper, list((await current_board()).sales))
    return await _order_rows(history.visible, language_of(request))


def _leaving(request: HttpRequest, showing: Showing | None, rows: list[dict[str, Any]]) -> str:
    context = {"sale": showing.sale if showing else None, "orders": rows}
    return render("orders/_me_leaving.html", context, language_of(request))


async def _order_rows(orders: list[Order], language: str) -> list[dict[str, Any]]:
    sales = await asyncio.gather(*(if_known(sale_named(order.sku)) for order in orders))
    return [_order_row(order, sale, language) for order, sale in zip(orders, sales, strict=True)]


def _seen_version(request: HttpRequest) -> int:
    seen = request.GET.get(VERSION_PARAMETER, "")
    return int(seen) if VERSION.fullmatch(seen) else 0


def _order_row(order: Order, sale: PublishedSale | None, language: str) -> dict[str, Any]:
    return {
        "id": order.id,
        "sku": order.sku,
        "product_name": sale.name if sale else order.sku,
        "shopper_name": panel.shown_name(order.shopper_name, language),
        "status": order.status.value,
        "units": ", ".join(map(str, order.units)),
        "quantity": order.quantity,
        "price": format_minor(order.price_minor, order.currency, locale_of(language)),
        **panel.order_texts(order, language),
        **panel.given_up_texts(order, language),
        "given_up_notice": panel.given_up_notice(order, language) if order.is_given_up else "",
        "is_on_show": sale is not None and sale.published,
    }
