"""Steering a running sale: each control works for who may, holds from the next order on, and is written down."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.test import Client

from conftest import eventually
from flashdrop.redis_client import redis
from sales import backoffice, stock
from sales.desk import journal
from sales.desk.journal import Change, Entry
from sales.gate import Wish
from sales.models import Sale, new_sale_id
from sales.tests.desk import account, buy, changed, created, gate_away, get, ledger_away, levels, post

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def admin_client(transactional_db: None) -> Client:
    return account(None, is_superuser=True)


@pytest.fixture
def merchandiser(transactional_db: None) -> Client:
    return account("merchandiser")


@pytest.fixture
def operator(transactional_db: None) -> Client:
    return account("operator")


def control_of(sale: Sale) -> str:
    return f"/admin/desk/sales/{sale.pk}/control/"


async def confirmation(client: Client, sale: Sale, **ask: Any) -> tuple[str, dict[str, str]]:
    """What a control's confirmation says, and the hidden fields that its form would post."""

    def work() -> str:
        answer = client.get(control_of(sale), ask, follow=True)
        assert answer.status_code == 200
        return answer.content.decode()

    text = await asyncio.to_thread(work)
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text))
    hidden.pop("csrfmiddlewaretoken", None)
    return text, hidden


async def do(client: Client, sale: Sale, reason: str = "A test", **ask: Any) -> str:
    """Ask for a control, confirm it, and read the page that comes back."""
    text, hidden = await confirmation(client, sale, **ask)
    assert hidden.get("token"), text
    return await post(client, control_of(sale), hidden | {"reason": reason})


async def log_of(sale: Sale) -> list[Entry]:
    return await asyncio.to_thread(journal.entries, sale)


async def test_a_pause_refuses_the_very_next_order_and_a_resume_takes_it(
    admin_client: Client, operator: Client, client: httpx.AsyncClient
) -> None:
    sale = await created(admin_client)
    said, hidden = await confirmation(operator, sale, do="pause")
    assert "Shoppers see “Paused” within a second. Nobody can buy until you resume." in said
    assert "10 units are left and kept for when you resume." in said
    assert await buy(client, sale) == (201, None)  # asking changes nothing
    assert "Paused. It holds from the next order on" in await post(operator, control_of(sale), hidden)
    assert await buy(client, sale) == (423, "SALE_PAUSED")
    await do(operator, sale, do="resume", reason="")
    assert await buy(client, sale) == (201, None)


async def test_shoppers_see_it_at_once(admin_client: Client, operator: Client, client: httpx.AsyncClient) -> None:
    sale = await created(admin_client)

    async def phase() -> str:
        banner = (await client.get(f"/sales/{sale.sku}/banner")).text
        return re.search(r'data-phase="(\w+)"', banner)[1]  # type: ignore[index]

    assert await phase() == "active"
    for action, expected in (("pause", "paused"), ("resume", "active"), ("close", "ended")):
        await do(operator, sale, do=action)

        async def shown(expected: str = expected) -> bool:
            return await phase() == expected

        await eventually(shown, 1.0)


async def test_closing_ends_it_and_moving_the_end_opens_it_again(
    admin_client: Client, operator: Client, client: httpx.AsyncClient
) -> None:
    sale = await created(admin_client)
    said, _ = await confirmation(operator, sale, do="close")
    assert "10 units are left and not sold." in said
    await do(operator, sale, do="close", reason="Wrong price")
    assert await buy(client, sale) == (400, "FLASH_SALE_ENDED")
    assert "This sale is over" in await get(operator, control_of(sale))
    text, _ = await confirmation(operator, sale, do="extend", minutes=15)
    assert "this opens it again at once" in text
    await do(operator, sale, do="extend", minutes=15)
    assert await buy(client, sale) == (201, None)
    after = await Sale.objects.aget(pk=sale.pk)
    assert timedelta(minutes=14) < after.closes_at - datetime.now(UTC) <= timedelta(minutes=15)


@pytest.mark.parametrize(("zone", "ahead"), [("UTC", 0), ("Asia/Tokyo", 9)])
async def test_the_end_moves_by_minutes_or_to_a_time_on_any_clock(
    admin_client: Client, operator: Client, zone: str, ahead: int
) -> None:
    sale = await created(admin_client)
    await do(operator, sale, do="extend", minutes=60)
    assert (await Sale.objects.aget(pk=sale.pk)).closes_at == sale.closes_at + timedelta(hours=1)
    end = sale.closes_at + timedelta(hours=5)
    wall = f"{end + timedelta(hours=ahead):%Y-%m-%dT%H:%M:%S}"
    await do(operator, sale, do="end-at", at=wall, time_zone=zone)
    assert (await Sale.objects.aget(pk=sale.pk)).closes_at == end
    said, _ = await confirmation(operator, sale, do="end-at", at="2020-01-01T00:00", time_zone=zone)
    assert "is already past. Choose a later end, or close the sale now." in said


async def test_raised_stock_sells_again(admin_client: Client, operator: Client, client: httpx.AsyncClient) -> None:
    sale = await created(admin_client, stock=1)
    assert [await buy(client, sale), await buy(client, sale)] == [(201, None), (409, "OUT_OF_STOCK")]
    said, _ = await confirmation(operator, sale, do="raise", units=2)
    assert "The stock goes from 1 to 3." in said
    assert "1 unit is sold or reserved, so 2 units can be bought after this." in said
    assert "can buy again within a second" in said
    await do(operator, sale, do="raise", units=2)
    assert await buy(client, sale) == (201, None)
    assert (await levels(sale)).stock == 3


async def test_stock_is_not_lowered_below_what_is_taken(
    admin_client: Client, operator: Client, client: httpx.AsyncClient
) -> None:
    sale = await created(admin_client, stock=5)
    for _ in range(3):
        assert await buy(client, sale) == (201, None)
    for ask in ({"do": "lower", "units": 3}, {"do": "set-stock", "units": 2}):
        said, hidden = await confirmation(operator, sale, **ask)
        assert "3 units are sold or reserved already, so the stock can&#x27;t go below 3." in said
        assert "token" not in hidden
    await do(operator, sale, do="lower", units=2)
    assert await buy(client, sale) == (409, "OUT_OF_STOCK")
    assert (await Sale.objects.aget(pk=sale.pk)).stock == 3


async def test_units_bought_between_the_question_and_the_answer_refuse_a_lowering(
    admin_client: Client, operator: Client, client: httpx.AsyncClient
) -> None:
    sale = await created(admin_client, stock=5)
    _, hidden = await confirmation(operator, sale, do="lower", units=4)
    for _ in range(2):
        await buy(client, sale)
    said = await post(operator, control_of(sale), hidden | {"reason": "x"})
    assert "Nothing was done. 2 units are sold or reserved already" in said
    assert (await levels(sale)).stock == 5


async def test_a_stock_set_outright_does_not_undo_a_colleagues_change(
    admin_client: Client, operator: Client, merchandiser: Client
) -> None:
    sale = await created(admin_client, stock=10)
    _, hidden = await confirmation(operator, sale, do="set-stock", units=12)
    await do(merchandiser, sale, do="raise", units=90, reason="Found a pallet")
    said = await post(operator, control_of(sale), hidden | {"reason": "x"})
    assert "Somebody changed this sale while you were looking, so nothing was done." in said
    assert "Stock from 10 to 100 (“Found a pallet”)" in said
    assert (await Sale.objects.aget(pk=sale.pk)).stock == 100


async def test_two_who_raise_at_once_both_raise(admin_client: Client, operator: Client, merchandiser: Client) -> None:
    sale = await created(admin_client, stock=10)
    both = [(who, (await confirmation(who, sale, do="raise", units=5))[1]) for who in (operator, merchandiser)]
    for who, hidden in both:
        assert "Stock raised." in await post(who, control_of(sale), hidden | {"reason": "x"})
    assert (await Sale.objects.aget(pk=sale.pk)).stock == 20
    assert (await levels(sale)).stock == 20


async def test_a_button_pressed_twice_does_it_once(admin_client: Client, operator: Client) -> None:
    sale = await created(admin_client, stock=10)
    _, hidden = await confirmation(operator, sale, do="raise", units=5)
    assert "Stock raised." in await post(operator, control_of(sale), hidden | {"reason": "x"})
    assert "the button was pressed twice" in await post(operator, control_of(sale), hidden | {"reason": "x"})
    assert (await Sale.objects.aget(pk=sale.pk)).stock == 15


async def test_a_pause_that_stands_already_says_so(admin_client: Client, operator: Client) -> None:
    sale = await created(admin_client, paused=True)
    said, _ = await confirmation(operator, sale, do="pause")
    assert "The sale is paused already. Nothing was changed." in said
    assert len(await log_of(sale)) == 1  # that it was added


async def test_withdrawn_and_shown_again(admin_client: Client, operator: Client, client: httpx.AsyncClient) -> None:
    sale = await created(admin_client)
    await do(operator, sale, do="withdraw", reason="A recall")
    assert await buy(client, sale) == (404, "PRODUCT_NOT_FOUND")
    assert "This sale is withdrawn" in await get(operator, control_of(sale))
    said, _ = await confirmation(operator, sale, do="pause")
    assert "Nothing was done. This sale is withdrawn" in said
    await do(operator, sale, do="show-again")
    assert await buy(client, sale) == (201, None)


async def test_a_draft_has_nothing_to_steer(admin_client: Client, operator: Client) -> None:
    sale = await created(admin_client, published=False)
    assert "This sale is a draft" in await get(operator, control_of(sale))
    assert "Publish it in Settings first." in (await confirmation(operator, sale, do="pause"))[0]


async def test_a_sale_that_is_to_come_is_paused_but_not_closed(admin_client: Client, operator: Client) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    hour = timedelta(hours=1)
    sale = await created(admin_client, opens_at=now + hour, closes_at=now + 2 * hour)
    assert "has not opened yet" in (await confirmation(operator, sale, do="close"))[0]
    assert "nobody can buy until you resume" in (await confirmation(operator, sale, do="pause"))[0]


async def test_it_is_written_down_with_who_what_from_to_and_why(admin_client: Client, operator: Client) -> None:
    sale = await created(admin_client, stock=10)
    await do(operator, sale, do="raise", units=5, reason="A pallet turned up")
    entry = (await log_of(sale))[0]
    assert (entry.by.split("-")[0], entry.action, entry.reason) == ("operator", "Stock raised", "A pallet turned up")
    assert entry.changes == (Change("Stock", "10", "15"),)
    assert datetime.now(UTC) - entry.at < timedelta(minutes=1)
    for address in (control_of(sale), f"/admin/sales/sale/{sale.pk}/history/"):
        text = await get(operator, address)
        assert "<b>Stock</b> 10 → 15" in text
        assert "A pallet turned up" in text


@pytest.mark.parametrize("ask", [{"do": "close"}, {"do": "raise", "units": 1}, {"do": "withdraw"}])
async def test_what_can_not_be_taken_back_easily_needs_a_reason(
    admin_client: Client, operator: Client, ask: dict[str, Any]
) -> None:
    sale = await created(admin_client)
    _, hidden = await confirmation(operator, sale, **ask)

    answer = await asyncio.to_thread(lambda: operator.post(control_of(sale), hidden | {"reason": "  "}))
    assert answer.status_code == 400
    assert "Say why, in a few words" in answer.content.decode()
    after = await Sale.objects.aget(pk=sale.pk)
    assert (after.stock, after.closes_at, after.published) == (sale.stock, sale.closes_at, True)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ({"do": "raise", "units": ""}, "Say how many units."),
        ({"do": "raise", "units": "-3"}, "Give a number of units above zero."),
        ({"do": "raise", "units": "many"}, "Give the number of units in digits."),
        ({"do": "raise", "units": 10_000_000}, "A sale has at most 10,000,000 units."),
        ({"do": "end-at", "at": "soon"}, "Give a date and a time"),
        ({"do": "extend"}, "Say by how many minutes."),
        ({"do": "explode"}, "Nothing was done."),
    ],
)
async def test_what_can_not_be_understood_is_said_in_words(
    admin_client: Client, operator: Client, ask: dict[str, Any], said: str
) -> None:
    sale = await created(admin_client)
    assert said in (await confirmation(operator, sale, **ask))[0]


async def test_units_being_confirmed_are_told(admin_client: Client, operator: Client) -> None:
    sale = await created(admin_client)
    await stock.reserve(redis(), sale.pk, 1, [Wish(f"o{n}", f"s{n}", 1, False, "") for n in range(3)])
    said, _ = await confirmation(operator, sale, do="pause")
    assert "3 units that are being confirmed still become orders." in said
    assert "7 units are left" in said


async def test_with_the_ledger_away_it_says_that_it_is_not_in_force_and_the_worker_does_it(
    admin_client: Client, operator: Client, client: httpx.AsyncClient
) -> None:
    sale = await created(admin_client)
    with ledger_away():
        text, _ = await confirmation(operator, sale, do="pause")
        assert "until then shoppers are served as before." in text
        said = await do(operator, sale, do="pause")
    assert "Paused here, but not in force yet." in said
    assert "the ledger can't be reached: shoppers still see the sale as it was" in said
    assert await buy(client, sale) == (201, None)
    await backoffice.publish_outstanding()
    assert await buy(client, sale) == (423, "SALE_PAUSED")


async def test_with_the_gate_away_it_is_saved_and_says_so(admin_client: Client, operator: Client) -> None:
    sale = await created(admin_client)
    with gate_away():
        page = await get(operator, control_of(sale))
        assert "Nobody can buy while it is away" in page
        assert "unknown" in page
        said = await do(operator, sale, do="pause")
    assert "The gate can't be asked right now; the worker puts this in force as soon as it is back." in said
    assert "not in force yet" in said


async def test_with_no_store_at_all_stock_is_not_lowered_blindly(admin_client: Client, operator: Client) -> None:
    sale = await created(admin_client)
    with ledger_away(), gate_away():
        said = await do(operator, sale, do="lower", units=1)
    assert "Nothing was done: the stores can't be asked how many units are sold." in said
    assert (await Sale.objects.aget(pk=sale.pk)).stock == 10


ACTIONS = ("pause", "resume", "close", "extend", "end-at", "raise", "lower", "set-stock", "withdraw", "show-again")


@pytest.mark.parametrize("role", ["viewer", None, "not staff", "nobody"])
def test_nobody_else_steers(transactional_db: None, role: str | None) -> None:
    now = datetime.now(UTC)
    sale = Sale.objects.create(
        id=new_sale_id(), sku="lamp", name="Lamp", price_minor=1, stock=5, published=True, version=1,
        opens_at=now, closes_at=now + timedelta(hours=1),
    )  # fmt: skip
    who = {"nobody": Client, "not staff": lambda: account("operator", is_staff=False)}.get(
        str(role), lambda: account(role)
    )()
    expected = 302 if role in ("not staff", "nobody") else 403
    for answer in (
        who.get(control_of(sale)),
        *(who.get(control_of(sale), {"do": action, "units": 1, "minutes": 5}) for action in ACTIONS),
        *(
            who.post(control_of(sale), {"do": action, "units": 1, "minutes": 5, "reason": "x", "token": "t"})
            for action in ACTIONS
        ),
    ):
        assert answer.status_code == expected
    after = Sale.objects.get(pk=sale.pk)
    assert (after.settings(), after.updated_at) == (sale.settings(), sale.updated_at)


async def test_operators_change_no_settings_and_merchandisers_steer_too(
    admin_client: Client, operator: Client, merchandiser: Client, client: httpx.AsyncClient
) -> None:
    sale = await created(admin_client)
    await do(merchandiser, sale, do="pause")
    assert await buy(client, sale) == (423, "SALE_PAUSED")
    with pytest.raises(AssertionError):
        await changed(operator, sale, name="Another")
    assert (await Sale.objects.aget(pk=sale.pk)).name == sale.name


async def test_the_figures_ask_for_themselves_anew(admin_client: Client, operator: Client) -> None:
    sale = await created(admin_client)
    answer = await asyncio.to_thread(lambda: operator.get(control_of(sale), headers={"HX-Request": "true"}))
    text = answer.content.decode().strip()
    assert text.startswith('<div id="standing"')
    assert "On sale now" in text
    assert "<html" not in text
