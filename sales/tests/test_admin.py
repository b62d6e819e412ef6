"""The merchandisers' desk: what is saved there holds from the next order on."""

from __future__ import annotations

import asyncio
import html
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from conftest import Publish, cookie_of, eventually, shopper, show
from flashdrop import mongo_client, redis_client
from flashdrop.config import config
from flashdrop.embedded.process import free_port
from flashdrop.redis_client import redis
from sales import backoffice, catalogue, stock
from sales.gate import Levels
from sales.models import Sale

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/sales/sale/"
ADD = f"{LIST}add/"
SWITCHES = ("guests_allowed", "published", "paused")


def form(sale: Sale | None = None, **changes: Any) -> dict[str, Any]:
    """What the admin's form posts: the sale as it stands, or a new one that is open and published, with `changes`."""
    now = datetime.now(UTC).replace(microsecond=0)
    fields: dict[str, Any] = {
        "sku": f"desk-{secrets.token_hex(5)}",
        "name": "Desk lamp",
        "description": "",
        "image_url": "",
        "price_minor": 12900,
        "currency": "EUR",
        "stock": 10,
        "limit_per_shopper": 1,
        "opens_at": now - timedelta(minutes=1),
        "closes_at": now + timedelta(hours=1),
        "guests_allowed": False,
        "published": True,
        "paused": False,
    }
    if sale is not None:
        fields = {name: getattr(sale, name) for name in fields}
    fields |= changes
    for name in ("opens_at", "closes_at"):
        at = fields.pop(name)
        fields |= {f"{name}_0": f"{at:%Y-%m-%d}", f"{name}_1": f"{at:%H:%M:%S}"}
    for name in SWITCHES:  # a box that is not ticked is not posted
        if not fields[name]:
            del fields[name]
    return fields


def page_of(sale: Sale) -> str:
    return f"{LIST}{sale.pk}/change/"


async def get(admin: Client, address: str) -> str:
    response = await asyncio.to_thread(admin.get, address)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


async def post(admin: Client, address: str, data: dict[str, Any]) -> str:
    """Post as the browser does, in a thread as the server does; the page that comes back."""

    def work() -> HttpResponse:
        return admin.post(address, data, follow=True)

    response = await asyncio.to_thread(work)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


async def created(admin: Client, **changes: Any) -> Sale:
    data = form(**changes)
    text = await post(admin, ADD, data)
    assert "was added successfully" in text, text
    await show()
    return await Sale.objects.aget(sku=data["sku"])


async def changed(admin: Client, sale: Sale, **changes: Any) -> str:
    """Save the sale's page with `changes`; what the admin says about it."""
    return await post(admin, page_of(sale), form(sale, **changes))


async def buy(client: httpx.AsyncClient, sale: Sale) -> tuple[int, str | None]:
    """One order by somebody new: status and code."""
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))
    return answer.status_code, answer.json()["code"]


async def levels(sale: Sale) -> Levels:
    return (await stock.levels(redis(), [sale.pk]))[1][0]


@contextmanager
def ledger_away() -> Iterator[None]:
    """Whoever connects to the ledger meanwhile finds nobody there; this test's own connection stays."""
    with pytest.MonkeyPatch.context() as patch:
        dead = f"mongodb://127.0.0.1:{free_port()}/flashdrop?replicaSet=rs0"
        patch.setattr(mongo_client, "config", replace(config, mongodb_url=dead))
        patch.setattr(mongo_client, "SELECT_SERVER_MS", 200)
        yield


@contextmanager
def gate_away() -> Iterator[None]:
    """The same for the gate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_client, "config", replace(config, redis_url=f"redis://127.0.0.1:{free_port()}/0"))
        yield


@pytest.fixture
def admin_client(transactional_db: None) -> Client:
    """A merchandiser at the desk; without a password, because hashing one takes longer than most tests here."""
    someone = User.objects.create(username="merchandiser", is_staff=True, is_superuser=True)
    signed_in = Client()
    signed_in.force_login(someone)
    return signed_in


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
        await changed(admin_client, sale, paused=True)
    assert await buy(client, sale) == (201, None)  # as it was
    await backoffice.publish_outstanding()
    assert await buy(client, sale) == (423, "SALE_PAUSED")


async def test_with_the_gate_away_a_change_is_in_the_ledger_and_the_merchandiser_is_told(admin_client: Client) -> None:
    sale = await created(admin_client)
    with gate_away():
        said = await changed(admin_client, sale, stock=20)
    assert "The gate can't be asked right now" in said
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
    said = await post(admin_client, ADD, form(sku=other.sku))
    assert "the ledger already has another sale under this SKU" in said
    sale = await Sale.objects.aget(sku=other.sku)
    assert (sale.published, sale.needs_publishing, sale.version) == (False, False, 0)
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
        assert f'<td class="field-state">{state}</td>' in text, state


async def test_the_desk_is_for_staff(client: httpx.AsyncClient) -> None:
    answer = await client.get(LIST)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")
