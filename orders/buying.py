"""Buying on a sale's page, with HTMX and with a plain form."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse

from flashdrop.api import page
from flashdrop.languages import language_of
from flashdrop.ratelimit import limited
from orders import notices, panel
from orders.answers import ANSWERS, SIGN_IN_FIRST
from orders.history import History, HistoryUnknown, history_in
from orders.identity import Shopper, left_here, shopper_of
from orders.notices import Notice, notice_of
from orders.order import OrderStatus
from orders.placing import MAX_QUANTITY, NEVER_SHOWN, Placed, Refusal, Shown, place
from orders.replies import answer, refuse_form, wants_partial
from sales.board import current_board
from sales.published import PublishedSale
from sales.showing import Showing
from sales.views import on_show

PRICE = re.compile(r"[0-9]{1,15}")
CURRENCY = re.compile(r"[A-Z]{3}")


@page("POST")
@limited
async def buy(request: HttpRequest, sku: str) -> HttpResponseBase:
    """Buy: the panel with the answer for HTMX, a redirect for a plain form."""
    refused = refuse_form(request)
    if refused is not None:
        return refused
    board = await current_board()
    showing = await on_show(request, sku)
    if isinstance(showing, HttpResponse):
        return showing
    shopper = shopper_of(request)
    if shopper is None:
        notice = Notice(notices.SIGN_IN)
        text = panel.signed_out(showing.sale, language_of(request), notice)
        return answer(request, showing, text, SIGN_IN_FIRST.status, notice)
    quantity, seen = _quantity(request), _shown(request)
    if quantity is None:
        return await _refused(request, showing, showing.sale, shopper, Notice(notices.INVALID_QUANTITY), status=400)
    placement = await place(shopper, sku, quantity, attempt=_attempt(request, shopper), shown=seen)
    if isinstance(placement, Placed):
        return await _placed(request, showing, shopper, placement)
    sale, notice = showing.sale, notice_of(placement, quantity, seen, board.now())
    if placement.quote is not None:  # newer than what this process shows
        sale = replace(sale, **placement.quote._asdict())
    has_orders = placement.held > 0 or placement.refusal is Refusal.LIMIT_EXCEEDED
    told = ANSWERS[placement.refusal]
    response = await _refused(request, showing, sale, shopper, notice, status=told.status, has_orders=has_orders)
    if response.status_code == told.status and told.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(told.retry_after_seconds)
    return response


async def _placed(request: HttpRequest, showing: Showing, shopper: Shopper, placed: Placed) -> HttpResponse:
    """The order, and with it whatever else this shopper holds here."""
    sale, order = showing.sale, placed.order
    is_all, allowed = placed.held <= len(order.units), sale.limit_per_shopper - placed.held
    orders = [order]
    if not is_all:
        try:
            history = await history_in(shopper, sale.id)
            # This one may not be there yet, or still be pending there.
            others = [one for one in history.visible if one.id != order.id]
            orders = sorted([order, *others], key=lambda one: one.reserved_at, reverse=True)
            allowed = panel.still_allowed(sale, replace(history, visible=orders))
        except HistoryUnknown:
            pass
    text = panel.with_orders(sale, language_of(request), orders, allowed=max(allowed, 0), available=showing.available)
    is_pending = order.status is OrderStatus.PENDING
    response = answer(request, showing, text, 202 if is_pending else 201 if placed.is_new else 200)
    if not wants_partial(request):  # what came of an earlier try is no news beside it
        notices.forget(response, reverse("me", args=[sale.sku]))
    return response


async def _refused(
    request: HttpRequest,
    showing: Showing,
    sale: PublishedSale,
    shopper: Shopper,
    notice: Notice,
    *,
    status: int,
    has_orders: bool = True,
) -> HttpResponse:
    """What came of a try, beside the orders of whoever has some; the same button is the retry."""
    language = language_of(request)
    if not wants_partial(request):
        return answer(request, showing, "", status, notice)
    if notice.code == Refusal.NAME_NEEDED.value:
        return answer(request, showing, panel.signed_out(sale, language, notice), status, notice)
    available = notice.available if notice.code == Refusal.OUT_OF_STOCK.value else showing.available
    history = History([], has_hidden=False)
    if has_orders:
        with contextlib.suppress(HistoryUnknown):
            history = await history_in(shopper, sale.id)
    left = left_here(request)
    text = panel.for_history(sale, language, shopper, history, notice, available=available, left=left)
    return answer(request, showing, text, status, notice)


def _quantity(request: HttpRequest) -> int | None:
    text = request.POST.get("quantity", "1")
    quantity = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    return quantity if 1 <= quantity <= MAX_QUANTITY else None


def _attempt(request: HttpRequest, shopper: Shopper) -> str | None:
    """The page's own mark: one for each click that is meant, whatever the network repeats."""
    attempt = request.POST.get("attempt", "")
    return f"form:{shopper.session_id}:{attempt}" if 0 < len(attempt) <= 64 else None


def _shown(request: HttpRequest) -> Shown:
    """The price that the form says it showed."""
    price, currency = request.POST.get("price", ""), request.POST.get("currency", "")
    if not PRICE.fullmatch(price) or not CURRENCY.fullmatch(currency):
        return NEVER_SHOWN
    return Shown(int(price), currency)
