"""Many orders at once: picked, confirmed with their number, done in steps that may be repeated."""

from __future__ import annotations

import asyncio
import html
import re
import secrets
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from conftest import shopper
from flashdrop.redis_client import redis
from orders import ledger, ledger_desk
from orders.audit import audit
from orders.cancelling import cancel
from orders.desk import bulk, deeds
from orders.ledger_desk import OrderState
from orders.order import Order
from orders.receipts import receipt_path
from orders.tests.conftest import OnSale
from orders.tests.test_desk_orders import ORDERS, WHY, bought, page_of, post, told
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
    assert (fields["total"], fields["back"]) == ("2", page_of(sale))
    assert "Please say why" in await told(mia, RUN, fields | {"reason": ""})
    text = await told(mia, RUN, fields | {"reason": WHY})
    assert "Finished: all 2 gone through." in text
    assert await states(orders) == [OrderState.CANCELLED] * 3
    (entry,) = await asyncio.to_thread(journal.entries, sale)
    assert (entry.action, entry.reason) == ("Cancelled 2 orders", WHY)
    assert (await stock.levels(redis(), [sale.pk]))[1][0].available == 3
    published = await catalogue.get(sale.pk)
    assert published is not None and (await audit(published)).holds


async def test_many_are_typed_and_done_in_steps_that_may_be_repeated(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale(stock=1000)
    orders = await filled(sale, 230)
    text = await told(mia, CONFIRM, {"whole": "1", "sale": sale.pk, "state": "", "q": ""})
    assert "Cancel 230 orders?" in text and "type <strong>cancel 230 orders</strong>" in text
    fields = fields_of(text, RUN) | {"reason": WHY}
    assert "That is not it" in await told(mia, RUN, fields | {"typed": "yes"})
    assert set(await states(orders)) == {OrderState.OPEN}
    fields["typed"] = "  Cancel 230 orders "
    text = await told(mia, RUN, fields)
    assert "100 of 230 gone through." in text
    assert (await states(orders)).count(OrderState.CANCELLED) == bulk.STEP
    # The page is reloaded: the same step once more; it says the same and does nothing twice.
    again = await told(mia, RUN, fields)
    rest = fields_of(text, 'name="orders"')
    assert fields_of(again, 'name="orders"') == rest
    assert (rest["done"], len(rest["orders"].split())) == ("100", 130)
    # Two tabs go on at once, without a script and with one; meanwhile somebody else is quicker for one order.
    left = rest["orders"].split()
    await cancel(left[5], "ben", "mine")
    page, answer = await asyncio.gather(told(mia, RUN, rest), step(mia, rest))
    assert answer["done"] == 99 and answer["left"] == left[bulk.STEP :]
    assert [one["id"] for one in answer["refused"]] == [left[5]]
    assert answer["refused"][0]["why"].startswith("already cancelled by ben on ")
    last = fields_of(page, 'name="orders"')
    text = await told(mia, RUN, last)
    assert "Finished: all 230 gone through." in text
    assert 'data-count="done">229<' in text and 'data-count="refused">1<' in text
    assert set(await states(orders)) == {OrderState.CANCELLED}
    records = await ledger_desk.read_all([order.id for order in orders])
    assert {len(record.events) for record in records.values()} == {1}
    noted = await asyncio.to_thread(journal.entries, sale)
    assert sum(int(entry.action.split()[1].replace("an", "1")) for entry in noted) == 229


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
    text = await told(mia, CONFIRM, data | {"numbers": "unit"})
    expected = {by_id.id, by_link.id, by_unit.id, *(order.id for order in by_name)}
    assert set(fields_of(text, RUN)["orders"].split()) == expected
    for told_of in ("nobody</span>: holds no order here", "nobody holds unit 99", "an order of another sale"):
        assert told_of in text
    text = await told(mia, CONFIRM, data | {"numbers": "shopper"})
    assert set(fields_of(text, RUN)["orders"].split()) == expected - {by_unit.id} | {member.id}
    text = await told(mia, CONFIRM, data | {"sale": ""})
    assert set(fields_of(text, RUN)["orders"].split()) == {by_id.id, by_link.id, elsewhere.id}
    assert "Choose the sale: names and unit numbers count within one sale." in text


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


async def test_while_the_ledger_is_away_nothing_is_lost_and_going_on_is_safe(
    mia: Client, on_sale: OnSale, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await on_sale()
    orders = [await bought(sale) for _ in range(2)]
    fields = {"orders": " ".join(order.id for order in orders), "reason": WHY, "total": 2, "started": NOW.isoformat()}
    with ledger_away():
        answer = await step(mia, fields)
        assert (answer["done"], answer["refused"], answer["left"]) == (0, [], [order.id for order in orders])
        text = await told(mia, RUN, fields)
        assert "The ledger did not answer for some orders" in text and 'data-count="left">2<' in text
        response = await post(mia, CONFIRM, {"order": orders[0].id})
        assert response.status_code == 503
    assert (await step(mia, fields))["done"] == 2


async def test_what_was_refused_can_be_had_as_a_file(mia: Client, on_sale: OnSale) -> None:
    sale = await on_sale()
    order = await bought(sale, shopper("=cmd()"))
    await cancel(order.id, "ben", WHY)
    response = await post(mia, REFUSED, {"refused": f"{order.id} {'0' * 24} nonsense"})
    assert response.headers["Content-Type"].startswith("text/csv")
    head, first, second = response.content.decode().strip().split("\r\n")
    assert head.startswith("order,units,shopper") and first.startswith(f"{order.id},1,'=cmd(),\"already cancelled")
    assert second.startswith(f"{'0' * 24},,,not in the ledger")


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
