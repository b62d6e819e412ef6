"""What a sale's report asks of the ledger: sums over its orders, made by the server, however many there are.

Every function raises `pymongo.errors.PyMongoError` when the ledger can't answer, or not within `REPORT_MS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING

from flashdrop.metrics import timed
from flashdrop.mongo_client import Document
from orders.documents import orders_collection
from orders.order import OrderStatus

# A report may take its time, but not the ledger's for ever.
REPORT_MS = 20_000
# The longest wait that is told apart; longer ones count as this long.
LONGEST_MS = 60_000
ASKED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Span:
    """When the first and the last order of a sale were reserved."""

    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """What was placed in one step of time, and what became of it."""

    number: int
    sold_orders: int
    sold_units: int
    cancelled_orders: int
    cancelled_units: int
    released_orders: int
    fulfilled_orders: int
    fulfilled_units: int
    revenue_minor: int
    busiest_second: datetime
    busiest_orders: int


@dataclass(frozen=True, slots=True)
class Returned:
    """Units that cancelled orders gave back: how often each, and when the one asked for was first reserved."""

    times_by_unit: dict[int, int]
    first_reserved_at: datetime | None


@timed("mongodb")
async def span(sale_id: str) -> Span | None:
    """Two looks into an index. None without any order."""
    found = [
        await orders_collection().find_one(
            {"sale": sale_id}, {"reserved_at": 1}, sort=[("reserved_at", way), ("_id", way)], max_time_ms=REPORT_MS
        )
        for way in (ASCENDING, DESCENDING)
    ]
    first, last = found
    return Span(first["reserved_at"], last["reserved_at"]) if first and last else None


@timed("mongodb")
async def steps(sale_id: str, begins: datetime, step_seconds: int) -> list[Step]:
    """Everything that was placed, by steps of time from `begins` on; steps without any are missing. One pass."""
    is_sold = {"$eq": ["$status", OrderStatus.COMPLETED.value]}
    is_cancelled = {"$eq": ["$status", OrderStatus.CANCELLED.value]}
    is_released = {"$eq": ["$status", OrderStatus.RELEASED.value]}
    is_fulfilled = {"$and": [is_sold, {"$gt": ["$fulfilled_at", None]}]}
    sums = {
        "sold_orders": _if(is_sold, 1),
        "sold_units": _if(is_sold, "$quantity"),
        "cancelled_orders": _if(is_cancelled, 1),
        "cancelled_units": _if(is_cancelled, "$quantity"),
        "released_orders": _if(is_released, 1),
        "fulfilled_orders": _if(is_fulfilled, 1),
        "fulfilled_units": _if(is_fulfilled, "$quantity"),
        "revenue_minor": _if(is_sold, {"$multiply": ["$price_minor", "$quantity"]}),
    }
    rows = _aggregate(
        [
            {"$match": {"sale": sale_id}},
            {"$group": {"_id": {"$dateTrunc": {"date": "$reserved_at", "unit": "second"}}, "n": {"$sum": 1}, **sums}},
            {
                "$group": {
                    "_id": {"$floor": {"$divide": [{"$subtract": ["$_id", begins]}, step_seconds * 1000]}},
                    # Documents compare field by field: the most orders, of those the earliest.
                    "peak": {"$max": {"n": "$n", "before": {"$subtract": [begins, "$_id"]}, "at": "$_id"}},
                    **{name: {"$sum": f"${name}"} for name in sums},
                }
            },
            {"$sort": {"_id": ASCENDING}},
        ]
    )
    return [
        Step(
            number=int(row["_id"]),
            busiest_second=row["peak"]["at"],
            busiest_orders=row["peak"]["n"],
            **{name: row[name] for name in sums},
        )
        async for row in rows
    ]


@timed("mongodb")
async def confirmation_ms(sale_id: str) -> dict[int, int]:
    """How many orders took how many milliseconds from the reservation to the ledger. One pass."""
    took = {"$subtract": ["$created_at", "$reserved_at"]}
    rows = _aggregate(
        [
            {"$match": {"sale": sale_id, "status": {"$ne": OrderStatus.RELEASED.value}}},
            {"$group": {"_id": {"$min": [{"$max": [took, 0]}, LONGEST_MS]}, "count": {"$sum": 1}}},
        ]
    )
    return {int(row["_id"]): row["count"] async for row in rows}


@timed("mongodb")
async def orders_per_shopper(sale_id: str) -> dict[int, int]:
    """How many shoppers hold how many orders. One pass, and a group for each shopper."""
    rows = _aggregate(
        [
            {"$match": {"sale": sale_id, "units": {"$exists": True}}},
            {"$group": {"_id": "$shopper", "orders": {"$sum": 1}}},
            {"$group": {"_id": "$orders", "shoppers": {"$sum": 1}}},
            {"$sort": {"_id": ASCENDING}},
        ]
    )
    return {row["_id"]: row["shoppers"] async for row in rows}


@timed("mongodb")
async def returned(sale_id: str, unit: int) -> Returned:
    """What cancelled orders gave back, and when the first of them that had `unit` was reserved. One pass."""
    rows = _aggregate(
        [
            {"$match": {"sale": sale_id, "status": OrderStatus.CANCELLED.value}},
            {"$unwind": "$returned_units"},
            {"$group": {"_id": "$returned_units", "times": {"$sum": 1}, "first": {"$min": "$reserved_at"}}},
        ]
    )
    times, first = {}, None
    async for row in rows:
        times[row["_id"]] = row["times"]
        if row["_id"] == unit:
            first = row["first"]
    return Returned(times, first)


@timed("mongodb")
async def held_among(sale_id: str, units: list[int]) -> int:
    """How many of `units` an order holds now. By index."""
    count = 0
    for start in range(0, len(units), ASKED_AT_ONCE):
        asked = units[start : start + ASKED_AT_ONCE]
        rows = _aggregate(
            [
                {"$match": {"sale": sale_id, "units": {"$in": asked}}},
                {"$project": {"n": {"$size": {"$setIntersection": ["$units", asked]}}}},
                {"$group": {"_id": None, "n": {"$sum": "$n"}}},
            ]
        )
        count += sum([row["n"] async for row in rows])
    return count


@timed("mongodb")
async def reserved_at(sale_id: str, unit: int) -> datetime | None:
    """When whoever holds `unit` reserved it. By index; None when it is free."""
    found = await orders_collection().find_one({"sale": sale_id, "units": unit}, {"reserved_at": 1})
    return found["reserved_at"] if found else None


def _if(condition: Document, value: Any) -> Document:
    return {"$sum": {"$cond": [condition, value, 0]}}


async def _aggregate(pipeline: list[Document]) -> AsyncIterator[Document]:
    async with await orders_collection().aggregate(pipeline, maxTimeMS=REPORT_MS, allowDiskUse=True) as cursor:
        async for row in cursor:
            yield row
