"""Steering a running sale: each control works for who may, holds from the next order on, and is written down."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from conftest import eventually, show
from flashdrop import loops
from flashdrop.redis_client import RedisConnectionError, redis
from sales import backoffice, brakes, publishing, register, stock
from sales.desk import braking, journal
from sales.desk.journal import Change, Entry
from sales.gate import Wish
from sales.keys import sale_keys
from sales.management.commands import pause_sale
from sales.models import Sale, new_sale_id
from sales.tests.desk import account, buy, changed, gate_away, get, ledger_away, levels, post

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def merchandiser(transactional_db: None) -> Client:
    return account("merchandiser")


@pytest.fixture
def operator(transactional_db: None) -> Client:
    return account("operator")


async def on_sale(**changes: Any) -> Sale:
    """A sale that is open, with 10 units, published as the admin does."""
    now, sale_id = datetime.now(UTC).replace(microsecond=0), new_sale_id()
    values: dict[str, Any] = {
        "name": "Desk lamp",
        "price_minor": 12900,
        "stock": 10,
        "opens_at": now - timedelta(minutes=1),
        "closes_at": now + timedelta(hours=1),
        "published": True,
    }
    row = Sale(id=sale_id, sku=f"desk-{sale_id}", **values | changes)
    await asyncio.to_thread(backoffice.save_and_publish, row)
    await show()
    return await Sale.objects.aget(pk=sale_id)


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
    operator: Client, client: httpx.AsyncClient
) -> None:
    sale = await on_sale()
    said, hidden = await confirmation(operator, sale, do="pause")
    assert "Shoppers see “Paused” within a second. Nobody can buy until you resume." in said
    assert "10 units are left and kept for when you resume." in said
    assert await buy(client, sale) == (201, None)  # asking changes nothing
    assert "Paused. It holds from the next order on" in await post(operator, control_of(sale), hidden)
    assert await buy(client, sale) == (423, "SALE_PAUSED")
    await do(operator, sale, do="resume", reason="")
    assert await buy(client, sale) == (201, None)


async def test_shoppers_see_it_at_once(operator: Client, client: httpx.AsyncClient) -> None:
    sale = await on_sale()

    async def phase() -> str:
        banner = (await client.get(f"/sales/{sale.sku}/banner")).text
        return re.search(r'data-phase="(\w+)"', banner)[1]  # type: ignore[index]

    assert await phase() == "active"
    for action, expected in (("pause", "paused"), ("resume", "active"), ("close", "ended")):
        await do(operator, sale, do=action)

        async def shown(expected: str = expected) -> bool:
            return await phase() == expected

        await eventually(shown, 1.0)


async def test_closing_ends_it_and_moving_the_end_opens_it_again(operator: Client, client: httpx.AsyncClient) -> None:
    sale = await on_sale()
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
async def test_the_end_moves_by_minutes_or_to_a_time_on_any_clock(operator: Client, zone: str, ahead: int) -> None:
    sale = await on_sale()
    await do(operator, sale, do="extend", minutes=60)
    assert (await Sale.objects.aget(pk=sale.pk)).closes_at == sale.closes_at + timedelta(hours=1)
    end = sale.closes_at + timedelta(hours=5)
    wall = f"{end + timedelta(hours=ahead):%Y-%m-%dT%H:%M:%S}"
    await do(operator, sale, do="end-at", at=wall, time_zone=zone)
    assert (await Sale.objects.aget(pk=sale.pk)).closes_at == end
    said, _ = await confirmation(operator, sale, do="end-at", at="2020-01-01T00:00", time_zone=zone)
    assert "is already past. Choose a later end, or close the sale now." in said


async def test_raised_stock_sells_again(operator: Client, client: httpx.AsyncClient) -> None:
    sale = await on_sale(stock=1)
    assert [await buy(client, sale), await buy(client, sale)] == [(201, None), (409, "OUT_OF_STOCK")]
    said, _ = await confirmation(operator, sale, do="raise", units=2)
    assert "The stock goes from 1 to 3." in said
    assert "1 unit is sold or reserved, so 2 units can be bought after this." in said
    assert "can buy again within a second" in said
    await do(operator, sale, do="raise", units=2)
    assert await buy(client, sale) == (201, None)
    assert (await levels(sale)).stock == 3


async def test_stock_is_not_lowered_below_what_is_taken(operator: Client, client: httpx.AsyncClient) -> None:
    sale = await on_sale(stock=5)
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
    operator: Client, client: httpx.AsyncClient
) -> None:
    sale = await on_sale(stock=5)
    _, hidden = await confirmation(operator, sale, do="lower", units=4)
    for _ in range(2):
        await buy(client, sale)
    said = await post(operator, control_of(sale), hidden | {"reason": "x"})
    assert "Nothing was done. 2 units are sold or reserved already" in said
    assert (await levels(sale)).stock == 5


async def test_a_stock_set_outright_does_not_undo_a_colleagues_change(operator: Client, merchandiser: Client) -> None:
    sale = await on_sale(stock=10)
    _, hidden = await confirmation(operator, sale, do="set-stock", units=12)
    await do(merchandiser, sale, do="raise", units=90, reason="Found a pallet")
    said = await post(operator, control_of(sale), hidden | {"reason": "x"})
    assert "Somebody changed this sale while you were looking, so nothing was done." in said
    assert "Stock from 10 to 100 (“Found a pallet”)" in said
    assert (await Sale.objects.aget(pk=sale.pk)).stock == 100


async def test_two_who_raise_at_once_both_raise(operator: Client, merchandiser: Client) -> None:
    sale = await on_sale(stock=10)
    both = [(who, (await confirmation(who, sale, do="raise", units=5))[1]) for who in (operator, merchandiser)]
    for who, hidden in both:
        assert "Stock raised." in await post(who, control_of(sale), hidden | {"reason": "x"})
    assert (await Sale.objects.aget(pk=sale.pk)).stock == 20
    assert (await levels(sale)).stock == 20


async def test_a_button_pressed_twice_does_it_once(operator: Client) -> None:
    sale = await on_sale(stock=10)
    _, hidden = await confirmation(operator, sale, do="raise", units=5)
    assert "Stock raised." in await post(operator, control_of(sale), hidden | {"reason": "x"})
    assert "the button was pressed twice" in await post(operator, control_of(sale), hidden | {"reason": "x"})
    assert (await Sale.objects.aget(pk=sale.pk)).stock == 15


async def test_a_pause_that_stands_already_says_so(operator: Client) -> None:
    sale = await on_sale(paused=True)
    said, _ = await confirmation(operator, sale, do="pause")
    assert "The sale is paused already. Nothing was changed." in said
    assert await log_of(sale) == []


async def test_withdrawn_and_shown_again(operator: Client, client: httpx.AsyncClient) -> None:
    sale = await on_sale()
    await do(operator, sale, do="withdraw", reason="A recall")
    assert await buy(client, sale) == (404, "PRODUCT_NOT_FOUND")
    assert "This sale is withdrawn" in await get(operator, control_of(sale))
    said, _ = await confirmation(operator, sale, do="pause")
    assert "Nothing was done. This sale is withdrawn" in said
    await do(operator, sale, do="show-again")
    assert await buy(client, sale) == (201, None)


async def test_a_draft_has_nothing_to_steer(operator: Client) -> None:
    sale = await on_sale(published=False)
    assert "This sale is a draft" in await get(operator, control_of(sale))
    assert "Publish it in Settings first." in (await confirmation(operator, sale, do="pause"))[0]


async def test_a_sale_that_is_to_come_is_paused_but_not_closed(operator: Client) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    hour = timedelta(hours=1)
    sale = await on_sale(opens_at=now + hour, closes_at=now + 2 * hour)
    assert "has not opened yet" in (await confirmation(operator, sale, do="close"))[0]
    assert "nobody can buy until you resume" in (await confirmation(operator, sale, do="pause"))[0]


async def test_it_is_written_down_with_who_what_from_to_and_why(operator: Client) -> None:
    sale = await on_sale(stock=10)
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
async def test_what_can_not_be_taken_back_easily_needs_a_reason(operator: Client, ask: dict[str, Any]) -> None:
    sale = await on_sale()
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
async def test_what_can_not_be_understood_is_said_in_words(operator: Client, ask: dict[str, Any], said: str) -> None:
    sale = await on_sale()
    assert said in (await confirmation(operator, sale, **ask))[0]


async def test_units_being_confirmed_are_told(operator: Client) -> None:
    sale = await on_sale()
    await stock.reserve(redis(), sale.pk, 1, [Wish(f"o{n}", f"s{n}", 1, False, "") for n in range(3)])
    said, _ = await confirmation(operator, sale, do="pause")
    assert "3 units that are being confirmed still become orders." in said
    assert "7 units are left" in said


async def test_with_the_ledger_away_a_pause_holds_at_once_and_until_somebody_resumes(
    operator: Client, client: httpx.AsyncClient
) -> None:
    sale = await on_sale()
    with ledger_away():
        text, _ = await confirmation(operator, sale, do="pause")
        assert "The gate stops the sale at once all the same" in text
        said = await do(operator, sale, do="pause")
        assert "Paused. It holds from the next order on" in said
        assert "The gate has stopped the sale by itself." in said
        assert "Until then Redis and the running processes alone know of it." in said
        assert await buy(client, sale) == (423, "SALE_PAUSED")
        page = await get(operator, control_of(sale))
        assert "<dd>Paused" in page
        assert "The emergency brake is pulled" in page
    # A publication of what was saved before, as a worker may have had it in hand.
    await publishing.publish(replace(sale.settings(), name="Renamed"))
    assert await buy(client, sale) == (423, "SALE_PAUSED")
    await backoffice.publish_outstanding()
    assert await buy(client, sale) == (423, "SALE_PAUSED")
    assert (await levels(sale)).brake is None  # it is an ordinary pause by now
    await do(operator, sale, do="resume", reason="")
    assert await buy(client, sale) == (201, None)


@pytest.mark.parametrize("by", ["command", "button"])
async def test_who_stops_a_sale_after_a_resume_that_still_waits_for_the_ledger_stops_it(
    operator: Client, client: httpx.AsyncClient, by: str
) -> None:
    sale = await on_sale()
    await brakes.pull(sale.pk, "anna")
    with ledger_away():
        await do(operator, sale, do="resume", reason="")
        page = await get(operator, control_of(sale))
        assert "It is resumed as soon as the ledger" in page
        assert "then it can be resumed here" not in page
        assert ">Pause…<" in page
        assert ">Resume…<" not in page
        if by == "command":
            await brakes.pull(sale.pk, "bert")
        else:
            await do(operator, sale, do="pause")
    await backoffice.publish_outstanding()
    assert await buy(client, sale) == (423, "SALE_PAUSED")


async def test_what_was_saved_and_has_not_reached_the_gate_is_not_shown_as_in_force(
    operator: Client, client: httpx.AsyncClient
) -> None:
    sale = await on_sale()
    later = sale.closes_at + timedelta(hours=3)
    with ledger_away():
        await do(operator, sale, do="end-at", at=f"{later:%Y-%m-%dT%H:%M:%S}", time_zone="UTC")
        await asyncio.to_thread(Sale.objects.filter(pk=sale.pk).update, paused=True)
        page = await get(operator, control_of(sale))
    assert "<dd>On sale now" in page
    assert f"{sale.closes_at:%H:%M} UTC</time>" in page
    assert f"{later:%H:%M} UTC</time>" not in page.split('class="desk-window"')[1].split("</dd>")[0]
    assert "It is saved as paused, but the gate still sells: press Pause." in page
    assert await buy(client, sale) == (201, None)
    await do(operator, sale, do="pause")
    assert await buy(client, sale) == (423, "SALE_PAUSED")


async def test_with_the_gate_away_it_is_saved_and_says_what_else_can_be_done(operator: Client) -> None:
    sale = await on_sale()
    with gate_away():
        page = await get(operator, control_of(sale))
        assert "How the sale stands is unknown" in page
        assert "<dd>unknown" in page
        said = await do(operator, sale, do="pause")
    assert "not in force at the gate yet: a worker sees to that" in said
    assert "not in force yet" in said
    assert f"manage.py pause_sale {sale.sku}" in said


async def test_a_brake_is_taken_over_as_a_pause_and_written_into_the_log(
    operator: Client, client: httpx.AsyncClient
) -> None:
    sale = await on_sale()
    pulled = await brakes.pull(sale.pk, "root@web-1")
    assert await buy(client, sale) == (423, "SALE_PAUSED")
    page = await get(operator, control_of(sale))
    assert "The emergency brake is pulled" in page
    assert ">Resume…<" in page
    take_over = sync_to_async(braking.take_over)
    await take_over(sale.pk, pulled.brake)
    await take_over(sale.pk, pulled.brake)
    row = await Sale.objects.aget(pk=sale.pk)
    assert (row.paused, row.knows_brake) == (True, pulled.brake.name)
    at_gate = await levels(sale)
    assert (at_gate.brake, at_gate.paused) == (None, True)
    (entry,) = await log_of(sale)
    assert (entry.action, entry.by) == ("Paused", braking.NOBODY)
    assert "root@web-1" in entry.reason
    assert entry.changes == (Change("Paused", "no", "yes"),)
    await do(operator, sale, do="resume", reason="")
    assert await buy(client, sale) == (201, None)


async def test_a_brake_is_resumed_before_anybody_has_taken_it_over(operator: Client, client: httpx.AsyncClient) -> None:
    sale = await on_sale()
    pulled = await brakes.pull(sale.pk, "anna")
    await do(operator, sale, do="resume", reason="")
    assert await buy(client, sale) == (201, None)
    await asyncio.to_thread(braking.take_over, sale.pk, pulled.brake)  # by a worker that had seen it
    assert await buy(client, sale) == (201, None)


async def test_a_save_in_settings_that_pauses_begins_at_the_gate_too(client: httpx.AsyncClient) -> None:
    merchandiser, sale = await asyncio.to_thread(account, "merchandiser"), await on_sale()
    with ledger_away():
        said = await changed(merchandiser, sale, paused=True)
    assert "The gate has stopped the sale by itself." in said
    assert await buy(client, sale) == (423, "SALE_PAUSED")
    await backoffice.publish_outstanding()
    assert (await levels(sale)).brake is None


async def test_what_a_worker_was_quicker_to_publish_is_looked_at_before_it_is_claimed(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await on_sale()
    quicker = backoffice.publish_saved

    def worker_first(sale_id: str) -> None:
        with gate_away():
            quicker(sale_id)
        quicker(sale_id)

    monkeypatch.setattr(backoffice, "publish_saved", worker_first)
    said = await do(operator, sale, do="extend", minutes=5)
    assert "not in force yet" in said
    assert "not in force at the gate yet" in said


async def test_a_stock_that_was_corrected_is_told_whoever_published_it(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await on_sale()
    quicker = backoffice.publish_saved

    def worker_first(sale_id: str) -> Any:
        async def sell() -> None:
            wishes = [Wish(f"o-{number}", f"s-{number}", 1, False, "[]") for number in range(5)]
            await stock.reserve(redis(), sale.pk, 1, wishes)

        loops.run(sell)
        quicker(sale_id)
        return quicker(sale_id)

    monkeypatch.setattr(backoffice, "publish_saved", worker_first)
    said = await do(operator, sale, do="set-stock", units=3)
    assert "units up to number 5 were taken: the stock is 5, not 3." in said
    assert any("Stock corrected" in entry.action for entry in await log_of(sale))


async def test_the_command_stops_a_sale_with_the_ledger_away(client: httpx.AsyncClient) -> None:
    sale, other = await on_sale(), await on_sale()
    out = StringIO()
    with ledger_away():
        await asyncio.to_thread(call_command, "pause_sale", sale.sku, stdout=out)
    assert f"{sale.sku}: stopped, since" in out.getvalue()
    assert "The ledger can't be reached" in out.getvalue()
    assert await buy(client, sale) == (423, "SALE_PAUSED")
    assert await buy(client, other) == (201, None)
    with pytest.raises(CommandError, match="No sale 'nothing-such' is known"):
        await asyncio.to_thread(call_command, "pause_sale", "nothing-such")
    with gate_away(), pytest.raises(CommandError, match="Not stopped"):
        await asyncio.to_thread(call_command, "pause_sale", other.sku)


async def test_all_are_stopped_but_those_whose_gate_refuses(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a Cluster a node may be away, with the sales that it holds."""
    refused, other = await on_sale(), await on_sale()

    async def registered(client: Any) -> dict[str, str]:
        return {refused.pk: refused.sku, other.pk: other.sku}

    async def in_ledger() -> dict[str, str]:
        return {}

    monkeypatch.setattr(register, "sales", registered)
    monkeypatch.setattr(pause_sale, "_in_ledger", in_ledger)
    key = sale_keys(refused.pk).sale
    await redis().rename(key, f"{key}:aside")
    await redis().set(key, "what a brake can't be written to")
    out = StringIO()
    try:
        with pytest.raises(CommandError, match=f"Not stopped: {refused.sku}: "):
            await asyncio.to_thread(call_command, "pause_sale", "--all", stdout=out)
    finally:
        await redis().rename(f"{key}:aside", key)
    assert f"{other.sku}: stopped, since" in out.getvalue()
    assert refused.sku not in out.getvalue()
    assert await buy(client, other) == (423, "SALE_PAUSED")


async def test_a_sale_is_stopped_where_the_gates_list_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a Cluster it is on one node, and a sale on another."""
    sale = await on_sale()

    async def away(client: Any) -> dict[str, str]:
        raise RedisConnectionError("the list's node is away")

    monkeypatch.setattr(register, "sales", away)
    out = StringIO()
    await asyncio.to_thread(call_command, "pause_sale", sale.sku, stdout=out)
    assert f"{sale.sku}: stopped, since" in out.getvalue()
    with pytest.raises(CommandError, match=r"Not stopped: nothing-such: .*the list's node is away"):
        await asyncio.to_thread(call_command, "pause_sale", "nothing-such")


async def test_with_no_store_at_all_stock_is_not_lowered_blindly(operator: Client) -> None:
    sale = await on_sale()
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
    operator: Client, merchandiser: Client, client: httpx.AsyncClient
) -> None:
    sale = await on_sale()
    await do(merchandiser, sale, do="pause")
    assert await buy(client, sale) == (423, "SALE_PAUSED")
    with pytest.raises(AssertionError):
        await changed(operator, sale, name="Another")
    assert (await Sale.objects.aget(pk=sale.pk)).name == sale.name


async def test_the_figures_ask_for_themselves_anew(operator: Client) -> None:
    sale = await on_sale()
    answer = await asyncio.to_thread(lambda: operator.get(control_of(sale), headers={"HX-Request": "true"}))
    text = answer.content.decode().strip()
    assert text.startswith('<div id="standing"')
    assert "On sale now" in text
    assert "<html" not in text
