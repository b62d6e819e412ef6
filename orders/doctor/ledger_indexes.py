"""The unique indexes, held against those that `ensure_indexes` would create."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo import IndexModel

from flashdrop.mongo_client import Document
from orders import ledger
from orders.doctor.finding import Area, Finding, Notes
from orders.documents import INDEXES
from orders.indexes import differences, keys_of
from sales import catalogue

WHY = {
    "unit_sold_once": "a unit can be sold twice (promise 1: never oversold)",
    "shopper_within_limit": "a shopper can buy more than the limit (promise 2)",
    "key_used_once": "a retry can become a second order (promise 5)",
    "sku": "two sales can have one sku, and shoppers are shown either",
}


async def check_indexes() -> list[Finding]:
    """One finding for each index that the shop relies on.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be asked.
    """
    notes = Notes(Area.INDEXES)
    orders = await ledger.indexes()
    _compare("orders", INDEXES, orders, notes)
    _order([str(index["name"]) for index in orders], notes)
    _compare("sales", catalogue.INDEXES, await catalogue.indexes(), notes)
    return notes.findings


def _compare(collection: str, wanted: Sequence[IndexModel], there: list[Document], notes: Notes) -> None:
    for model in wanted:
        _check(collection, model.document, there, notes)


def _order(there: list[str], notes: Notes) -> None:
    """MongoDB names the first index that refuses: one that was dropped and made again comes last."""
    wanted = [name for name in ("shopper_within_limit", "unit_sold_once") if name in there]
    if wanted != sorted(wanted, key=there.index):
        notes.advice(
            "orders, which comes first",
            "unit_sold_once was made before shopper_within_limit: an order that both refuse is taken for a stale gate, "
            "and the sale is rebuilt where the shopper's first order would have been the answer",
            'while every sale is paused: `db.orders.dropIndex("unit_sold_once")` in mongosh, then '
            "`manage.py ensure_indexes`",
        )


def _check(collection: str, wanted: dict[str, Any], there: list[Document], notes: Notes) -> None:
    name = str(wanted["name"])
    label = f"{collection}.{name}"
    found = next((index for index in there if index["name"] == name), None)
    if found is None:
        return _missing(collection, wanted, there, notes)
    different = differences(wanted, found)
    if not different:
        return notes.ok(label, "unique, as it should be" if wanted.get("unique") else "as it should be")
    return _note(
        notes,
        name,
        label,
        f"{'; '.join(different)}; no process can start beside it",
        f'`db.{collection}.dropIndex("{name}")` in mongosh, then `manage.py ensure_indexes`; if that is refused, '
        "`manage.py audit_sale` lists what was sold twice",
    )


def _missing(collection: str, wanted: dict[str, Any], there: list[Document], notes: Notes) -> None:
    name = str(wanted["name"])
    label = f"{collection}.{name}"
    ensure = "`manage.py ensure_indexes`; if that is refused, `manage.py audit_sale` lists what was sold twice"
    twin = next((index for index in there if keys_of(index) == keys_of(wanted)), None)
    if twin is None:
        return _note(notes, name, label, "missing", ensure)
    different = differences(wanted, twin)
    if not different:
        return notes.advice(
            label,
            f"there under another name, {twin['name']}: it refuses what it should, but no process can start beside it",
            f'`db.{collection}.dropIndex("{twin["name"]}")` in mongosh while nothing is on sale, then {ensure}',
        )
    found = f"missing; {twin['name']} has its keys, but {'; '.join(different)}"
    return _note(notes, name, label, found, f'`db.{collection}.dropIndex("{twin["name"]}")` in mongosh, then {ensure}')


def _note(notes: Notes, name: str, label: str, found: str, advice: str) -> None:
    if name in WHY:
        notes.at_risk(label, f"{found}: {WHY[name]}", advice)
    else:
        notes.advice(label, f"{found}: pages that list a shopper's orders are slow", advice)
