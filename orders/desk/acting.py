"""Cancelling, fulfilling or reopening one order: a page that says what follows, then the deed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from orders import ledger_desk
from orders.cancelling import REASON_MAX
from orders.desk.consequences import consequences, went_back
from orders.desk.deeds import CANCEL, DEEDS, Deed, Outcome, do
from orders.desk.words import AWAY, capital, record_row, stands
from orders.ledger_desk import OrderRecord, OrderState
from sales.desk import journal
from sales.desk.page import View, desk_page, frame
from sales.models import Sale

REASON_MISSING = "Please say why. It is kept with the order, for whoever asks later."
REASON_LONG = f"Please use at most {REASON_MAX} characters."
UNKNOWN = (
    "The ledger did not answer, so we don't know whether that was done. Doing it again is safe: "
    "an order can't be cancelled or fulfilled twice."
)


def page_for(deed: Deed) -> View:
    """The view of one deed, for those who may do it."""

    def view(request: HttpRequest, order_id: str) -> HttpResponseBase:
        return _page(request, order_id, deed)

    return desk_page(f"desk:{deed.name}_order", "GET", "HEAD", "POST")(view)


PAGES = {name: page_for(deed) for name, deed in DEEDS.items()}


def checked_reason(deed: Deed, text: str) -> tuple[str, str]:
    """The reason on its own lines as typed, and what is wrong with it; empty when nothing is."""
    reason = text.replace("\r\n", "\n").strip()
    if deed.reason_needed and not reason:
        return reason, REASON_MISSING
    return reason, REASON_LONG if len(reason) > REASON_MAX else ""


def note(
    request: HttpRequest, sale: Sale | None, deed: Deed, outcomes: Sequence[Outcome], reason: str, *, run: str = ""
) -> None:
    """Write into the sale's log what was done; each order keeps its own history besides. `run` ties the steps of one
    list together.
    """
    done = [outcome.record for outcome in outcomes if outcome.record is not None]
    if sale is None or not done:
        return
    if not run:
        label = f"Order {done[0].order.id}"
        change = journal.Change(label, STATE_WORDS[deed.needs], STATE_WORDS[deed.leaves])
        journal.note(request.user, sale, f"{capital(deed.done)} an order", [change], reason)
        return
    tally = journal.Tally(
        run,
        capital(deed.done),
        orders=len(done),
        units=sum(record.order.quantity for record in done),
        amount_minor=sum(record.order.quantity * record.order.price_minor for record in done),
        currency=done[0].order.currency,
    )
    journal.note(request.user, sale, tally.words, [], reason, tally=tally)


STATE_WORDS = {OrderState.OPEN: "open", OrderState.FULFILLED: "fulfilled", OrderState.CANCELLED: "cancelled"}


def _page(request: HttpRequest, order_id: str, deed: Deed) -> HttpResponseBase:
    try:
        record = loops.run(lambda: ledger_desk.read(order_id))
    except PyMongoError:
        told = UNKNOWN if request.method == "POST" else AWAY
        return render(request, "desk/order_unknown.html", frame(request, "Order", problem=told), status=503)
    if record is None:
        raise Http404
    sale = Sale.objects.filter(pk=record.order.sale_id).first()
    if request.method != "POST":
        if record.state is not deed.needs:
            messages.warning(request, f"Nothing to {deed.label.lower()}: this order is {stands(record)}.")
            return redirect("desk:order", order_id)
        return _form(request, deed, record, sale)
    reason, wrong = checked_reason(deed, request.POST.get("reason", ""))
    if wrong and record.state is deed.needs:
        return _form(request, deed, record, sale, reason=reason, wrong=wrong, status=400)
    try:
        outcome = loops.run(lambda: do(deed, order_id, request.user.get_username(), reason))
    except PyMongoError:
        return _form(request, deed, record, sale, reason=reason, problem=UNKNOWN, status=503)
    _tell(request, deed, outcome, sale, reason)
    return redirect("desk:order", order_id)


def _tell(request: HttpRequest, deed: Deed, outcome: Outcome, sale: Sale | None, reason: str) -> None:
    if not outcome.is_done:
        messages.warning(request, f"Not {deed.done}: this order is {outcome.why}.")
        return
    note(request, sale, deed, [outcome], reason)
    assert outcome.record is not None
    if deed is CANCEL:
        text = f"The order is cancelled. {went_back(outcome.record.returned_units, [sale] if sale else [])}"
    else:
        text = f"The order is {'open again' if deed.leaves is OrderState.OPEN else deed.done}."
    messages.success(request, text)


def _form(
    request: HttpRequest, deed: Deed, record: OrderRecord, sale: Sale | None, *, status: int = 200, **more: Any
) -> HttpResponse:
    context = frame(
        request,
        {"cancel": "Cancel this order?", "fulfil": "Mark as fulfilled?", "reopen": "Open again?"}[deed.name],
        sale,
        tab="orders",
        deed=deed,
        order=record_row(record, sale.name if sale else ""),
        consequences=[one for one in consequences(deed, record.units, [sale] if sale else []) if one],
        reason_max=REASON_MAX,
        **more,
    )
    return render(request, "desk/order_act.html", context, status=status)
