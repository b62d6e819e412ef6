"""The shop floor's pages about the viewer: sign in and out, buy, my orders, receipts."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_noop as _
from django_htmx.middleware import HtmxDetails

from flashdrop.api import page
from flashdrop.errors import handler404, payload_too_large, plain_error
from flashdrop.headers import is_same_origin
from flashdrop.languages import VARY, language_of, locale_of, render
from flashdrop.lean import MAX_BODY_BYTES
from flashdrop.ratelimit import limited
from flashdrop.responses import Head, LeanResponse
from orders import identity, panel
from orders.answers import ANSWERS, CROSS_SITE, HISTORY_UNKNOWN, SIGN_IN_FIRST
from orders.history import History, HistoryUnknown, find_order, history_in, history_of
from orders.identity import InvalidIdentifier, Shopper, shopper_of
from orders.order import Order, OrderStatus
from orders.placing import MAX_QUANTITY, Placed, Placement, Refusal, place
from orders.receipts import order_id_of
from sales.archive import sale_named, shown
from sales.board import current_board
from sales.money import format_minor
from sales.published import PublishedSale
from sales.showing import Showing
from sales.views import not_found

# What a redirect may carry to the panel's page: a refusal's code, nothing a visitor could make up.
ANSWER_PARAMETER = "answer"
INVALID_NAME_PARAMETER = "invalid_name"
INVALID_QUANTITY_PARAMETER = "invalid_quantity"
INVALID_QUANTITY = _("Please choose how many.")
# Whatever was wrong with it: a redirect carries no text of its own.
INVALID_NAME = _("Please enter a name of 1 to 255 characters, without control characters.")
PRIVATE = {"Cache-Control": "private, no-store", "Vary": f"HX-Request, HX-History-Restore-Request, {VARY}"}


@page("GET")
async def me(request: HttpRequest, sku: str) -> HttpResponseBase:
    """The viewer's own panel: a partial for HTMX, a page of its own without JavaScript."""
    board = await current_board()
    showing = await shown(sku)
    if showing is None:
        return not_found(request, board)
    shopper = shopper_of(request)
    notice = _told_in_query(request)
    if shopper is None:
        return _panel(request, showing, panel.signed_out(showing.sale, language_of(request), notice))
    try:
        history = await history_in(shopper, showing.sale.id)
    except HistoryUnknown:
        # Not a panel: what is on show stays there, and the page asks again.
        return _history_unknown(request)
    if notice == ANSWERS[Refusal.NAME_NEEDED].message and shopper.is_guest and not showing.sale.guests_allowed:
        return _panel(request, showing, panel.signed_out(showing.sale, language_of(request), notice))
    is_pending = bool(history.visible) and history.visible[0].status is OrderStatus.PENDING
    text = panel.for_history(showing.sale, language_of(request), shopper, history, notice)
    return _panel(request, showing, text, is_pending=is_pending)


@page("POST")
@limited
async def buy(request: HttpRequest, sku: str) -> HttpResponseBase:
    """Buy: the panel with the answer for HTMX, a redirect for a plain form."""
    refused = _refuse_form(request)
    if refused is not None:
        return refused
    board = await current_board()
    showing = await shown(sku)
    if showing is None:
        return not_found(request, board)
    shopper = shopper_of(request)
    if shopper is None:
        text = panel.signed_out(showing.sale, language_of(request), SIGN_IN_FIRST.message)
        return _answer(request, showing, text, SIGN_IN_FIRST.status, Refusal.NAME_NEEDED.value)
    quantity = _quantity(request)
    if quantity is None:
        text = panel.ready(showing.sale, language_of(request), shopper, INVALID_QUANTITY)
        return _answer(request, showing, text, 400, INVALID_QUANTITY_PARAMETER)
    placement = await place(shopper, sku, quantity, attempt=_attempt(request, shopper))
    return await _told(request, showing, shopper, placement)


@page("POST")
@limited
async def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Sign in, and go back to where that was asked for."""
    refused = _refuse_form(request)
    if refused is not None:
        return refused
    showing = await shown(request.POST.get("sku", ""))
    try:
        is_guest = request.POST.get("guest") == "1"
        identifier, session_id = request.POST.get("identifier", ""), identity.browser_session(request)
        shopper = identity.sign_in_guest() if is_guest else identity.sign_in(identifier, session_id)
    except InvalidIdentifier as error:
        if showing is None:
            return plain_error(request, 400, "VALIDATION_ERROR", str(error))
        text = panel.signed_out(showing.sale, language_of(request), str(error))
        return _answer(request, showing, text, 400, INVALID_NAME_PARAMETER)
    response = await _signed_in(request, showing, shopper)
    identity.remember(response, shopper, request.is_secure())
    return response


@page("POST")
async def sign_out(request: HttpRequest) -> HttpResponseBase:
    """Sign out, and go back to where that was asked for."""
    refused = _refuse_form(request)
    if refused is not None:
        return refused
    showing = await shown(request.POST.get("sku", ""))
    if showing is None:
        response: HttpResponse = _to(reverse("my_orders"))
    else:
        response = _answer(request, showing, panel.signed_out(showing.sale, language_of(request)), 200)
    identity.forget(response)
    return response


@page("GET")
async def my_orders(request: HttpRequest) -> HttpResponseBase:
    """The viewer's orders in all sales."""
    shopper = shopper_of(request)
    if shopper is None:
        return _html(request, "orders/list.html", {"shopper_name": None, "orders": []})
    board = await current_board()
    try:
        history = await history_of(shopper, list(board.sales))
    except HistoryUnknown:
        return _history_unknown(request)
    language = language_of(request)
    sales = await asyncio.gather(*(sale_named(order.sku) for order in history.visible))
    rows = [_order_row(order, sale, language) for order, sale in zip(history.visible, sales, strict=True)]
    context = {"shopper_name": panel.shown_name(shopper.name, language), "orders": rows}
    return _html(request, "orders/list.html", context)


@page("GET")
async def receipt(request: HttpRequest, token: str) -> HttpResponseBase:
    """One order, for whoever holds its link."""
    order_id = order_id_of(token)
    if order_id is None:
        return handler404(request)
    try:
        order = await find_order(order_id)
    except HistoryUnknown:
        return _history_unknown(request)
    if order is None:
        if HtmxDetails(request):
            return _private(HttpResponse(status=204))  # nothing new: what is being read stays
        # We signed this id, so the order was reserved; it is on its way into the ledger.
        row: dict[str, Any] = {"id": order_id, "status": "pending"}
    else:
        row = _order_row(order, await sale_named(order.sku), language_of(request))
    return _html(request, "orders/receipt.html", {"order": row, "is_pending": order is None, "here": request.path})


async def _told(request: HttpRequest, showing: Showing, shopper: Shopper, placement: Placement) -> HttpResponse:
    sale, language = showing.sale, language_of(request)
    if isinstance(placement, Placed):
        # An older order may count too; the gate knows, and the panel does when it is next asked for.
        still_allowed = sale.limit_per_shopper - max(placement.order.slots, default=0)
        text = panel.with_order(sale, language, placement.order, still_allowed=still_allowed)
        is_pending = placement.order.status is OrderStatus.PENDING
        return _answer(request, showing, text, 202 if is_pending else 201 if placement.is_new else 200)
    refusal, status = placement.refusal, ANSWERS[placement.refusal].status
    if refusal is Refusal.LIMIT_EXCEEDED:
        # Whoever clicked twice, or came back, is shown what they have.
        try:
            history = await history_in(shopper, sale.id)
        except HistoryUnknown:
            history = History([], has_hidden=False)
        text = panel.for_history(sale, language, shopper, history, ANSWERS[refusal].message)
        return _answer(request, showing, text, status, refusal.value)
    response = _answer(request, showing, panel.refused(sale, language, shopper, refusal), status, refusal.value)
    if response.status_code == status and ANSWERS[refusal].retry_after_seconds is not None:
        response.headers["Retry-After"] = str(ANSWERS[refusal].retry_after_seconds)
    return response


async def _signed_in(request: HttpRequest, showing: Showing | None, shopper: Shopper) -> HttpResponse:
    if showing is None:
        return _to(reverse("my_orders"))
    if not _wants_partial(request):
        return _to(reverse("me", args=[showing.sale.sku]))
    try:
        history = await history_in(shopper, showing.sale.id)
    except HistoryUnknown:
        history = History([], has_hidden=False)
    return _panel(request, showing, panel.for_history(showing.sale, language_of(request), shopper, history))


def _wants_partial(request: HttpRequest) -> bool:
    """Whether HTMX asks for a part. When it restores its history it asks for the whole page, and says both."""
    details = HtmxDetails(request)
    return bool(details) and not details.history_restore_request


def _answer(request: HttpRequest, showing: Showing, text: str, status: int, told: str | None = None) -> HttpResponse:
    """The panel for HTMX; for a plain form, a redirect to the panel's page, with `told` for it to repeat."""
    if _wants_partial(request):
        return _panel(request, showing, text, status)
    query = f"?{ANSWER_PARAMETER}={told}" if told else ""
    return _to(reverse("me", args=[showing.sale.sku]) + query)


def _panel(
    request: HttpRequest, showing: Showing, text: str, status: int = 200, *, is_pending: bool = False
) -> HttpResponse:
    if not _wants_partial(request):
        face = showing.face(language_of(request))
        context = {**face.context, "banner": face.banner_html, "me": text}
        return _html(request, "orders/me.html", context | {"is_pending": is_pending}, status)
    return LeanResponse(_panel_head(status), text.encode())


@cache
def _panel_head(status: int) -> Head:
    return Head(status, {"Content-Type": "text/html; charset=utf-8"} | PRIVATE)


def _html(request: HttpRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    return _private(HttpResponse(render(template, context, language_of(request)), status=status))


def _history_unknown(request: HttpRequest) -> HttpResponse:
    told = HISTORY_UNKNOWN
    return plain_error(request, told.status, "SALE_NOT_READY", told.message, told.retry_after_seconds)


def _to(address: str) -> HttpResponse:
    return _private(HttpResponseRedirect(address, status=303))


def _private(response: HttpResponse) -> HttpResponse:
    for name, value in PRIVATE.items():
        response.headers[name] = value
    return response


def _refuse_form(request: HttpRequest) -> HttpResponse | None:
    if not is_same_origin(request):
        return plain_error(request, CROSS_SITE.status, "CROSS_SITE", CROSS_SITE.message)
    if len(request.body) > MAX_BODY_BYTES:
        return payload_too_large(request)
    return None


def _quantity(request: HttpRequest) -> int | None:
    text = request.POST.get("quantity", "1")
    quantity = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    return quantity if 1 <= quantity <= MAX_QUANTITY else None


def _attempt(request: HttpRequest, shopper: Shopper) -> str | None:
    """The page's own mark: one for each click that is meant, whatever the network repeats."""
    attempt = request.POST.get("attempt", "")
    return f"form:{shopper.session_id}:{attempt}" if 0 < len(attempt) <= 64 else None


def _told_in_query(request: HttpRequest) -> str:
    told = request.GET.get(ANSWER_PARAMETER, "")
    if told == INVALID_NAME_PARAMETER:
        return INVALID_NAME
    if told == INVALID_QUANTITY_PARAMETER:
        return INVALID_QUANTITY
    return next((ANSWERS[refusal].message for refusal in Refusal if refusal.value == told), "")


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
