"""The ledger's sales as any version has written them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from conftest import Publish
from flashdrop.mongo_client import PyMongoError, collection
from sales import catalogue
from sales.board import board
from sales.published import ASSUMED, PublishedSale

OPTIONAL = sorted(one.name for one in fields(PublishedSale) if ASSUMED in one.metadata)
ESSENTIAL = sorted(one.name for one in fields(PublishedSale) if ASSUMED not in one.metadata and one.name != "id")


def test_what_a_sale_cannot_be_without_is_only_what_it_is_sold_by() -> None:
    """A new field is not among them: until an update has ended, documents without it are written."""
    assert set(ESSENTIAL) == {
        *("sku", "price_minor", "currency", "stock", "limit_per_shopper", "opens_at", "closes_at"),
        *("version", "epoch"),
    }


@pytest.mark.parametrize("name", OPTIONAL)
async def test_a_document_from_before_a_field_is_read(publish: Publish, name: str) -> None:
    sale = await publish()
    await collection("sales").update_one({"_id": sale.id}, {"$unset": {name: ""}})
    found = await catalogue.get(sale.id)
    assert found is not None
    assert type(getattr(found, name)) is type(getattr(sale, name))
    assert sale.id in {one.id for one in (await catalogue.shelf()).sales}


@pytest.mark.parametrize("name", ESSENTIAL)
async def test_one_that_cannot_be_read_is_nobodys_answer_and_costs_no_other_sale(publish: Publish, name: str) -> None:
    sale, other = await publish(), await publish()
    await collection("sales").update_one({"_id": sale.id}, {"$unset": {name: ""}})
    try:
        with pytest.raises(PyMongoError):
            await catalogue.get(sale.id)
        shelf = await catalogue.shelf()
        assert shelf.unreadable == 1
        assert other.id in {one.id for one in shelf.sales}
        board().ask_for_settings()
        await board().refresh()
        assert other.sku in board().by_sku
        assert not board().hears_ledger
    finally:
        await collection("sales").delete_one({"_id": sale.id})
