"""Orders at the desk: found, read, cancelled and fulfilled, by whom that is allowed to."""

from __future__ import annotations

import asyncio
import csv
import html
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from django.http import HttpResponse
from django.test import Client
from pymongo.errors import ExecutionTimeout

from conftest import cookie_of, shopper
from flashdrop import spreadsheet
from flashdrop.redis_client import redis
from orders import ledger, ledger_desk
from orders.cancelling import cancel
from orders.desk import search
from orders.identity import Shopper
from orders.order import Order, context_of
from orders.placing import Placed, place
from orders.receipts import receipt_path
from orders.tests.conftest import OnSale
from orders.tests.test_ledger import order_of
from sales import stock
from sales.desk import journal
from sales.gate import Wish
from sales.models import Sale
from sales.tests.test_admin import gate_away, ledger_away

pytestmark = pytest.mark.django_db(transaction=True)

ORDERS = "/admin/desk/orders/"
WHY = "The parcel <came> back"


def page_of(sale: Sale) -> str:
    return f"/admin/desk/sales/{sale.pk}/orders/"


async def bought(sale: Sale, someone: Shopper | None = None) -> Order:
    placement = await place(someone or shopper(), sale.sku, 1, None)
    assert isinstance(placement, Placed), placement
    return placement.order


async def reserved(sale: Sale, someone: Shopper) -> str:
    """An order that is in the gate's log only, as while the ledger is slow."""
    order_id = secrets.token_hex(12)
    wish = Wish(order_id, someone.id, 1, False, context_of(sale.sku, someone.name, someone.session_id, None))
    (answer,) = await stock.reserve(redis(), sale.pk, 1, [wish])
    assert answer.reservation is not None
    return order_id


async def seen(browser: Client, address: str, status: int = 200) -> str:
    """The text of a page."""
    response = await asyncio.to_thread(browser.get, address)
    assert response.status_code == status, response.content
    return html.unescape(response.content.decode())


async def post(browser: Client, address: str, data: dict[str, Any] | None = None, **options: Any) -> Any:
    def work() -> HttpResponse:
        return browser.post(address, data or {}, **options)

    return await asyncio.to_thread(work)


async def told(browser: Client, address: str, data: dict[str, Any]) -> str:
    """Post as a form does; the page that one ends on."""
    response = await post(browser, address, data, follow=True)
    return html.unescape(response.content.decode())


def listed(text: str) -> list[str]:
    """The ids of the orders that a page lists."""
    return re.findall(r'<td data-label="Order"><a class="order-id" href="/admin/desk/orders/([0-9a-f]{24})/"', text)


# Who may


@pytest.mark.parametrize(
    ("role", "statuses"),
    [
        ("merchandiser", (200, 200, 200)),
        ("operator", (200, 200, 403)),
        ("viewer", (403, 403, 403)),
        ("staff", (403, 403, 403)),
        ("nobody", (302, 302, 302)),
    ],
)
async def test_each_role_sees_and_does_what_it_may(
    accounts: dict[str, Client], on_sale: OnSale, role: str, statuses: tuple[int, int, int]
) -> None:
    sees, cancels, fulfils = statuses
    sale = await on_sale()
    order = await bought(sale)
    browser, one = accounts[role], f"{ORDERS}{order.id}/"
    for address in (ORDERS, page_of(sale), one):
        text = await seen(browser, address, sees)
        assert (order.shopper_name in text) == (sees == 200 and address != ORDERS)
    for name, status in (("cancel", cancels), ("fulfil", fulfils)):
        await seen(browser, f"{one}{name}/", status)
        await seen(browser, f"{ORDERS}many/{name}/", status)
        for address, data, answered in (
            (f"{ORDERS}many/{name}/confirm/", {"order": order.id}, 200),
            (f"{ORDERS}many/{name}/refused/", {"refused": order.id}, 200),
            (f"{ORDERS}many/{name}/run/", {"run": "unknown", "orders": order.id, "reason": WHY}, 410),
        ):
            expected = answered if status == 200 else status
            assert (await post(browser, address, data)).status_code == expected, address
    # Refused ones have changed nothing; allowed ones do what they say.
    response = await post(browser, f"{one}cancel/", {"reason": WHY})
    assert response.status_code == (302 if cancels == 200 else cancels)
    record = await ledger_desk.read(order.id)
    assert record is not None and record.state.value == ("cancelled" if cancels == 200 else "open")


async def test_buttons_are_shown_to_those_who_may_press_them(accounts: dict[str, Client], on_sale: OnSale) -> None:
    sale = await on_sale()
    one = f"{ORDERS}{(await bought(sale)).id}/"
    text = await seen(accounts["operator"], one)
    assert f"{one}cancel/" in text and f"{one}fulfil/" not in text
    text = await seen(accounts["operator"], page_of(sale))
    assert "Cancel the selected" in text and "Fulfil the selected" not in text


async def test_a_deed_without_the_pages_token_is_refused(mia: Client, on_sale: OnSale) -> None:
    order = await bought(await on_sale())
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = mia.cookies
    for address in (f"{ORDERS}{order.id}/cancel/", f"{ORDERS}{order.id}/fulfil/", f"{ORDERS}many/cancel/run/"):
        assert (await post(strict, address, {"reason": WHY, "orders": order.id, "total": 1})).status_code == 403
    record = await ledger_desk.read(order.id)
    assert record is not None and record.state.value == "open"


# Finding


async def test_one_box_understands_what_is_typed(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale(limit_per_shopper=2)
    first, number = await bought(sale, shopper("Ada <Lovelace>")), await bought(sale, shopper("17"))
    third = await bought(sale)
    here = page_of(sale)
    for typed, order in (
        (first.id, first),
        (f"  {first.id.upper()} ", first),
        (f"https://shop.example{receipt_path(first.id)}", first),
        (receipt_path(first.id).split("/")[2], first),
        (f"/admin/desk/orders/{first.id}/", first),
        ("ada  <LOVELACE>", first),
        ("#1", first),
        ("unit 3", third),
        ("2", number),
        ("17", number),  # there is no unit 17, so it is a member's number
    ):
        response = await asyncio.to_thread(mia.get, here, {"q": typed})
        assert listed(response.content.decode()) == [order.id], typed
    text = await seen(mia, f"{here}?q=2")
    assert "Looked for unit 2. Nothing was found for the shopper “2”." in text
    assert listed(await seen(mia, f"{here}?q=2&as=shopper")) == []
    assert listed(await seen(mia, f"{ORDERS}?q=ADA+<lovelace>")) == [first.id]
    assert "Choose the sale" in await seen(mia, f"{ORDERS}?q=%231")
    assert "not a receipt" in await seen(mia, f"{ORDERS}?q=/orders/{first.id}.forged/")
    assert "Look for unit 2 instead" in await seen(mia, f"{here}?q=2&as=shopper")


# Names that can be read as something else, and what else: each in a sale where the other is another shopper's.
LIKE_A_UNIT = ["no1", "No. 1", "#1", "unit 1", "1", "\uff03\uff11", "nr 1"]


@pytest.mark.parametrize("name", LIKE_A_UNIT)
async def test_a_name_that_reads_like_a_unit_is_found_beside_the_unit(mia: Client, on_sale: OnSale, name: str) -> None:
    sale = await on_sale()
    anna, other = await bought(sale, shopper("Anna Example")), await bought(sale, shopper(name))
    here = page_of(sale)
    address = f"{here}?{urlencode({'q': name})}"
    text = await seen(mia, address)
    assert listed(text) == [anna.id, other.id] and "can be read in more than one way" in text
    assert text.index("<h2>Unit 1</h2>") < text.index(anna.id) < text.index(f"<h2>The shopper “{name}”</h2>")
    assert listed(await seen(mia, f"{address}&as=unit")) == [anna.id]
    assert listed(await seen(mia, f"{address}&as=shopper")) == [other.id]
    # All that is found for one of them is that, and no more; without the choice it is nothing.
    picked = {"whole": "1", "sale": sale.pk, "q": name}
    confirm = f"{ORDERS}many/cancel/confirm/"
    assert "can mean unit 1 or the shopper" in await told(mia, confirm, picked)
    text = await told(mia, confirm, picked | {"as": "shopper"})
    assert other.id in text and anna.id not in text


async def test_a_name_that_reads_like_an_order_or_an_address_is_found_too(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale(stock=50)
    anna = await bought(sale, shopper("Anna Example"))
    for name in (anna.id, f"x/orders/{anna.id}/", f"https://shop.example{receipt_path(anna.id)}"):
        other = await bought(sale, shopper(name))
        for here in (page_of(sale), ORDERS):
            assert listed(await seen(mia, f"{here}?{urlencode({'q': name})}")) == [anna.id, other.id], name
    for name in ("/orders/nobodys/", "a/orders/b"):
        other = await bought(sale, shopper(name))
        text = await seen(mia, f"{page_of(sale)}?{urlencode({'q': name})}")
        assert listed(text) == [other.id] and "not a receipt" in text


async def test_a_name_is_found_as_a_spreadsheet_writes_it(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale(stock=50)
    for name in ("+49 30 1234", "=Ann", "@ann", "000123", "'quoted", 'Ann "the" Lee', "Lee; =1"):
        order = await bought(sale, shopper(name))
        (cell,) = next(csv.reader([spreadsheet.lines([[name]])]))
        for typed in (name, cell, f'"{cell}"'.replace('"the"', '""the""')):
            assert listed(await seen(mia, f"{page_of(sale)}?{urlencode({'q': typed})}")) == [order.id], typed


async def test_a_unit_is_found_with_those_who_had_it_before(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale()
    before = await bought(sale)
    await cancel(before.id, "mia", WHY)
    now = await bought(sale)
    assert listed(await seen(mia, f"{page_of(sale)}?q=%231")) == [now.id, before.id]


async def test_filters_by_state_and_time(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale()
    orders = [await bought(sale) for _ in range(3)]
    await cancel(orders[0].id, "mia", WHY)
    await post(mia, f"{ORDERS}{orders[1].id}/fulfil/")
    for state, order in zip(("cancelled", "fulfilled", "open"), orders, strict=True):
        assert listed(await seen(mia, f"{page_of(sale)}?state={state}")) == [order.id]
    text = await seen(mia, f"{page_of(sale)}?state=open&since=2020-01-01T00:00")
    assert f"{page_of(sale)}export/?state=open&from=2020-01-01T00%3A00" in text
    assert f"{page_of(sale)}export/" not in await seen(mia, f"{page_of(sale)}?q=%231")  # a file holds them all
    soon = f"{datetime.now(UTC) + timedelta(minutes=1):%Y-%m-%dT%H:%M}"
    assert "No orders match" in await seen(mia, f"{page_of(sale)}?since={soon}")
    assert len(listed(await seen(mia, f"{page_of(sale)}?until={soon}"))) == 3
    assert "no date and time" in await seen(mia, f"{page_of(sale)}?since=yesterday")
    assert "end before it begins" in await seen(mia, f"{page_of(sale)}?since={soon}&until=2020-01-01T00:00")


async def test_pages_lead_there_and_back(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale(stock=1000)
    now = datetime.now(UTC).replace(microsecond=0)
    orders = [
        order_of(
            sale.pk, units=(unit,), shopper_id=secrets.token_hex(12), reserved_at=now + timedelta(seconds=unit // 3)
        )
        for unit in range(1, 121)
    ]
    await ledger.insert(orders, now)
    expected = [one.id for one in sorted(orders, key=lambda one: (one.reserved_at, one.id), reverse=True)]

    def link(text: str, rel: str) -> str:
        found = re.search(rf'<a href="([^"]+)" rel="{rel}"', text)
        return found[1] if found else ""

    first = await seen(mia, f"{page_of(sale)}?state=open")
    second = await seen(mia, link(first, "next"))
    third = await seen(mia, link(second, "next"))
    assert listed(first) + listed(second) + listed(third) == expected
    assert not link(first, "prev") and not link(third, "next")
    assert listed(await seen(mia, link(third, "prev"))) == listed(second)
    assert listed(await seen(mia, link(second, "prev"))) == listed(first)
    assert listed(await seen(mia, f"{page_of(sale)}?after=nonsense")) == listed(first)


async def test_without_a_sale_or_a_term_there_are_sales_to_choose_from(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale()
    assert "Choose a sale" in await seen(mia, ORDERS)
    text = await seen(mia, f"{ORDERS}?state=open")
    assert "Choose the sale too" in text and f"{page_of(sale)}?state=open" in text
    response = await asyncio.to_thread(mia.get, ORDERS, {"sale": sale.pk, "q": "ada", "state": ""})
    assert response.headers["Location"] == f"{page_of(sale)}?q=ada"
    assert "Nobody has bought in this sale yet" in await seen(mia, page_of(sale))
    assert "Names must be typed in full" in await seen(mia, f"{page_of(sale)}?q=ada")


async def test_orders_being_confirmed_are_shown_as_such(mia: Client, on_sale: OnSale) -> None:
    sale, someone = await on_sale(), shopper()
    order_id = await reserved(sale, someone)
    for address in (
        page_of(sale),
        f"{page_of(sale)}?state=pending",
        f"{page_of(sale)}?q=%231",
        f"{ORDERS}?q={order_id}",
    ):
        text = await seen(mia, address)
        assert listed(text) == [order_id] and "Being confirmed" in text, address
    assert listed(await seen(mia, f"{page_of(sale)}?state=open")) == []
    text = await seen(mia, f"{ORDERS}{order_id}/")
    assert someone.name in text and "Reserved" in text and "Cancel this order" not in text
    await seen(mia, f"{ORDERS}{secrets.token_hex(12)}/", 404)


async def test_a_store_that_is_away_is_told_of_in_words(
    mia: Client, on_sale: OnSale, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await on_sale()
    order = await bought(sale)
    with gate_away():
        text = await seen(mia, page_of(sale))
        assert "orders that are being confirmed are missing here" in text and listed(text) == [order.id]
        assert order.shopper_name in await seen(mia, f"{ORDERS}{order.id}/")
        assert "we don't know whether it is being confirmed" in await seen(mia, f"{ORDERS}{'0' * 24}/", 503)
    with ledger_away():
        for address in (page_of(sale), f"{ORDERS}{order.id}/", f"{ORDERS}{order.id}/cancel/"):
            assert "The ledger can't be asked" in await seen(mia, address, 503)
        response = await post(mia, f"{ORDERS}{order.id}/cancel/", {"reason": WHY})
        assert response.status_code == 503 and "Doing it again is safe" in response.content.decode()

    async def endless(*_: object) -> None:
        raise ExecutionTimeout("operation exceeded time limit")

    monkeypatch.setattr(search, "look", endless)
    assert "too many orders to read through" in await seen(mia, page_of(sale), 503)


# One order


async def test_an_order_is_told_with_its_history(mia: Client, on_sale: OnSale) -> None:
    sale, someone = await on_sale(limit_per_shopper=2), shopper("<b>Bob</b>")
    order, other = await bought(sale, someone), await bought(sale, someone)
    one = f"{ORDERS}{order.id}/"
    text = await told(mia, f"{one}fulfil/", {"reason": ""})
    assert "The order is fulfilled." in text
    assert "already fulfilled by merchandiser" in await told(mia, f"{one}cancel/", {"reason": WHY})
    assert "Please say why" in await told(mia, f"{one}reopen/", {"reason": " "})
    assert "open again" in await told(mia, f"{one}reopen/", {"reason": "clicked the wrong one"})
    await told(mia, f"{one}cancel/", {"reason": WHY})
    text = await seen(mia, one)
    steps = re.findall(r"<p><strong>([^<]+)</strong>", text)
    assert steps == ["Reserved", "Confirmed", "Fulfilled", "Opened again", "Cancelled"]
    for expected in ("Unit 1 went back on sale.", "clicked the wrong one", receipt_path(order.id), "€129.00", " UTC"):
        assert expected in text
    assert listed(text) == [other.id]
    raw = (await asyncio.to_thread(mia.get, one)).content.decode()
    assert "<b>Bob" not in raw and "&lt;b&gt;Bob" in raw and "<came>" not in raw


async def test_cancelling_says_what_follows_and_wants_a_reason(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale()
    order = await bought(sale)
    address = f"{ORDERS}{order.id}/cancel/"
    text = await seen(mia, address)
    assert "Unit 1 goes on sale again at once" in text and "without the reason" in text and "may buy again" in text
    assert (await post(mia, address, {"reason": ""})).status_code == 400
    assert (await post(mia, address, {"reason": "x" * 501})).status_code == 400
    record = await ledger_desk.read(order.id)
    assert record is not None and record.state.value == "open"
    assert "The order is cancelled. Unit 1 is on sale again." in await told(mia, address, {"reason": WHY})
    (entry,) = await asyncio.to_thread(journal.entries, sale)
    assert (entry.by, entry.action, entry.reason) == ("merchandiser", "Cancelled an order", WHY)
    assert "Nothing to cancel: this order is already cancelled by merchandiser on" in await told_get(mia, address)


async def told_get(browser: Client, address: str) -> str:
    response = await asyncio.to_thread(lambda: browser.get(address, follow=True))
    return html.unescape(response.content.decode())


async def test_a_sale_that_is_over_promises_no_buyer(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale()
    order = await bought(sale)
    await Sale.objects.filter(pk=sale.pk).aupdate(closes_at=datetime.now(UTC) - timedelta(seconds=1))
    text = await seen(mia, f"{ORDERS}{order.id}/cancel/")
    assert "nobody can buy them now" in text and "may buy again" not in text


async def test_of_two_who_cancel_at_once_the_second_is_told_who_was_first(
    accounts: dict[str, Client], on_sale: OnSale
) -> None:
    sale = await on_sale()
    order = await bought(sale)
    address = f"{ORDERS}{order.id}/cancel/"
    texts = await asyncio.gather(
        *(told(accounts[role], address, {"reason": WHY}) for role in ("merchandiser", "operator"))
    )
    assert sum("The order is cancelled." in text for text in texts) == 1
    assert sum("Not cancelled: this order is already cancelled by " in text for text in texts) == 1
    assert len(await asyncio.to_thread(journal.entries, sale)) == 1


# What shoppers see


async def test_the_shopper_is_told_and_may_buy_again(mia: Client, on_sale: OnSale, client: httpx.AsyncClient) -> None:
    sale, someone = await on_sale(stock=1), shopper()
    order = await bought(sale, someone)
    await told(mia, f"{ORDERS}{order.id}/cancel/", {"reason": WHY})
    own = cookie_of(someone)
    receipt = (await client.get(receipt_path(order.id))).text
    assert "This order was cancelled on " in receipt and "No. 1 went back on sale." in receipt
    assert "Go to the sale" in receipt and "came" not in receipt and "merchandiser" not in receipt
    panel = (await client.get(f"/sales/{sale.sku}/me", headers=own | {"HX-Request": "true"})).text
    assert 'data-state="given_up"' in panel and "No. 1 went back on sale." in panel
    assert "Buy again" in panel and receipt_path(order.id) in panel
    orders = (await client.get("/orders/", headers=own)).text
    assert "Cancelled on " in orders and "<s><bdi>1</bdi></s>" in orders
    again = await client.post("/api/orders", json={"sku": sale.sku}, headers=own)
    assert again.status_code == 201 and again.json()["data"]["units"] == [1]
