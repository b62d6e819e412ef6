"""Many orders at once: picked, confirmed with their number, done in steps that may be repeated."""

from __future__ import annotations

import asyncio
import csv
import html
import io
import re
import secrets
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from conftest import shopper
from flashdrop import large_forms, spreadsheet
from flashdrop.redis_client import redis
from orders import ledger, ledger_desk
from orders.audit import audit
from orders.cancelling import cancel
from orders.desk import bulk, deeds, picking, runs
from orders.ledger_desk import OrderState
from orders.models import BulkRun
from orders.order import Order
from orders.receipts import receipt_path
from orders.tests.conftest import OnSale
from orders.tests.test_desk_orders import LIKE_A_UNIT, ORDERS, WHY, bought, page_of, post, seen, told
from orders.tests.test_ledger import order_of
from sales import catalogue, stock
from sales.desk import journal
from sales.models import Sale
from sales.tests.test_admin import ledger_away

pytestmark = pytest.mark.django_db(transaction=True)

CONFIRM, RUN, REFUSED = (f"{ORDERS}many/cancel/{name}/" for name in ("confirm", "run", "refused"))
NOW = datetime.now(UTC).replace(microsecond=0)


def fields_of(text: str, action: str) -> dict[str, str]:
    """What the form of a page that posts to `action` would send."""
    form = next(found for found in re.findall(r"<form.*?</form>", text, re.DOTALL) if action in found)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
    fields |= dict(re.findall(r'<textarea name="(\w+)" hidden[^>]*>([^<]*)<', form))
    return {name: html.unescape(value) for name, value in fields.items() if name != "csrfmiddlewaretoken"}


async def filled(sale: Sale, count: int) -> list[Order]:
    """Orders of different shoppers, written to the ledger only."""
    orders = [
        order_of(sale.pk, sku=sale.sku, units=(unit,), shopper_id=secrets.token_hex(12), reserved_at=NOW)
        for unit in range(1, count + 1)
    ]
    await ledger.insert(orders, NOW)
    return orders


async def picked(browser: Client, data: dict[str, Any]) -> tuple[str, set[str]]:
    """What the page that confirms says, and the orders that it would cancel."""
    text = await told(browser, CONFIRM, data)
    return text, set(re.findall(r'<td data-label="Order"><a class="order-id" href="/admin/desk/orders/(\w+)/"', text))


async def states(orders: list[Order]) -> list[OrderState]:
    found = await ledger_desk.read_all([order.id for order in orders])
    return [found[order.id].state for order in orders]


async def step(browser: Client, fields: dict[str, Any]) -> dict[str, Any]:
    """One step as the page's script asks for it."""
    response = await post(browser, RUN, fields, headers={"Accept": "application/json"})
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()
    return found


async def test_a_selection_is_confirmed_with_its_units_and_then_done(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale(stock=3)
    orders = [await bought(sale) for _ in range(3)]
    await cancel(orders[2].id, "ben", WHY)
    text = await told(mia, CONFIRM, {"order": [order.id for order in orders], "back": page_of(sale)})
    assert "2 units go on sale again at once" in text and "Left out: 1" in text and "already cancelled by ben" in text
    assert await states(orders[:2]) == [OrderState.OPEN] * 2
    fields = fields_of(text, RUN)
    assert set(fields) == {"run"}  # nothing that counts travels
    assert "Please say why" in await told(mia, RUN, fields | {"reason": ""})
    text = await told(mia, RUN, fields | {"reason": WHY})
    assert "Finished: all 2 gone through." in text and f'href="{page_of(sale)}">Back to the orders' in text
    assert await states(orders) == [OrderState.CANCELLED] * 3
    (entry,) = await asyncio.to_thread(journal.entries, sale)
    assert (entry.by, entry.action, entry.reason) == ("merchandiser", "Cancelled 2 orders: 2 units, €258.00", WHY)
    assert (await stock.levels(redis(), [sale.pk]))[1][0].available == 3
    published = await catalogue.get(sale.pk)
    assert published is not None and (await audit(published)).holds


async def test_many_are_typed_and_done_in_steps_that_may_be_repeated(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale(stock=1000)
    orders = await filled(sale, 230)
    text = await told(mia, CONFIRM, {"whole": "1", "sale": sale.pk, "state": "", "q": ""})
    assert "Cancel 230 orders?" in text and "type <strong>cancel 230 orders</strong>" in text
    assert "201 to 230" in text and all(order.id in text for order in orders)  # every one of them is shown
    fields = fields_of(text, RUN) | {"reason": WHY}
    assert "That is not it" in await told(mia, RUN, fields | {"typed": "yes"})
    assert set(await states(orders)) == {OrderState.OPEN}
    fields["typed"] = "  Cancel 230 orders "
    text = await told(mia, RUN, fields)
    assert "100 of 230 gone through." in text
    assert (await states(orders)).count(OrderState.CANCELLED) == bulk.STEP
    # The page is reloaded: another step, and nothing twice.
    text = await told(mia, RUN, fields)
    rest = fields_of(text, 'name="orders"')
    assert (set(rest), len(rest["orders"].split())) == ({"run", "orders"}, 30)
    assert 'data-count="done">200<' in text
    # Two tabs go on at once, without a script and with one; meanwhile somebody else is quicker for one order.
    left = rest["orders"].split()
    await cancel(left[5], "ben", "mine")
    _, answer = await asyncio.gather(told(mia, RUN, rest), step(mia, rest))
    assert answer["done"] == 29 and answer["left"] == []
    assert [one["id"] for one in answer["refused"]] == [left[5]]
    assert answer["refused"][0]["why"].startswith("already cancelled by ben on ")
    # By its address, as after signing in again.
    text = await seen(mia, f"{RUN}?run={fields['run']}")
    assert "Finished: all 230 gone through." in text
    assert 'data-count="done">229<' in text and 'data-count="refused">1<' in text
    assert set(await states(orders)) == {OrderState.CANCELLED}
    records = await ledger_desk.read_all([order.id for order in orders])
    assert {len(record.events) for record in records.values()} == {1}
    (entry,) = await asyncio.to_thread(journal.entries, sale)
    assert entry.tally is not None and (entry.tally.orders, entry.tally.units) == (229, 229)
    report = f"/admin/desk/sales/{sale.pk}/report/"
    assert f"{entry.tally.words}, by merchandiser" in await seen(mia, f"{report}?download=html")
    (done,) = (await asyncio.to_thread(mia.get, f"{report}?format=json")).json()["done_to_many"]
    assert (done["what"], done["orders"], done["units"], done["by"]) == ("Cancelled", 229, 229, "merchandiser")


async def test_what_was_confirmed_is_what_is_done_and_nothing_else(
    mia: Client, accounts: dict[str, Client], on_sale: OnSale
) -> None:
    sale = await on_sale(stock=100)
    orders = await filled(sale, 26)
    listed, other = orders[:25], orders[25]
    text = await told(mia, CONFIRM, {"order": [order.id for order in listed]})
    fields = fields_of(text, RUN) | {"reason": WHY}
    # The count is the list's own, whatever else is posted.
    for forged in (
        {"total": "1"},
        {"total": "25"},
        {"typed": "cancel 1 orders", "total": "1"},
        {"orders": listed[0].id},
    ):
        assert "That is not it" in await told(mia, RUN, fields | forged)
        response = await post(mia, RUN, fields | forged, headers={"Accept": "application/json"})
        assert response.status_code == 400
    assert set(await states(orders)) == {OrderState.OPEN}
    # Another account, and another deed, know nothing of it.
    fields["typed"] = "cancel 25 orders"
    assert (await post(accounts["operator"], RUN, fields)).status_code == 410
    assert (await post(mia, f"{ORDERS}many/fulfil/run/", fields)).status_code == 410
    # A step can't bring in what was not on the list.
    answer = await step(mia, fields | {"orders": f"{other.id} {listed[3].id}"})
    assert (answer["done"], answer["left"]) == (1, [])
    assert await states([other, listed[3]]) == [OrderState.OPEN, OrderState.CANCELLED]
    # Nor is it known for ever.
    await BulkRun.objects.filter(pk=fields["run"]).aupdate(created_at=NOW - runs.KEPT)
    assert "not known any more" in await told(mia, RUN, fields)
    await told(mia, CONFIRM, {"order": other.id})
    assert not await BulkRun.objects.filter(pk=fields["run"]).aexists()


async def test_signing_in_again_leads_back_to_what_is_left(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale(stock=1000)
    orders = await filled(sale, 120)
    text = await told(mia, CONFIRM, {"whole": "1", "sale": sale.pk})
    assert (await post(mia, CONFIRM)).status_code == 200
    fields = fields_of(text, RUN)
    (here,) = re.findall(rf'action="({RUN}\?run={fields["run"]})"', text)
    assert "Cancel 120 orders?" in await seen(mia, here)  # not begun: the question again
    await told(mia, here, {"reason": WHY, "typed": "cancel 120 orders"})
    signed_out = Client()
    response = await post(signed_out, here)
    assert response.status_code == 302 and response.headers["Location"].endswith(f"?next={quote(here)}")
    response = await post(signed_out, here, headers={"Accept": "application/json"})
    assert response.status_code in (302, 401)
    text = await seen(mia, here)
    assert "100 of 120 gone through." in text and "data-paused" in text
    assert "Finished: all 120" in await told(mia, here, {})
    assert set(await states(orders)) == {OrderState.CANCELLED}
    response = await asyncio.to_thread(mia.get, CONFIRM)
    assert response.headers["Location"] == f"{ORDERS}many/cancel/"


async def test_a_list_may_hold_ids_links_units_and_names(mia: Client, on_sale: OnSale) -> None:
    sale, other = await on_sale(stock=20, limit_per_shopper=2), await on_sale()
    by_id, by_link, by_unit = [await bought(sale) for _ in range(3)]
    ada = shopper("Ada Lovelace")
    by_name = [await bought(sale, ada), await bought(sale, ada)]
    member = await bought(sale, shopper("3"))
    elsewhere = await bought(other)
    lines = [
        by_id.id,
        f"http://x{receipt_path(by_link.id)}",
        '"ADA  lovelace"',
        "3",
        "nobody",
        "#99",
        elsewhere.id,
        by_id.id,
    ]
    data = {"pasted": "\r\n".join(lines), "sale": sale.pk}
    text, found = await picked(mia, data | {"numbers": "unit"})
    expected = {by_id.id, by_link.id, by_unit.id, *(order.id for order in by_name)}
    assert found == expected
    for reason in (
        "the shopper “nobody” (holds no order here)",
        "unit 99 (nobody holds it)",
        "an order of another sale",
    ):
        assert reason in text
    _, found = await picked(mia, data | {"numbers": "shopper"})
    assert found == expected - {by_unit.id} | {member.id}
    text, found = await picked(mia, data)
    assert found == expected - {by_unit.id} and "say whether numbers are units or names" in text
    text, found = await picked(mia, data | {"sale": ""})
    assert found == {by_id.id, by_link.id, elsewhere.id}
    assert "Choose the sale: names and unit numbers count within one sale." in text


@pytest.mark.parametrize("numbers", ["", "unit", "shopper"])
@pytest.mark.parametrize("name", [name for name in LIKE_A_UNIT if name != "1"])
async def test_a_pasted_name_never_cancels_a_strangers_order(
    mia: Client, on_sale: OnSale, name: str, numbers: str
) -> None:
    sale = await on_sale()
    anna, other = await bought(sale, shopper("Anna Example")), await bought(sale, shopper(name))
    data = {"pasted": f"{name}\nNobody", "sale": sale.pk, "numbers": numbers}
    text, found = await picked(mia, data)
    assert found == set() and "Left out: 2" in text
    for both in (f"can mean unit 1 (order {anna.id}, unit 1 of Anna Example)", f"(order {other.id}, unit 2 of {name})"):
        assert both in text
    # Whoever bought here once may be meant still.
    await cancel(other.id, "ben", WHY)
    assert (await picked(mia, data))[1] == set()
    # And whoever never did may be meant by a list of names.
    data["pasted"] = name.replace("1", "1 ")
    sale = await on_sale()
    anna = await bought(sale, shopper("Anna Example"))
    _, found = await picked(mia, data | {"sale": sale.pk})
    assert found == ({anna.id} if numbers == "unit" else set())


async def test_a_bare_number_means_what_was_said_it_means(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale()
    anna, other = await bought(sale, shopper("Anna Example")), await bought(sale, shopper("1"))
    data = {"pasted": "1", "sale": sale.pk}
    assert [(await picked(mia, data | {"numbers": one}))[1] for one in ("", "unit", "shopper")] == [
        set(),
        {anna.id},
        {other.id},
    ]


async def test_two_readings_that_find_the_same_order_are_one(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale()
    order = await bought(sale, shopper("No. 1"))
    for numbers in ("", "unit", "shopper"):
        _, found = await picked(mia, {"pasted": "No. 1", "sale": sale.pk, "numbers": numbers})
        assert found == {order.id}


async def test_other_names_that_can_be_read_as_something_else_are_left_out(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale(stock=50)
    anna = await bought(sale, shopper("Anna Example"))
    for name in (anna.id, f"x/orders/{anna.id}/", receipt_path(anna.id), '"Anna Example"', "'=Anna"):
        other = await bought(sale, shopper(name))
        if name == "'=Anna":
            anna = await bought(sale, shopper("=Anna"))
        for sale_id in (sale.pk, "") if "/" in name or name == anna.id else (sale.pk,):
            text, found = await picked(mia, {"pasted": name, "sale": sale_id, "numbers": "shopper"})
            assert found == set() and other.id in text and anna.id in text, name
    # A line of a form ends where the form says, not where a name says.
    await bought(sale, shopper("Eve\u2028Anna Example"))
    text, found = await picked(mia, {"pasted": "Nobody\u2028Anna Example", "sale": sale.pk})
    assert found == set()
    # Guests are called so in every list; somebody of that name is none of them.
    await bought(sale, shopper("Guest"))
    text, found = await picked(mia, {"pasted": "guest", "sale": sale.pk})
    assert found == set() and "who gave no name" in text


async def test_every_line_stands_beside_the_order_it_means(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale(stock=50, limit_per_shopper=2)
    ada = shopper("Ada Lovelace")
    first, second, third = await bought(sale, ada), await bought(sale, ada), await bought(sale)
    lines = ["ada  lovelace", first.id, "#3", third.id, "#3"]
    text, found = await picked(mia, {"pasted": "\n".join(lines), "sale": sale.pk, "numbers": "unit"})
    assert found == {first.id, second.id, third.id} and "Cancel 3 orders?" in text
    meant = re.findall(
        r'data-label="Line" class="order-name">(.*?)</td>\s*<td data-label="Order"><a [^>]+>(\w+)<', text
    )
    assert meant == [
        ("ada  lovelace<br>" + first.id, first.id),
        ("ada  lovelace", second.id),
        (f"#3<br>{third.id}", third.id),
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"pasted": " \n "}, "The list is empty"),
        ({"pasted": "\n".join(map(str, range(10_001)))}, "10,001 lines"),
        ({"order": "nonsense"}, "None of these orders can be cancelled"),
        ({"whole": "1"}, "Choose a sale first"),
    ],
)
async def test_what_can_not_be_done_is_said(mia: Client, data: dict[str, str], expected: str) -> None:
    assert expected in await told(mia, CONFIRM, data)


async def test_ten_thousand_lines_with_long_names_are_taken(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale()
    order = await bought(sale, shopper("\U0001d4d0" * 250))
    wide = "\U0001d4d0" * 250
    lines = [f"{number:05d}{wide if number % 3 == 0 else ''}x" for number in range(1, picking.AT_MOST)] + [
        order.shopper_name
    ]
    assert len("\n".join(lines).encode()) > 3_000_000  # more than Django takes by itself
    text, found = await picked(mia, {"pasted": "\n".join(lines), "sale": sale.pk})
    assert found == {order.id} and "Left out: 9999" in text and "9901 to 9999" in text
    assert lines[0] in text and lines[5000] in text


async def test_what_is_too_large_is_said_to_be_and_a_strangers_is_not_even_read(mia: Client, on_sale: OnSale) -> None:
    response = await post(mia, CONFIRM, {"pasted": "x" * (large_forms.LARGEST + 1)})
    assert response.status_code == 413 and "send it in parts" in response.content.decode()
    stranger = Client(enforce_csrf_checks=True)  # whose token would be looked for in the form: 403 says that it was
    for address, status in ((CONFIRM, 302), ("/admin/login/", 413)):
        response = await post(stranger, address, {"pasted": "x" * large_forms.LARGEST_OF_STRANGERS})
        assert response.status_code == status, address
        assert (await post(stranger, address, {"pasted": "x" * 1000})).status_code == 403
        response = await post(stranger, address, {"pasted": "x"}, CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")
        assert response.status_code == status


async def test_while_the_ledger_is_away_nothing_is_lost_and_going_on_is_safe(
    mia: Client, on_sale: OnSale, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await on_sale()
    orders = [await bought(sale) for _ in range(2)]
    order_ids = [order.id for order in orders]
    fields = fields_of(await told(mia, CONFIRM, {"order": order_ids}), RUN)
    fields |= {"orders": " ".join(order_ids), "reason": WHY}
    with ledger_away():
        answer = await step(mia, fields)
        assert (answer["done"], answer["refused"], answer["left"]) == (0, [], [order.id for order in orders])
        response = await post(mia, RUN, fields)
        assert response.status_code == 503 and "we don&#x27;t know how many" in response.content.decode()
        response = await post(mia, CONFIRM, {"order": orders[0].id})
        assert response.status_code == 503
    assert (await step(mia, fields))["done"] == 2


async def test_what_was_refused_can_be_had_as_a_file(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale()
    order = await bought(sale, shopper("=cmd()"))
    await cancel(order.id, "ben", WHY)
    response = await post(mia, REFUSED, {"refused": f"{order.id} {'0' * 24} nonsense"})
    assert response.headers["Content-Type"].startswith("text/csv")
    head, first, second = csv.reader(io.StringIO(response.content.decode("utf-8-sig"), newline=""))
    assert response.content.startswith(b"\xef\xbb\xbf") and head[:3] == ["order", "units", "shopper"]
    assert first[:3] == [spreadsheet.marked(order.id), "1", "'=cmd()"] and first[3].startswith("already cancelled")
    assert second[:3] == [f"'{'0' * 24}", "", ""] and second[3].startswith("not in the ledger")


async def test_fulfilling_many_needs_no_reason(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale()
    orders = [await bought(sale) for _ in range(2)]
    text = await told(mia, f"{ORDERS}many/fulfil/confirm/", {"whole": "1", "sale": sale.pk, "state": "open"})
    assert "2 orders count as handed over." in text
    fields = fields_of(text, f"{ORDERS}many/fulfil/run/")
    assert "Finished: all 2 gone through." in await told(mia, f"{ORDERS}many/fulfil/run/", fields | {"reason": ""})
    assert await states(orders) == [OrderState.FULFILLED] * 2
    text = await told(mia, CONFIRM, {"order": [order.id for order in orders]})
    assert "None of these orders can be cancelled" in text


async def test_more_than_can_be_done_at_once_is_said(
    mia: Client, on_sale: OnSale, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await on_sale(stock=100)
    await filled(sale, 8)
    monkeypatch.setattr(bulk, "AT_MOST", 5)
    text = await told(mia, CONFIRM, {"whole": "1", "sale": sale.pk})
    assert "More orders match than can be done at once" in text and "Cancel 5 orders?" in text


async def test_another_persons_cancelling_is_never_counted_as_ours(on_sale: OnSale) -> None:
    """The canary of `is_repeat`: same name, other reason; same reason, other name; the same, but from before."""
    sale = await on_sale()
    order = await bought(sale)
    await cancel(order.id, "mia", WHY)
    for by, reason, since, is_ours in (
        ("mia", WHY, NOW, True),
        ("mia", "another", NOW, False),
        ("ben", WHY, NOW, False),
        ("mia", WHY, datetime.now(UTC), False),
    ):
        (outcome,) = await deeds.do_all(deeds.CANCEL, [order.id], by, reason, since)
        assert (outcome.is_done, outcome.is_repeat) == (is_ours, is_ours)
