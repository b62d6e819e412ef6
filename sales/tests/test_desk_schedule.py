"""Planning a sale: prices and times as people write them, warnings, copies, the list, and two at one form."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sales.desk import advice, copying, journal, local_time
from sales.desk.journal import Change
from sales.desk.local_time import BadTime
from sales.models import Sale
from sales.tests.desk import ADD, LIST, account, buy, changed, created, form, gate_away, get, page_of, post, seen_now

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def merchandiser(transactional_db: None) -> Client:
    return account("merchandiser")


@pytest.fixture
def other(transactional_db: None) -> Client:
    return account("merchandiser")


def draft(**changes: Any) -> Sale:
    """A sale in the back office's table only."""
    values: dict[str, Any] = {
        "sku": f"lamp-{Sale.objects.count() + 1}",
        "name": "Lamp",
        "price_minor": 12900,
        "stock": 10,
        "opens_at": NOON,
        "closes_at": NOON + HOUR,
    }
    return Sale.objects.create(**values | changes)


def test_a_time_is_read_on_the_chosen_clock() -> None:
    wall = local_time.typed("2026-07-01T14:00")
    assert local_time.instant(wall, "Europe/Berlin") == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert local_time.instant(wall, "UTC") == datetime(2026, 7, 1, 14, tzinfo=UTC)
    assert local_time.shown(datetime(2026, 7, 1, 12, tzinfo=UTC), "Europe/Berlin") == "2026-07-01T14:00"


@pytest.mark.parametrize(
    ("wall", "zone", "said"),
    [
        ("2026-03-29T02:30", "Europe/Berlin", "does not exist in Berlin on 29 March 2026"),
        ("2026-10-25T02:30", "Europe/Berlin", "comes twice in Berlin on 25 October 2026"),
        ("2026-10-25T02:30", "Europe/Berlin", "00:30 UTC is the first, 01:30 UTC the second"),
        ("2026-11-01T01:30", "America/New_York", "05:30 UTC is the first, 06:30 UTC the second"),
    ],
)  # fmt: skip
def test_a_time_that_a_clock_skips_or_shows_twice_is_not_guessed(wall: str, zone: str, said: str) -> None:
    with pytest.raises(BadTime, match=re.escape(said)):
        local_time.instant(local_time.typed(wall), zone)


async def test_a_sale_planned_on_a_local_clock_is_stored_in_utc(merchandiser: Client) -> None:
    times = {"opens_at": "2031-07-01T14:00", "closes_at": "2031-07-01T16:00", "time_zone": "Europe/Berlin"}
    sale = await created(merchandiser, price="13000 JPY", currency="JPY", published=False, **times)
    assert (sale.opens_at, sale.closes_at) == (
        datetime(2031, 7, 1, 12, tzinfo=UTC),
        datetime(2031, 7, 1, 14, tzinfo=UTC),
    )
    assert sale.price_minor == 13000
    merchandiser.cookies[local_time.COOKIE] = "Asia/Tokyo"
    text = await get(merchandiser, page_of(sale))
    assert 'value="2031-07-01T21:00"' in text
    assert '<option value="Asia/Tokyo" selected>Tokyo</option>' in text
    merchandiser.cookies[local_time.COOKIE] = "Mars/Olympus"
    assert 'value="2031-07-01T12:00"' in await get(merchandiser, page_of(sale))


async def test_a_moment_that_comes_twice_stays_when_it_is_not_touched(merchandiser: Client) -> None:
    at = datetime(2031, 10, 26, 1, 30, 7, tzinfo=UTC)  # the second 02:30:07 of that night in Berlin
    sale = await created(merchandiser, published=False, opens_at=at, closes_at=at + HOUR)
    typed = {"opens_at": "2031-10-26T02:30:07", "closes_at": "2031-10-26T03:30:07", "time_zone": "Europe/Berlin"}
    assert "was changed successfully" in await changed(merchandiser, sale, name="Other", **typed)
    assert (await Sale.objects.aget(pk=sale.pk)).opens_at == at
    assert "comes twice in Berlin" in await changed(merchandiser, sale, **typed | {"opens_at": "2031-10-26T02:31"})


async def test_what_is_wrong_is_said_beside_the_field(merchandiser: Client) -> None:
    text = await post(merchandiser, ADD, form(price="129.5", opens_at="2031-03-30T02:30", time_zone="Europe/Berlin"))
    assert "A price in EUR has 2 decimals" in text
    assert "does not exist in Berlin" in text
    assert "higher than this shop can sell for" in await post(merchandiser, ADD, form(price="99999999999"))


async def test_a_new_sale_starts_at_the_next_full_hour_for_an_hour(merchandiser: Client) -> None:
    text = await get(merchandiser, ADD)
    starts = local_time.next_full_hour(datetime.now(UTC))
    assert f'value="{starts:%Y-%m-%dT%H:%M}"' in text
    assert f'value="{starts + HOUR:%Y-%m-%dT%H:%M}"' in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"closes_at": NOON + timedelta(minutes=4)}, "lasts only 4 min"),
        ({"closes_at": NOON + timedelta(days=8)}, "lasts 8 d. Is the closing date right?"),
        ({"opens_at": NOON - 2 * HOUR}, "The opening time was 1 h ago"),
        ({"price_minor": 0}, "The price is 0"),
        ({"limit_per_shopper": 3}, "10 units may be gone after 4 shoppers"),
        ({"guests_allowed": True}, "Guests may buy without giving a name"),
        ({}, None),
        ({"price_minor": 0, "opens_at": NOON - 3 * HOUR, "closes_at": NOON - 2 * HOUR}, None),
    ],
)
def test_what_deserves_a_second_look_is_said(changes: dict[str, Any], said: str | None) -> None:
    found = advice.advice(draft(**changes), NOON - HOUR)
    assert len(found) == (0 if said is None else 1)
    assert said is None or said in found[0]


def test_an_overlap_names_the_other_and_says_what_the_front_page_shows() -> None:
    ours = draft(name="Ours", sku="ours")
    assert advice.advice(ours, NOON - HOUR) == []
    draft(name="Draft", sku="a-draft")  # nobody sees it
    draft(name="After", sku="after", opens_at=NOON + HOUR, closes_at=NOON + 2 * HOUR, published=True)
    draft(name="Theirs", sku="theirs", opens_at=NOON + HOUR / 2, closes_at=NOON + 2 * HOUR, published=True)
    (said,) = advice.advice(ours, NOON - HOUR)
    assert "overlaps with “Theirs”, from 23 Nov 2026, 12:30 UTC to 23 Nov 2026, 13:00 UTC" in said
    assert "The front page shows one sale at a time: this sale meanwhile, because it closes first" in said
    assert "at /sales/theirs/" in said
    ours.paused = True
    (said,) = advice.advice(ours, NOON - HOUR)
    assert "“Theirs” meanwhile, because the other is paused, and this sale once it is resumed." in said


async def test_what_deserves_a_second_look_is_asked_before_it_is_saved(merchandiser: Client) -> None:
    data = form(price="0")
    text = await post(merchandiser, ADD, data, means_it=False)
    assert "Nothing is saved yet" in text
    assert "The price is 0: shoppers get it for nothing." in text
    assert not await Sale.objects.filter(sku=data["sku"]).aexists()
    assert "was added successfully" in await post(merchandiser, ADD, data)
    sale = await Sale.objects.aget(sku=data["sku"])
    assert "Worth a second look" in await get(merchandiser, page_of(sale))


@pytest.mark.parametrize(
    ("sku", "free"), [("bolt", "bolt-2"), ("lamp-2", "lamp-3"), ("lamp-01", "lamp-02"), ("x" * 64, "x" * 62 + "-2")]
)
def test_a_copy_gets_the_next_free_sku(sku: str, free: str) -> None:
    draft(sku=sku)
    assert copying.free_sku(sku) == free
    draft(sku=free)
    assert copying.free_sku(sku) not in (sku, free)


async def test_a_past_sale_is_duplicated_as_a_draft(merchandiser: Client) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    sale = await created(merchandiser, sku="past-07", opens_at=now - HOUR, closes_at=now + HOUR, stock=42)
    assert f"{ADD}?copy={sale.pk}" in await get(merchandiser, page_of(sale))
    text = await get(merchandiser, f"{ADD}?copy={sale.pk}")
    assert 'value="past-08"' in text
    assert 'value="129.00"' in text
    assert not await Sale.objects.filter(sku="past-08").aexists()  # not before it is saved

    said = await post(merchandiser, LIST, {"action": "duplicate", "_selected_action": [sale.pk]})
    assert "Added as drafts that nobody sees yet" in said
    made = await Sale.objects.aget(sku="past-08")
    assert (made.pk != sale.pk, made.published, made.version, made.stock) == (True, False, 0, 42)
    assert made.opens_at == local_time.next_full_hour(datetime.now(UTC))
    assert made.closes_at - made.opens_at == 2 * HOUR
    (entry,) = await asyncio.to_thread(journal.entries, made)
    assert "Added as a copy of “Desk lamp” (past-07)" in entry.action


async def test_the_list_shows_what_is_taken_and_filters(merchandiser: Client, client: httpx.AsyncClient) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    running = await created(merchandiser, stock=1, name="Running lamp")
    await created(merchandiser, name="Coming lamp", opens_at=now + 3 * HOUR, closes_at=now + 4 * HOUR)
    await created(merchandiser, name="Draft lamp", published=False)
    assert await buy(client, running) == (201, None)
    text = await get(merchandiser, LIST)
    assert 'data-state="sold-out">sold out</span>' in text
    assert "1 (100%)" in text
    assert re.search(r"opens in 2 h 59 min|opens in 3 h", text)
    for chosen, name in (("running", "Running"), ("upcoming", "Coming"), ("drafts", "Draft"), ("past", None)):
        found = re.findall(r"(\w+) lamp</a></th>", await get(merchandiser, f"{LIST}?when={chosen}"))
        assert found == ([name] if name else []), chosen
    assert "Coming lamp" in await get(merchandiser, f"{LIST}?q=coming")


async def test_the_list_stands_without_the_gate(merchandiser: Client) -> None:
    await created(merchandiser)
    with gate_away():
        text = await get(merchandiser, LIST)
    assert '<span class="desk-quiet">unknown</span>' in text
    assert 'data-state="open"' in text


def test_the_list_asks_no_more_for_more_sales(merchandiser: Client) -> None:
    counts = []
    for _ in range(2):
        for _ in range(3):
            draft()
        with CaptureQueriesContext(connection) as queries:
            assert merchandiser.get(LIST).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


async def test_a_colleagues_change_is_not_overwritten(merchandiser: Client, other: Client) -> None:
    sale = await created(merchandiser, name="Lamp", stock=10)
    mine = form(sale, name="Lamp, mine", seen=await seen_now(sale))
    await changed(other, sale, paused=True, name="Lamp, theirs")

    text = await post(merchandiser, page_of(sale), mine)
    assert "changed this sale while you were editing. Nothing of yours is saved yet." in text
    row = re.sub(r"\s+", " ", text)
    assert '<th scope="row">Paused</th> <td>no</td> <td><strong>yes</strong></td> <td>you left it alone</td>' in row
    assert "<td>Lamp</td> <td><strong>Lamp, theirs</strong></td> <td>Lamp, mine</td>" in row
    assert "Saving it now <strong>replaces" in text
    # Mine is kept where I changed something, theirs where I did not.
    assert 'value="Lamp, mine"' in text
    assert re.search(r'name="paused"[^>]*checked', text)
    after = await Sale.objects.aget(pk=sale.pk)
    assert (after.name, after.paused) == ("Lamp, theirs", True)

    seen = re.search(r'name="seen" value="([^"]+)"', (await raw(merchandiser, page_of(sale), mine)))
    assert seen is not None
    again = mine | {"paused": "on", "seen": seen[1].replace("&quot;", '"')}
    assert "was changed successfully" in await post(merchandiser, page_of(sale), again)
    after = await Sale.objects.aget(pk=sale.pk)
    assert (after.name, after.paused) == ("Lamp, mine", True)


async def raw(who: Client, address: str, data: dict[str, Any]) -> str:
    answer = await asyncio.to_thread(lambda: who.post(address, data))
    return str(answer.content.decode())


async def test_a_form_that_does_not_say_what_it_was_made_from_saves_nothing(merchandiser: Client) -> None:
    sale = await created(merchandiser)
    for seen in ("", "{}", "[1]", "nonsense"):
        assert "Nothing is saved. Please load it anew" in await changed(merchandiser, sale, name="Blind", seen=seen)
    assert (await Sale.objects.aget(pk=sale.pk)).name == sale.name


async def test_the_form_writes_down_what_changed(merchandiser: Client) -> None:
    sale = await created(merchandiser)
    await changed(merchandiser, sale, price="99.00", stock=12)
    entry, added = await asyncio.to_thread(journal.entries, sale)
    assert entry.changes == (Change("Price", "€129.00", "€99.00"), Change("Stock", "10", "12"))
    assert added.action == "Added"
    history = await get(merchandiser, f"{LIST}{sale.pk}/history/")
    assert "<b>Price</b> €129.00 → €99.00" in history


def test_each_role_sees_and_changes_what_it_may(transactional_db: None) -> None:
    sale = draft()
    change, add, control = page_of(sale), ADD, f"/admin/desk/sales/{sale.pk}/control/"
    for role, may_change, steers in (("viewer", False, False), ("operator", False, True), ("merchandiser", True, True)):
        who = account(role)
        assert who.get(LIST).status_code == 200
        assert who.get(f"{LIST}{sale.pk}/history/").status_code == 200
        page = who.get(change).content.decode()
        assert ('name="_save"' in page) == ('name="price"' in page) == ("?copy=" in page) == may_change
        assert "€129.00" in page or may_change
        assert (control in page) == steers
        assert who.get(add).status_code == (200 if may_change else 403)
        before = Sale.objects.count()
        planned = form(published=False, opens_at=datetime.now(UTC) + HOUR, closes_at=datetime.now(UTC) + 2 * HOUR)
        assert who.post(add, planned).status_code == (302 if may_change else 403)
        assert Sale.objects.count() == before + may_change
        if not may_change:
            assert who.post(change, form(sale, name="Mine")).status_code == 403
            who.post(LIST, {"action": "duplicate", "_selected_action": [sale.pk]})
            assert Sale.objects.count() == before
        index = who.get("/admin/").content.decode()
        assert ("Plan a sale" in index) == may_change
        assert "Running now" in index
    nobody = account(None)
    for address in (LIST, change, add, f"{LIST}{sale.pk}/history/"):
        assert nobody.get(address).status_code == 403
        assert Client().get(address).status_code == 302
        assert account("merchandiser", is_staff=False).get(address).status_code == 302
    assert Sale.objects.get(pk=sale.pk).name == "Lamp"
