"""The page that finds orders: one box, a few filters, fifty orders at a time."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from pymongo.errors import ExecutionTimeout

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from orders.desk.asked import Asked, asked, place_of, place_text
from orders.desk.listing import Page, look
from orders.desk.words import AWAY, STATES, capital, record_row, row
from orders.ledger_desk import Place
from sales import permissions
from sales.desk import access
from sales.desk.page import desk_page, frame, may
from sales.models import Sale

TOO_SLOW = (
    "This search has too many orders to read through. Narrow it down: choose a sale, or a shorter time, "
    "or look for one order, unit or shopper."
)
# To choose from, the newest first.
SALES_OFFERED = 100


@desk_page("desk:orders")
def all_orders(request: HttpRequest) -> HttpResponseBase:
    """Orders of all sales; once a sale is chosen, its own page."""
    chosen = request.GET.get("sale", "")
    if chosen and Sale.objects.filter(pk=chosen).exists():
        query = asked(request.GET.dict(), chosen).query()
        return redirect(reverse("desk:sale_orders", args=[chosen]) + (f"?{query}" if query else ""))
    return _page(request, None)


@desk_page("desk:sale_orders")
def sale_orders(request: HttpRequest, sale: Sale) -> HttpResponseBase:
    """Orders of one sale."""
    return _page(request, sale)


def _page(request: HttpRequest, sale: Sale | None) -> HttpResponseBase:
    search = asked(request.GET.dict(), sale.pk if sale else None)
    sales = list(Sale.objects.order_by("-opens_at")[:SALES_OFFERED])
    found, problem, status = list[Page](), search.problem, 200
    if search.is_enough and not problem:
        gates = [sale.pk] if sale else [other.pk for other in sales if other.version]
        after, before = (place_of(request.GET.get(name, "")) for name in ("after", "before"))
        if len(search.ways) > 1:  # a place is one in the results of one reading
            after = before = None
        try:
            found = loops.run(lambda: look(search, gates, after, before))
        except ExecutionTimeout:
            problem, status = TOO_SLOW, 503
        except PyMongoError:
            problem, status = AWAY, 503
    context = _context(request, search, found, sale, sales) | {"problem": problem}
    return render(request, "desk/orders.html", context, status=status)


def _context(
    request: HttpRequest, search: Asked, found: list[Page], sale: Sale | None, sales: list[Sale]
) -> dict[str, Any]:
    names = {other.pk: other.name for other in sales}
    here = reverse("desk:sale_orders", args=[sale.pk]) if sale else reverse("desk:orders")
    groups = [_group(page, search, here, names) for page in found]
    has_found = any(group["rows"] or group["waiting"] for group in groups)
    shown = [page.reading for page in found] if has_found else search.readings
    others = [reading for reading in search.all_readings if reading not in shown]
    return frame(
        request,
        f"Orders of {sale.name}" if sale else "Orders",
        sale,
        tab="orders",
        search=search,
        here=here,
        sales=sales,
        states=STATES,
        groups=groups if has_found else [],
        is_gate_known=all(page.is_gate_known for page in found),
        looked_for=" or ".join(reading.words for reading in search.readings if reading in shown),
        others=[(other, f"{here}?{search.query(**{'as': other.key})}") for other in others if found],
        is_chosen=len(search.all_readings) > len(search.readings),
        first=f"{here}?{search.query()}",
        may_act=may(request, permissions.CANCEL_ORDERS) or may(request, permissions.FULFIL_ORDERS),
        everywhere=f"{reverse('desk:orders')}?{search.query()}",
        may_cancel=may(request, permissions.CANCEL_ORDERS),
        may_fulfil=may(request, permissions.FULFIL_ORDERS),
        export=_export(request, sale, search),
    )


def _group(page: Page, search: Asked, here: str, names: dict[str, str]) -> dict[str, Any]:
    """What one way to understand the term has found, with the addresses and fields that keep to it."""
    key = page.reading.key if page.reading else ""
    texts = search.texts | {"as": key}
    return {
        "reading": page.reading,
        "title": capital(page.reading.words) if page.reading else "",
        "texts": texts,
        "rows": [record_row(record, names.get(record.order.sale_id, "")) for record in page.records],
        "waiting": [row(order, "pending", names.get(order.sale_id, "")) for order in page.waiting.orders],
        "more_waiting": page.waiting.has_more,
        "alone": f"{here}?{search.query(**{'as': key})}",
        "newer": _address(here, search, key, before=page.newer),
        "older": _address(here, search, key, after=page.older),
    }


def _address(here: str, search: Asked, key: str, **place: Place | None) -> str:
    ((name, at),) = place.items()
    return f"{here}?{search.query(**{'as': key, name: place_text(at)})}" if at else ""


def _export(request: HttpRequest, sale: Sale | None, search: Asked) -> str:
    """Where these orders can be had as a file; a file holds a state and a time, not one shopper or unit."""
    if sale is None or search.texts["q"] or search.is_pending_only or not access.may_open(request, "desk:export"):
        return ""
    texts = search.texts
    asked_for = {"state": texts["state"], "from": texts["since"], "to": texts["until"]}
    query = urlencode({name: value for name, value in asked_for.items() if value})
    return f"{reverse('desk:export', args=[sale.pk])}?{query}"
