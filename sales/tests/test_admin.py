"""The merchandisers' desk: what is saved there holds from the next order on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from django.test import Client

from conftest import Publish, cookie_of, eventually, shopper
from flashdrop.redis_client import redis
from sales import backoffice, catalogue, stock
from sales.models import Sale
from sales.tests.desk import (
    ADD,
    LIST,
    account,
    buy,
    changed,
    created,
    form,
    gate_away,
    get,
    ledger_away,
    levels,
    page_of,
    post,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def admin_client(transactional_db: None) -> Client:
    return account(None, is_superuser=True)


async def test_a_published_sale_is_in_the_ledger_and_at_the_gate_at_once(admin_client: Client) -> None:
    sale = await created(admin_client, stock=7)
    published = await catalogue.get(sale.pk)
    assert published is not None
    assert (published.sku, published.stock, published.version) == (sale.sku, 7, 1)
    assert (await levels(sale)).available == 7
    assert (sale.version, sale.needs_publishing) == (1, False)


async def test_a_draft_stays_in_the_back_office(admin_client: Client) -> None:
    sale = await created(admin_client, published=False)
    assert await catalogue.get(sale.pk) is None
    assert not (await levels(sale)).loaded


async def test_a_sale_created_here_can_be_bought(admin_client: Client, client: httpx.AsyncClient) -> None:
    sale = await created(admin_client)
    assert await buy(client, sale) == (201, None)


async def test_a_pause_holds_from_the_next_order_on(admin_client: Client, client: httpx.AsyncClient) -> None:
    sale = await created(admin_client)
    await changed(admin_client, sale, paused=True)
    assert await buy(client, sale) == (423, "SALE_PAUSED")
    await changed(admin_client, sale, paused=False)
    assert await buy(client, sale) == (201, None)


async def test_a_moved_window_holds_from_the_next_order_on(admin_client: Client, client: httpx.AsyncClient) -> None:
    sale = await created(admin_client)
    later = sale.closes_at - timedelta(minutes=1)
    await changed(admin_client, sale, opens_at=later)
    assert await buy(client, sale) == (400, "FLASH_SALE_NOT_STARTED")
    await changed(admin_client, sale)
    assert await buy(client, sale) == (201, None)


async def test_a_window_cut_short_ends_the_sale(admin_client: Client, client: httpx.AsyncClient) -> None:
    sale = await created(admin_client)
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    await changed(admin_client, sale, closes_at=soon)

    async def ended() -> bool:
        return await buy(client, sale) == (400, "FLASH_SALE_ENDED")

    await eventually(ended, 3)


async def test_a_window_in_the_past_is_refused_in_words(admin_client: Client) -> None:
    now = datetime.now(UTC)
    data = form(opens_at=now - timedelta(hours=2), closes_at=now - timedelta(hours=1))
    assert "This window is already over, so nobody could buy." in await post(admin_client, ADD, data)
    assert not await Sale.objects.filter(sku=data["sku"]).aexists()


async def test_a_withdrawn_sale_is_gone_from_the_next_order_on(admin_client: Client, client: httpx.AsyncClient) -> None:
    sale = await created(admin_client)
    await changed(admin_client, sale, published=False)
    assert await buy(client, sale) == (404, "PRODUCT_NOT_FOUND")


async def test_raised_stock_sells_again_on_a_sold_out_sale(admin_client: Client, client: httpx.AsyncClient) -> None:
    sale = await created(admin_client, stock=1)
    assert [await buy(client, sale), await buy(client, sale)] == [(201, None), (409, "OUT_OF_STOCK")]
    await changed(admin_client, sale, stock=2)
    assert [await buy(client, sale), await buy(client, sale)] == [(201, None), (409, "OUT_OF_STOCK")]


async def test_stock_below_what_is_sold_is_refused_in_words(admin_client: Client, client: httpx.AsyncClient) -> None:
    sale = await created(admin_client, stock=5)
    for _ in range(3):
        assert await buy(client, sale) == (201, None)
    said = await changed(admin_client, sale, stock=2)
    assert "3 units are already sold or reserved, so the stock can't go below 3." in said
    assert (await Sale.objects.aget(pk=sale.pk)).stock == 5
    assert (await levels(sale)).stock == 5


async def test_stock_lowered_to_what_is_sold_is_sold_out(admin_client: Client, client: httpx.AsyncClient) -> None:
    sale = await created(admin_client, stock=5)
    assert await buy(client, sale) == (201, None)
    await changed(admin_client, sale, stock=1)
    assert await buy(client, sale) == (409, "OUT_OF_STOCK")
    assert (await levels(sale)).available == 0


async def test_units_taken_above_a_gap_keep_the_stock_up_and_the_merchandiser_is_told(
    admin_client: Client, client: httpx.AsyncClient
) -> None:
    sale = await created(admin_client, stock=5)
    buyers = [shopper() for _ in range(3)]
    for someone in buyers:
        await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(someone))
    (held,) = await stock.held_by(redis(), [(sale.pk, buyers[0].id)])
    await stock.release(redis(), sale.pk, [(buyers[0].id, held[0][0])])
    said = await changed(admin_client, sale, stock=2)
    assert "units up to number 3 were taken: the stock is 3, not 2." in said
    assert (await Sale.objects.aget(pk=sale.pk)).stock == (await levels(sale)).stock == 3


async def test_with_the_ledger_away_a_sale_is_saved_and_published_later(admin_client: Client) -> None:
    data = form()
    with ledger_away():
        said = await post(admin_client, ADD, data)
    assert "Saved here, but the ledger can't be reached" in said
    sale = await Sale.objects.aget(sku=data["sku"])
    assert sale.needs_publishing
    assert "waiting to be published" in await get(admin_client, LIST)
    assert await catalogue.get(sale.pk) is None

    assert await backoffice.publish_outstanding() == 1
    assert await catalogue.get(sale.pk) is not None
    assert not (await Sale.objects.aget(pk=sale.pk)).needs_publishing
    assert await backoffice.publish_outstanding() == 0


async def test_with_the_ledger_away_a_change_is_saved_and_published_later(
    admin_client: Client, client: httpx.AsyncClient
) -> None:
    sale = await created(admin_client)
    with ledger_away():
        await changed(admin_client, sale, published=False)
    assert await buy(client, sale) == (201, None)  # as it was
    await backoffice.publish_outstanding()
    assert await buy(client, sale) == (404, "PRODUCT_NOT_FOUND")


async def test_with_the_gate_away_a_change_is_in_the_ledger_and_the_merchandiser_is_told(admin_client: Client) -> None:
    sale = await created(admin_client)
    with gate_away():
        said = await changed(admin_client, sale, stock=20)
    assert "not in force at the gate yet" in said
    published = await catalogue.get(sale.pk)
    assert published is not None
    assert (published.stock, (await levels(sale)).stock) == (20, 10)


async def test_with_no_store_at_all_the_stock_is_not_changed_blindly(admin_client: Client) -> None:
    sale = await created(admin_client)
    with ledger_away(), gate_away():
        said = await changed(admin_client, sale, stock=1)
    assert "The stores can't be asked how many units are sold." in said
    assert (await Sale.objects.aget(pk=sale.pk)).stock == 10


async def test_a_sku_that_the_ledger_gave_to_another_sale_is_not_taken_over(
    admin_client: Client, publish: Publish
) -> None:
    other = await publish()
    said = await post(admin_client, ADD, form(sku=other.sku, name="Mine"))
    assert "The ledger already has another sale under this SKU. Choose a different one." in said
    assert 'value="Mine"' in said
    assert not await Sale.objects.filter(sku=other.sku).aexists()


async def test_a_sku_that_the_ledger_gives_away_meanwhile_ends_in_the_form(
    admin_client: Client, publish: Publish
) -> None:
    sale = await created(admin_client, published=False, name="Mine")
    with ledger_away():  # nobody can say that it is taken
        await changed(admin_client, sale, published=True)
    other = await publish(sku=sale.sku)
    sale = await Sale.objects.aget(pk=sale.pk)
    said = await changed(admin_client, sale, description="Brushed steel")
    assert "the ledger already has another sale under this SKU" in said
    assert "was changed successfully" not in said
    assert 'value="Mine"' in said and "Brushed steel" in said
    after = await Sale.objects.aget(pk=sale.pk)
    assert (after.published, after.needs_publishing, after.version) == (False, False, 0)
    found = await catalogue.get_by_sku(other.sku)
    assert found is not None and replace(found, epoch=other.epoch) == other  # a worker may have rebuilt its gate


async def test_once_published_the_sku_and_the_currency_are_fixed(admin_client: Client) -> None:
    sale = await created(admin_client)
    text = await get(admin_client, page_of(sale))
    assert 'name="name"' in text
    assert 'name="sku"' not in text
    assert 'name="currency"' not in text
    await changed(admin_client, sale, sku="another", currency="USD")
    assert await Sale.objects.filter(sku=sale.sku, currency="EUR").aexists()


async def test_a_draft_may_change_its_sku(admin_client: Client) -> None:
    sale = await created(admin_client, published=False)
    await changed(admin_client, sale, sku=f"{sale.sku}-2")
    assert (await Sale.objects.aget(pk=sale.pk)).sku == f"{sale.sku}-2"


async def test_once_published_a_sale_is_not_deleted(admin_client: Client) -> None:
    sale, draft = await created(admin_client), await created(admin_client, published=False)
    assert "deletelink" not in await get(admin_client, page_of(sale))
    assert "deletelink" in await get(admin_client, page_of(draft))
    refused = await asyncio.to_thread(admin_client.post, f"{LIST}{sale.pk}/delete/", {"post": "yes"})
    assert refused.status_code == 403
    assert await Sale.objects.filter(pk=sale.pk).aexists()
    assert "delete_selected" not in await get(admin_client, LIST)


async def test_a_withdrawn_sale_is_not_deleted_either(admin_client: Client) -> None:
    sale = await created(admin_client)
    await changed(admin_client, sale, published=False)
    assert "deletelink" not in await get(admin_client, page_of(sale))


async def test_the_list_says_how_each_sale_stands(admin_client: Client) -> None:
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    await created(admin_client, published=False)
    await created(admin_client, opens_at=now + hour, closes_at=now + 2 * hour)
    await created(admin_client, paused=True)
    await changed(admin_client, withdrawn := await created(admin_client), published=False)
    assert withdrawn.version == 1
    await created(admin_client)
    text = await get(admin_client, LIST)
    for state in ("draft", "scheduled", "paused", "withdrawn", "open"):
        assert f'data-state="{state}">{state}</span>' in text, state


async def test_the_desk_is_for_staff(client: httpx.AsyncClient) -> None:
    answer = await client.get(LIST)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")
