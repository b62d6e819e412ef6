"""A report's figures for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from flashdrop.envelope import iso_utc
from orders.report import Report
from sales.desk.journal import Entry


def as_json(found: Report, entries: Iterable[Entry] = ()) -> dict[str, Any]:
    """The figures for programs: times ISO 8601 UTC, money in minor units, null where something is not known. Of the
    sale's log what was done to many orders at once, oldest first.
    """
    busiest = found.busiest
    return {
        "sale": {"id": found.sale.id, "sku": found.sale.sku, "name": found.sale.name, "currency": found.sale.currency},
        "counted_at": iso_utc(found.counted_at),
        "is_running": found.is_running,
        "opens_at": iso_utc(found.sale.opens_at),
        "closes_at": iso_utc(found.sale.closes_at),
        "stock": found.sale.stock,
        "left": found.left,
        "orders": {
            "sold": found.total("sold_orders"),
            "fulfilled": found.total("fulfilled_orders"),
            "cancelled": found.total("cancelled_orders"),
            "given_up": found.total("released_orders"),
        },
        "units": {
            "sold": found.total("sold_units"),
            "fulfilled": found.total("fulfilled_units"),
            "returned": found.returned_units,
            "resold": found.resold_units,
        },
        "done_to_many": [
            {"at": iso_utc(one.at), "by": one.by}
            | {name: value for name, value in asdict(one.tally).items() if name != "run"}
            for one in sorted(entries, key=lambda one: one.at)
            if one.tally is not None
        ],
        "revenue_minor": found.total("revenue_minor"),
        "sold_out_at": iso_utc(found.sold_out_at) if found.sold_out_at else None,
        "sold_out_after_seconds": found.sold_out_after_seconds,
        "shoppers": found.shoppers,
        "shoppers_by_orders": found.shoppers_by_orders,
        "demand_shoppers": found.demand,
        "answers": found.answers,
        "busiest_second": {"at": iso_utc(busiest.busiest_second), "orders": busiest.busiest_orders}
        if busiest
        else None,
        "confirmation_ms": {"p50": found.confirmation_p50_ms, "p95": found.confirmation_p95_ms},
        "promises": None if found.promises is None else asdict(found.promises) | {"hold": found.promises.hold},
        "over_time": {
            "begins": iso_utc(found.begins),
            "step_seconds": found.step_seconds,
            "steps": [
                {"number": one.number, "sold_units": one.sold_units, "cancelled_units": one.cancelled_units}
                for one in found.steps
            ],
        },
    }
