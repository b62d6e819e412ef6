"""The JSON API about orders and identity; the contract is docs/reference/api.md."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from flashdrop import envelope
from flashdrop.api import api, by_method
from flashdrop.errors import payload_too_large
from flashdrop.headers import header_text, is_same_origin
from flashdrop.lean import MAX_BODY_BYTES
from flashdrop.ratelimit import limited
from orders import identity
from orders.answers import ANSWERS, CROSS_SITE, HISTORY_UNKNOWN, SIGN_IN_FIRST, SIGN_OUT_LATER, Answer
from orders.history import HistoryUnknown, history_in, history_of
from orders.identity import InvalidIdentifier, shopper_of
from orders.notices import too_few_left
from orders.order import OrderStatus
from orders.placing import MAX_QUANTITY, Placed, Placement, Refusal, Refused, Shown, place
from orders.sessions import NotEnded
from sales.archive import Unheard, sale_named
from sales.board import current_board

MAX_KEY_LENGTH = 255
MAX_SKU_LENGTH = 64
# What every client's numbers hold exactly.
MAX_PRICE = 2**53 - 1
CURRENCY = re.compile(r"[A-Z]{3}")


class BadRequest(Exception):
    """The request can't be taken; `response` says why."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response.status_code)
        self.response = response


def told(answer: Answer, code: str, message: str = "", data: dict[str, Any] | None = None) -> HttpResponse:
    """A refusal in the envelope; `message` in place of the answer's own."""
    return envelope.error(message or answer.message, code, answer.status, answer.retry_after_seconds, data)


def read_json(request: HttpRequest) -> dict[str, Any]:
    """The request's JSON object.

    Raises:
        BadRequest: from another site, too large, not declared as JSON, malformed, or not an object.
    """
    if not is_same_origin(request):
        raise BadRequest(told(CROSS_SITE, "CROSS_SITE"))
    content_type = request.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if content_type != "application/json":
        raise BadRequest(
            envelope.error("Send JSON, with Content-Type: application/json.", "UNSUPPORTED_MEDIA_TYPE", 415)
        )
    if len(request.body) > MAX_BODY_BYTES:
        raise BadRequest(payload_too_large(request))
    value = _parsed(request.body)
    if not isinstance(value, dict):
        raise BadRequest(envelope.issue("", "The body must be a JSON object."))
    return value


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    # Stricter than the grammar about huge numbers and halves of characters: those get an answer about their field.
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest(envelope.issue("", "The body is not valid JSON.")) from None


@api("POST")
async def login(request: HttpRequest) -> HttpResponseBase:
    """Sign in and set the cookie."""
    try:
        body = read_json(request)
        shopper = identity.sign_in(body.get("identifier"), identity.in_this_browser(request))
    except BadRequest as refused:
        return refused.response
    except InvalidIdentifier as error:
        return envelope.issue("identifier", str(error))
    response = envelope.ok({"userId": shopper.id, "identifier": shopper.name})
    identity.remember(request, response, shopper)
    return response


@api("POST")
async def logout(request: HttpRequest) -> HttpResponseBase:
    """Sign out: end the session and clear the cookie."""
    if not is_same_origin(request):
        return told(CROSS_SITE, "CROSS_SITE")
    try:
        await identity.end_session(request)
    except NotEnded:
        return told(SIGN_OUT_LATER, "SALE_NOT_READY")
    response = envelope.ok(None)
    identity.forget(request, response)
    return response


async def create_order(request: HttpRequest) -> HttpResponseBase:
    """Buy."""
    try:
        body = read_json(request)
        sku, quantity, key, shown = order_fields(body, request.headers.get("Idempotency-Key"))
    except BadRequest as refused:
        return refused.response
    shopper = shopper_of(request)
    if shopper is None:
        return told(SIGN_IN_FIRST, "UNAUTHORIZED")
    return placement_response(await place(shopper, sku, quantity, key, shown=shown))


async def list_orders(request: HttpRequest) -> HttpResponseBase:
    """The shopper's orders, newest first."""
    shopper = shopper_of(request)
    if shopper is None:
        return told(SIGN_IN_FIRST, "UNAUTHORIZED")
    board = await current_board()
    try:
        history = await history_of(shopper, list(board.sales))
    except HistoryUnknown:
        return told(HISTORY_UNKNOWN, "SALE_NOT_READY")
    return envelope.ok([order.as_json() for order in history.visible])


orders = by_method(GET=limited(list_orders), POST=limited(create_order))


@api("GET")
async def order_in_sale(request: HttpRequest, sku: str) -> HttpResponseBase:
    """The shopper's latest order in one sale."""
    shopper = shopper_of(request)
    if shopper is None:
        return told(SIGN_IN_FIRST, "UNAUTHORIZED")
    try:
        sale = await sale_named(sku)
        visible = (await history_in(shopper, sale.id)).visible if sale else []
    except (HistoryUnknown, Unheard):
        return told(HISTORY_UNKNOWN, "SALE_NOT_READY")
    if not visible:
        return envelope.error("You have no order in this sale.", "NOT_FOUND", 404)
    return envelope.ok(visible[0].as_json())


def order_fields(body: dict[str, Any], key: str | None) -> tuple[str, int, str | None, Shown]:
    """The sku, the quantity, the idempotency key and the price shown of a purchase.

    Raises:
        BadRequest: with everything that is wrong with them.
    """
    sku = body.get("sku", body.get("productSKU"))
    quantity = body.get("quantity", 1)
    found: list[tuple[str, str]] = []
    if not isinstance(sku, str) or not sku or len(sku) > MAX_SKU_LENGTH:
        found.append(("sku", f"Required: a text of 1 to {MAX_SKU_LENGTH} characters."))
    if not isinstance(quantity, int) or isinstance(quantity, bool) or not 1 <= quantity <= MAX_QUANTITY:
        found.append(("quantity", f"Must be a whole number from 1 to {MAX_QUANTITY}."))
    price, currency = body.get("price"), body.get("currency")
    if "price" in body and not (isinstance(price, int) and not isinstance(price, bool) and 0 <= price <= MAX_PRICE):
        found.append(("price", f"Must be a whole number from 0 to {MAX_PRICE}, in the currency's minor units."))
    if "currency" in body and not (isinstance(currency, str) and CURRENCY.fullmatch(currency)):
        found.append(("currency", "Must be a currency's code, three capital letters (ISO 4217)."))
    key = None if key is None else header_text(key)
    if key is not None and not (1 <= len(key) <= MAX_KEY_LENGTH and key.isprintable()):
        found.append(("Idempotency-Key", f"Must be 1 to {MAX_KEY_LENGTH} printable characters."))
    if found:
        raise BadRequest(envelope.issues(found))
    return sku, quantity, key, Shown(price, currency)  # type: ignore[return-value]


def placement_response(placement: Placement) -> HttpResponse:
    """201 new, 200 the order of an earlier try, 202 pending, else the refusal."""
    if not isinstance(placement, Placed):
        return refusal_response(placement)
    if placement.order.status is OrderStatus.PENDING:
        return envelope.ok(placement.order.as_json(), 202)
    return envelope.ok(placement.order.as_json(), 201 if placement.is_new else 200)


def refusal_response(refused: Refused) -> HttpResponse:
    """The refusal's status and code, with what a client needs to ask again."""
    refusal, message = refused.refusal, ""
    data: dict[str, Any] | None = None
    if refusal is Refusal.OUT_OF_STOCK:
        message, data = too_few_left(refused.available), {"available": refused.available}
    elif refused.quote is not None:
        data = {"price": refused.quote.price_minor, "currency": refused.quote.currency}
    return told(ANSWERS[refusal], refusal.value, message, data)
