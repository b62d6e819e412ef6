"""Cancelling or fulfilling many orders: picked, confirmed with their exact number, then done in steps.

A step is a POST with the ids that are left; the page's script sends them a hundred at a time, and without it a button
does. Nothing is kept between steps: each order is done by one atomic update, so that a step may be repeated, in a page
that was reloaded or in two tabs at once, and what is left is what is still open.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from pymongo.errors import ExecutionTimeout

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from orders.cancelling import REASON_MAX
from orders.desk import picking
from orders.desk.acting import checked_reason, note
from orders.desk.asked import FIELDS, asked
from orders.desk.consequences import consequences
from orders.desk.deeds import CANCEL, FULFIL, Deed, Outcome, do_all
from orders.desk.doors import AWAY, orders_page
from orders.desk.finding import ORDER_ID, Kind
from orders.desk.listing import look_all
from orders.desk.picking import AT_MOST, Picked
from orders.desk.search import TOO_SLOW
from orders.desk.words import record_row, stands
from sales.desk.page import View, frame
from sales.models import Sale

STEP = 100
# Above this the number must be typed.
TYPED_ABOVE = 20
SHOWN = 20
FORMULA = ("=", "+", "-", "@", "\t", "\r")
SALES_OFFERED = 100


def _pages(view: Any, *methods: str) -> dict[str, View]:
    """One page for each deed that can be done to many, for those who may do it."""

    def page_for(deed: Deed) -> View:
        def page(request: HttpRequest) -> HttpResponseBase:
            found: HttpResponseBase = view(request, deed)
            return found

        return orders_page(deed.permission, *methods)(page)

    return {deed.name: page_for(deed) for deed in (CANCEL, FULFIL)}


def _paste(request: HttpRequest, deed: Deed) -> HttpResponse:
    """The form that takes a list."""
    return _paste_page(request, deed, sale_id=request.GET.get("sale", ""))


def _confirm(request: HttpRequest, deed: Deed) -> HttpResponse:
    """What was picked, how many and what follows."""
    try:
        picked, more, problem = _picked(request, deed)
    except PyMongoError as error:
        told = TOO_SLOW if isinstance(error, ExecutionTimeout) else AWAY
        return render(request, "desk/order_unknown.html", frame(request, "Orders", problem=told), status=503)
    if problem:
        fields = {"pasted": request.POST.get("pasted", ""), "sale_id": request.POST.get("sale", "")}
        return _paste_page(request, deed, problem=problem, status=400, **fields)
    return _confirm_page(request, deed, picked, has_more=more)


def _run(request: HttpRequest, deed: Deed) -> HttpResponseBase:
    """One step: JSON for the page's script, else the page with what is left."""
    order_ids = list(dict.fromkeys(one for one in request.POST.get("orders", "").split() if ORDER_ID.match(one)))
    if len(order_ids) > AT_MOST:
        raise Http404
    total = _number(request.POST.get("total", ""), len(order_ids))
    reason, wrong = checked_reason(deed, request.POST.get("reason", ""))
    mistyped = total > TYPED_ABOVE and _plain(request.POST.get("typed", "")) != _plain(to_type(deed, total))
    wants_json = request.accepts("application/json") and not request.accepts("text/html")
    if wrong or mistyped:
        if wants_json:
            return JsonResponse({"error": wrong or "The number was not typed."}, status=400)
        return _confirm_again(request, deed, order_ids, reason=reason, wrong=wrong, mistyped=mistyped)
    now, left = order_ids[:STEP], order_ids[STEP:]
    by, since = request.user.get_username(), _since(request.POST.get("started", ""))
    outcomes = loops.run(lambda: do_all(deed, now, by, reason, since))
    _note(request, deed, outcomes, reason)
    refused = [outcome for outcome in outcomes if outcome.is_known and not outcome.is_done]
    unknown = [outcome.order_id for outcome in outcomes if not outcome.is_known]
    done = sum(outcome.is_done for outcome in outcomes)
    if wants_json:
        listed = [{"id": outcome.order_id, "why": outcome.why} for outcome in refused]
        return JsonResponse({"done": done, "refused": listed, "left": unknown + left})
    before = request.POST.get("refused", "").split()
    context = {
        "done": _number(request.POST.get("done", ""), 0) + done,
        "refused": [*(one for one in before if ORDER_ID.match(one)), *(outcome.order_id for outcome in refused)],
        "refused_now": [(outcome.order_id, outcome.why) for outcome in refused],
        "left": unknown + left,
        "is_away": bool(unknown),
    }
    fields = {name: request.POST.get(name, "") for name in ("started", "typed", "back")}
    return _run_page(request, deed, total=total, reason=reason, **fields, **context)


def _refused(request: HttpRequest, deed: Deed) -> HttpResponse:
    """Orders that were refused, as a file: how each of them stands now."""
    order_ids = [one for one in request.POST.get("refused", "").split() if ORDER_ID.match(one)][:AT_MOST]
    try:
        picked = loops.run(lambda: picking.read(order_ids))
    except PyMongoError:
        return render(request, "desk/order_unknown.html", frame(request, "Orders", problem=AWAY), status=503)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="not-{deed.done}.csv"'
    rows = csv.writer(response)
    rows.writerow(["order", "units", "shopper", "how it stands"])
    for order_id, record in picked:
        held = " ".join(map(str, record.units)) if record else ""
        name = record.order.shopper_name if record else ""
        rows.writerow([_cell(text) for text in (order_id, held, name, stands(record))])
    return response


PASTE, CONFIRM = _pages(_paste, "GET", "HEAD"), _pages(_confirm, "POST")
RUN, REFUSED = _pages(_run, "POST"), _pages(_refused, "POST")


def to_type(deed: Deed, count: int) -> str:
    """What somebody types who means it."""
    return f"{deed.name} {count} orders"


def _picked(request: HttpRequest, deed: Deed) -> tuple[Picked, bool, str]:
    """What was picked, whether more match than can be done at once, and what is wrong with it."""
    fields, sale_id = request.POST, request.POST.get("sale") or None
    if "pasted" in fields:
        lines = picking.lines_of(fields["pasted"])
        if not lines:
            return Picked(), False, "The list is empty. Put one order on each line."
        if len(lines) > AT_MOST:
            return Picked(), False, f"That are {len(lines):,} lines. Please take at most {AT_MOST:,} at once."
        numbers = Kind.SHOPPER if fields.get("numbers") == Kind.SHOPPER.value else Kind.UNIT
        return loops.run(lambda: picking.by_lines(deed, lines, sale_id, numbers)), False, ""
    if "whole" in fields:
        search = asked({name: fields.get(name, "") for name in FIELDS}, sale_id)
        if search.problem or not search.is_enough:
            return Picked(), False, search.problem or "Choose a sale first."
        if search.is_pending_only or search.state not in (None, deed.needs):
            return Picked(), False, ""
        found = loops.run(lambda: look_all(search, deed.needs, AT_MOST + 1))
        return Picked(found[:AT_MOST]), len(found) > AT_MOST, ""
    order_ids = [one for one in dict.fromkeys(fields.getlist("order")) if ORDER_ID.match(one)]
    return loops.run(lambda: picking.by_ids(deed, order_ids[:AT_MOST])), False, ""


def _confirm_again(request: HttpRequest, deed: Deed, order_ids: Sequence[str], **more: Any) -> HttpResponse:
    try:
        picked = loops.run(lambda: picking.by_ids(deed, order_ids))
    except PyMongoError:
        return render(request, "desk/order_unknown.html", frame(request, "Orders", problem=AWAY), status=503)
    return _confirm_page(request, deed, picked, status=400, **more)


def _confirm_page(request: HttpRequest, deed: Deed, picked: Picked, *, status: int = 200, **more: Any) -> HttpResponse:
    sales = list(Sale.objects.filter(pk__in={record.order.sale_id for record in picked.ready}))
    names = {sale.pk: sale.name for sale in sales}
    count, held = len(picked.ready), picked.units
    context = {
        "deed": deed,
        "picked": picked,
        "count": count,
        "rows": [record_row(one, names.get(one.order.sale_id, "")) for one in picked.ready[:SHOWN]],
        "more_rows": max(0, count - SHOWN),
        "sale_names": sorted(names.values()),
        "consequences": [one for one in consequences(deed, held, sales, count) if one],
        "left_out": picked.left_out[:SHOWN],
        "more_left_out": max(0, len(picked.left_out) - SHOWN),
        "to_type": to_type(deed, count) if count > TYPED_ABOVE else "",
        "started": datetime.now(UTC).isoformat(),
        "reason_max": REASON_MAX,
        "at_most": AT_MOST,
        "back": _back(request),
    }
    framed = frame(request, _title(deed, count), _only(sales), tab="orders", **(context | more))
    return render(request, "desk/orders_confirm.html", framed, status=status)


def _run_page(request: HttpRequest, deed: Deed, **context: Any) -> HttpResponse:
    total, left = context["total"], len(context["left"])
    context |= {"deed": deed, "over": total - left, "reason_max": REASON_MAX, "step": STEP}
    return render(request, "desk/orders_run.html", frame(request, f"{deed.label} {total:,} orders", **context))


def _paste_page(request: HttpRequest, deed: Deed, *, status: int = 200, **context: Any) -> HttpResponse:
    sales = list(Sale.objects.order_by("-opens_at")[:SALES_OFFERED])
    sale = next((one for one in sales if one.pk == context.get("sale_id")), None)
    context |= {"deed": deed, "sales": sales, "at_most": AT_MOST, "numbers": request.POST.get("numbers", "unit")}
    framed = frame(request, f"{deed.label} a list of orders", sale, tab="orders", **context)
    return render(request, "desk/orders_paste.html", framed, status=status)


def _note(request: HttpRequest, deed: Deed, outcomes: Sequence[Outcome], reason: str) -> None:
    by_sale: defaultdict[str, list[str]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.is_done and not outcome.is_repeat and outcome.record is not None:
            by_sale[outcome.record.order.sale_id].append(outcome.order_id)
    for sale in Sale.objects.filter(pk__in=by_sale):
        note(request, sale, deed, by_sale[sale.pk], reason)


def _title(deed: Deed, count: int) -> str:
    return f"{deed.label} {count:,} {'order' if count == 1 else 'orders'}?" if count else f"Nothing to {deed.name}"


def _only(sales: Sequence[Sale]) -> Sale | None:
    return sales[0] if len(sales) == 1 else None


def _back(request: HttpRequest) -> str:
    """Where the orders were picked: a search of ours, as its form named it."""
    given = request.POST.get("back", "")
    return given if given.startswith(reverse("admin:index")) else reverse("desk:orders")


def _since(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC)
    return found if found.tzinfo else datetime.now(UTC)


def _number(text: str, otherwise: int) -> int:
    return int(text) if re.fullmatch(r"\d{1,6}", text) else otherwise


def _plain(text: str) -> str:
    return " ".join(text.replace(",", "").casefold().split())


def _cell(text: str) -> str:
    """For a spreadsheet: what would be taken for a formula begins with an apostrophe."""
    return f"'{text}" if text.startswith(FORMULA) else text
