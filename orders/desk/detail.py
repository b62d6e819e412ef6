"""The page of one order: how it stands, what happened to it, and what can be done."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import render

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import RedisError
from orders import ledger_desk
from orders.desk.deeds import DEEDS
from orders.desk.waiting import waiting
from orders.desk.words import AWAY, PENDING, history, record_row, row
from orders.ledger_desk import OrderRecord, Wanted
from orders.order import Order
from sales.desk.page import desk_page, frame, may
from sales.models import Sale

SIBLINGS = 20
GATE_AWAY = (
    "The ledger has no such order. The gate can't be asked right now, so we don't know whether it is being confirmed. "
    "Please try again in a moment."
)


@dataclass(frozen=True, slots=True)
class Found:
    """An order, its record in the ledger (None while it is being confirmed), and the same shopper's others there."""

    order: Order
    record: OrderRecord | None
    siblings: list[OrderRecord]


@desk_page("desk:order")
def order(request: HttpRequest, order_id: str) -> HttpResponseBase:
    """Everything about one order, in words."""
    gates = list(Sale.objects.filter(version__gt=0).values_list("pk", flat=True))
    try:
        found = loops.run(lambda: find(order_id, gates))
    except (PyMongoError, RedisError) as error:
        told = AWAY if isinstance(error, PyMongoError) else GATE_AWAY
        return render(request, "desk/order_unknown.html", frame(request, "Order", problem=told), status=503)
    if found is None:
        raise Http404
    sale = Sale.objects.filter(pk=found.order.sale_id).first()
    name = sale.name if sale else found.order.sku
    state = found.record.state.value if found.record else PENDING
    context = frame(
        request,
        f"Order {order_id}",
        sale,
        tab="orders",
        order=row(found.order, state, name),
        record=found.record,
        history=history(found.order, found.record),
        siblings=[record_row(other, name) for other in found.siblings],
        deeds=[
            deed
            for deed in DEEDS.values()
            if found.record and deed.needs is found.record.state and may(request, deed.permission)
        ],
    )
    return render(request, "desk/order.html", context)


async def find(order_id: str, sale_ids: list[str]) -> Found | None:
    """The order, wherever it stands; `sale_ids` are those whose gate may have it.

    Raises:
        redis.exceptions.RedisError, pymongo.errors.PyMongoError: a store that may have it can't be asked.
    """
    record = await ledger_desk.read(order_id)
    if record is None:
        pending = await waiting(Wanted(order_id=order_id), sale_ids)
        # Confirmed between the two readings, perhaps.
        record = None if pending.orders else await ledger_desk.read(order_id)
        if record is None and not pending.orders:
            return None
        known = record.order if record else pending.orders[0]
    else:
        known = record.order
    theirs = Wanted(sale_id=known.sale_id, shopper_id=known.shopper_id)
    others = await ledger_desk.search(theirs, SIBLINGS)
    return Found(known, record, [other for other in others if other.order.id != order_id])
