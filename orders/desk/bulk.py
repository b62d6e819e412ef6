"""Cancelling or fulfilling many orders: picked, confirmed with their exact number, then done in steps.

A step is a POST that names the list that was confirmed (`orders.desk.runs`); the page's script sends a hundred of its
ids at a time, and without it a button does. Each order is done by one atomic update, so that a step may be repeated, in
a page that was reloaded or in two tabs at once, and what is left is what is still open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from pymongo.errors import ExecutionTimeout

from flashdrop import loops, spreadsheet
from flashdrop.mongo_client import PyMongoError
from flashdrop.spreadsheet import Plain
from orders.cancelling import REASON_MAX
from orders.desk import picking, runs
from orders.desk.acting import checked_reason, note
from orders.desk.asked import FIELDS, asked
from orders.desk.consequences import consequences
from orders.desk.deeds import CANCEL, FULFIL, Deed, Outcome, do_all
from orders.desk.finding import ORDER_ID, Kind, NotUnderstood
from orders.desk.listing import look_all
from orders.desk.picking import AT_MOST, Picked
from orders.desk.runs import Stand
from orders.desk.search import TOO_SLOW
from orders.desk.words import AWAY, picked_row, stands
from orders.models import BulkRun
from sales.desk.page import View, desk_page, frame
from sales.models import Sale

STEP = 100
# Above this the number must be typed.
TYPED_ABOVE = 20
# Lines that are unfolded together.
PER_PAGE = 100
REFUSED_LISTED = 50
SALES_OFFERED = 100
FORGOTTEN = (
    "This list is not known any more: it was confirmed under another account, or more than two days ago. "
    "Nothing has been done now. Search, or paste the list, again: what is done already is left out by itself."
)
HALF_WAY = (
    "The ledger can't be asked right now, so we don't know how many of these orders are done. Nothing is done "
    "twice, so going on is safe: load this page again in a moment."
)


def _pages(step: str, view: Any, *methods: str) -> dict[str, View]:
    """One page for each deed that can be done to many."""

    def page_for(deed: Deed) -> View:
        def page(request: HttpRequest) -> HttpResponseBase:
            found: HttpResponseBase = view(request, deed)
            return found

        return desk_page(f"desk:{deed.name}_{step}", *methods)(page)

    return {deed.name: page_for(deed) for deed in (CANCEL, FULFIL)}


def _paste(request: HttpRequest, deed: Deed) -> HttpResponse:
    """The form that takes a list."""
    return _paste_page(request, deed, sale_id=request.GET.get("sale", ""))


def _confirm(request: HttpRequest, deed: Deed) -> HttpResponse:
    """What was picked, how many and what follows. By GET, as after signing in again, the form for a list."""
    if request.method != "POST":
        return redirect(f"desk:{deed.name}_list")
    try:
        picked, more, problem = _picked(request, deed)
    except PyMongoError as error:
        told = TOO_SLOW if isinstance(error, ExecutionTimeout) else AWAY
        return render(request, "desk/order_unknown.html", frame(request, "Orders", problem=told), status=503)
    if problem:
        fields = {"pasted": request.POST.get("pasted", ""), "sale_id": request.POST.get("sale", "")}
        return _paste_page(request, deed, problem=problem, status=400, **fields)
    return _confirm_page(request, deed, picked, _back(request), has_more=more)


def _run(request: HttpRequest, deed: Deed) -> HttpResponseBase:
    """One step of a list that was confirmed: JSON for the page's script, else the page with what is left. By GET how
    far it is, for whoever comes back.
    """
    wants_json = request.accepts("application/json") and not request.accepts("text/html")
    fields = request.POST
    # In the address too, so that signing in leads back here.
    run = runs.find(request, deed, fields.get("run") or request.GET.get("run", ""))
    if run is None:
        if wants_json:
            return JsonResponse({"error": FORGOTTEN}, status=410)
        return render(request, "desk/order_unknown.html", frame(request, "Orders", problem=FORGOTTEN), status=410)
    if run.begun_at is None:
        reason, wrong = checked_reason(deed, fields.get("reason", ""))
        total = len(run.order_ids.split())
        mistyped = total > TYPED_ABOVE and _plain(fields.get("typed", "")) != _plain(to_type(deed, total))
        if request.method != "POST" or wrong or mistyped:
            if wants_json:
                return JsonResponse({"error": wrong or "The number was not typed."}, status=400)
            is_new = request.method != "POST"
            told = {} if is_new else {"reason": reason, "wrong": wrong, "mistyped": mistyped}
            return _confirm_again(request, deed, run, status=200 if is_new else 400, **told)
        run = runs.begin(run, reason)
    return _json_step(request, deed, run) if wants_json else _page_step(request, deed, run)


def _json_step(request: HttpRequest, deed: Deed, run: BulkRun) -> HttpResponseBase:
    confirmed = set(run.order_ids.split())
    asked_for = [one for one in dict.fromkeys(request.POST.get("orders", "").split()) if one in confirmed]
    outcomes = _step(request, deed, run, asked_for[:STEP])
    refused = [{"id": one.order_id, "why": one.why} for one in outcomes if one.is_known and not one.is_done]
    unknown = [one.order_id for one in outcomes if not one.is_known]
    done = sum(one.is_done for one in outcomes)
    return JsonResponse({"done": done, "refused": refused, "left": unknown + asked_for[STEP:]})


def _page_step(request: HttpRequest, deed: Deed, run: BulkRun) -> HttpResponseBase:
    try:
        found = loops.run(lambda: runs.stand(deed, run, request.user.get_username()))
    except PyMongoError:
        return render(request, "desk/order_unknown.html", frame(request, "Orders", problem=HALF_WAY), status=503)
    is_away = False
    if request.method == "POST":
        outcomes = _step(request, deed, run, found.left[:STEP])
        unknown = [one.order_id for one in outcomes if not one.is_known]
        is_away = bool(unknown)
        found.left = unknown + found.left[STEP:]
        found.done += sum(one.is_done for one in outcomes)
        found.refused += [(one.order_id, one.why) for one in outcomes if one.is_known and not one.is_done]
    return _run_page(request, deed, run, found, is_away=is_away)


def _step(request: HttpRequest, deed: Deed, run: BulkRun, order_ids: Sequence[str]) -> list[Outcome]:
    by, since = request.user.get_username(), run.begun_at
    assert since is not None
    outcomes = loops.run(lambda: do_all(deed, order_ids, by, run.reason, since))
    by_sale: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.is_done and not outcome.is_repeat and outcome.record is not None:
            by_sale[outcome.record.order.sale_id].append(outcome)
    for sale in Sale.objects.filter(pk__in=by_sale):
        note(request, sale, deed, by_sale[sale.pk], run.reason, run=run.pk)
    return outcomes


def _refused(request: HttpRequest, deed: Deed) -> HttpResponse:
    """Orders that were refused, as a file: how each of them stands now."""
    order_ids = [one for one in request.POST.get("refused", "").split() if ORDER_ID.match(one)][:AT_MOST]
    try:
        picked = loops.run(lambda: picking.read(order_ids))
    except PyMongoError:
        return render(request, "desk/order_unknown.html", frame(request, "Orders", problem=AWAY), status=503)
    rows: list[tuple[str, ...]] = [("order", "units", "shopper", "how it stands")]
    for order_id, record in picked:
        held = Plain(" ".join(map(str, record.units)) if record else "")
        rows.append((order_id, held, record.order.shopper_name if record else "", stands(record)))
    content = spreadsheet.BYTE_ORDER_MARK + spreadsheet.lines(rows)
    response = HttpResponse(content, content_type=spreadsheet.CONTENT_TYPE)
    response.headers["Content-Disposition"] = f'attachment; filename="not-{deed.done}.csv"'
    return response


PASTE, CONFIRM = _pages("list", _paste, "GET", "HEAD"), _pages("confirm", _confirm, "GET", "HEAD", "POST")
RUN, REFUSED = _pages("run", _run, "GET", "HEAD", "POST"), _pages("refused", _refused, "POST")


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
            return Picked(), False, f"These are {len(lines):,} lines. Please take at most {AT_MOST:,} at once."
        numbers = next((kind for kind in (Kind.UNIT, Kind.SHOPPER) if kind == fields.get("numbers")), None)
        return loops.run(lambda: picking.by_lines(deed, lines, sale_id, numbers)), False, ""
    if "whole" in fields:
        search = asked({name: fields.get(name, "") for name in FIELDS}, sale_id)
        if search.problem or not search.is_enough:
            return Picked(), False, search.problem or "Choose a sale first."
        if search.is_pending_only or search.state not in (None, deed.needs):
            return Picked(), False, ""
        try:
            found = loops.run(lambda: look_all(search, deed.needs, AT_MOST + 1))
        except NotUnderstood as error:
            return Picked(), False, str(error)
        return Picked(found[:AT_MOST]), len(found) > AT_MOST, ""
    order_ids = [one for one in dict.fromkeys(fields.getlist("order")) if ORDER_ID.match(one)]
    return loops.run(lambda: picking.by_ids(deed, order_ids[:AT_MOST])), False, ""


def _confirm_again(request: HttpRequest, deed: Deed, run: BulkRun, *, status: int, **more: Any) -> HttpResponse:
    """The same list as it stands now: what is not open any more is left out, and counts no more."""
    order_ids = run.order_ids.split()
    try:
        picked = loops.run(lambda: picking.by_ids(deed, order_ids))
    except PyMongoError:
        return render(request, "desk/order_unknown.html", frame(request, "Orders", problem=AWAY), status=503)
    return _confirm_page(request, deed, picked, run.back, status=status, **more)


def _confirm_page(
    request: HttpRequest, deed: Deed, picked: Picked, back: str, *, status: int = 200, **more: Any
) -> HttpResponse:
    sales = list(Sale.objects.filter(pk__in={record.order.sale_id for record in picked.ready}))
    names = {sale.pk: sale.name for sale in sales}
    count, held = len(picked.ready), picked.units
    rows = [picked_row(one, names, picked.lines.get(one.order.id, ())) for one in picked.ready]
    run = runs.keep(request, deed, picked.order_ids, back) if count else None
    context = {
        "deed": deed,
        "run": run,
        "here": _address(deed, run) if run else "",
        "count": count,
        "pages": _in_pages(rows),
        "with_lines": bool(picked.lines),
        "with_sale": len(names) > 1,
        "sale_names": sorted(names.values()),
        "consequences": [one for one in consequences(deed, held, sales, count) if one],
        "left_out": len(picked.left_out),
        "left_out_pages": _in_pages(picked.left_out),
        "to_type": to_type(deed, count) if count > TYPED_ABOVE else "",
        "reason_max": REASON_MAX,
        "at_most": AT_MOST,
        "back": back,
    }
    framed = frame(request, _title(deed, count), _only(sales), tab="orders", **(context | more))
    return render(request, "desk/orders_confirm.html", framed, status=status)


def _address(deed: Deed, run: BulkRun) -> str:
    return f"{reverse(f'desk:{deed.name}_run')}?run={run.pk}"


def _in_pages(rows: Sequence[Any]) -> list[tuple[int, int, Sequence[Any]]]:
    """A page's first number, its last, and its rows."""
    starts = range(0, len(rows), PER_PAGE)
    return [(start + 1, min(start + PER_PAGE, len(rows)), rows[start : start + PER_PAGE]) for start in starts]


def _run_page(request: HttpRequest, deed: Deed, run: BulkRun, found: Stand, *, is_away: bool) -> HttpResponse:
    total, left = len(run.order_ids.split()), found.left
    context: dict[str, Any] = {
        "deed": deed,
        "run": run,
        "total": total,
        "over": total - len(left),
        "step": STEP,
        "done": found.done,
        "left": left,
        "refused": [order_id for order_id, _ in found.refused],
        "refused_listed": found.refused[:REFUSED_LISTED],
        "is_away": is_away,
        "is_paused": request.method != "POST",
        "here": _address(deed, run),
        "an_order": reverse("desk:order", args=["ORDER"]),
        "back": run.back,
    }
    return render(request, "desk/orders_run.html", frame(request, f"{deed.label} {total:,} orders", **context))


def _paste_page(request: HttpRequest, deed: Deed, *, status: int = 200, **context: Any) -> HttpResponse:
    sales = list(Sale.objects.order_by("-opens_at")[:SALES_OFFERED])
    sale = next((one for one in sales if one.pk == context.get("sale_id")), None)
    context |= {"deed": deed, "sales": sales, "at_most": AT_MOST, "numbers": request.POST.get("numbers", "")}
    framed = frame(request, f"{deed.label} a list of orders", sale, tab="orders", **context)
    return render(request, "desk/orders_paste.html", framed, status=status)


def _title(deed: Deed, count: int) -> str:
    return f"{deed.label} {count:,} {'order' if count == 1 else 'orders'}?" if count else f"Nothing to {deed.name}"


def _only(sales: Sequence[Sale]) -> Sale | None:
    return sales[0] if len(sales) == 1 else None


def _back(request: HttpRequest) -> str:
    """Where the orders were picked: a search of ours, as its form named it."""
    given = request.POST.get("back", "")
    return given if given.startswith(reverse("admin:index")) else reverse("desk:orders")


def _plain(text: str) -> str:
    return " ".join(text.replace(",", "").casefold().split())
