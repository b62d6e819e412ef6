"""The after-sale report says what happened: figures held against orders that were placed here, one by one."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client

from conftest import Publish, eventually, shopper
from flashdrop.envelope import iso_utc
from flashdrop.redis_client import redis
from orders import ledger, ledger_desk, report_audit
from orders.cancelling import cancel
from orders.desk import counting
from orders.desk.report_figures import as_json
from orders.desk.report_telling import told
from orders.documents import orders_collection
from orders.ledger_desk import Event
from orders.placing import Placed, place
from orders.report import Report, percentile, report, step_for
from orders.tests.test_ledger import order_of
from sales import tally
from sales.desk import journal
from sales.desk.journal import Change, Entry, Tally
from sales.keys import told_in_all_key
from sales.models import Sale
from sales.published import PublishedSale
from sales.tests.test_admin import gate_away, ledger_away

OPENED = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)


async def counted(sale: PublishedSale) -> Report:
    found = await report(sale.id)
    assert found is not None
    return found


async def sold(sale: PublishedSale, units: int, *, after: float, took_ms: int = 20, **changes: Any) -> str:
    """An order straight into the ledger, reserved `after` seconds from the opening. Its id."""
    at = OPENED + timedelta(seconds=after)
    order = order_of(sale.id, units=(units,), reserved_at=at, **changes)
    await ledger.insert([order], at + timedelta(milliseconds=took_ms))
    return order.id


@pytest.fixture
async def sale(publish: Publish) -> PublishedSale:
    """Five units, opened ten minutes ago, over."""
    return await publish(
        stock=5, price_minor=500, opens_at=OPENED, closes_at=OPENED + timedelta(minutes=5), limit_per_shopper=2
    )


async def test_figures_are_those_of_the_orders(sale: PublishedSale) -> None:
    twice = shopper().id
    first = await sold(sale, 1, after=0.2, took_ms=10)
    second = await sold(sale, 2, after=1.1, took_ms=20, shopper_id=twice)
    await sold(sale, 3, after=1.2, took_ms=30, shopper_id=twice, slots=(2,))
    await sold(sale, 4, after=1.9, took_ms=40)
    last = await sold(sale, 5, after=7.5, took_ms=2500)
    await cancel(last, "mia", "sent back")
    await sold(sale, 5, after=100, took_ms=50)  # the same unit, sold again
    await cancel(second, "mia", "sent back")
    await ledger_desk.fulfil(first, Event(OPENED, "fulfilled", "tom", ""))
    await ledger.give_up(order_of(sale.id, reserved_at=OPENED + timedelta(seconds=3)), OPENED)

    found = await counted(sale)
    figures = as_json(found)
    assert figures["orders"] == {"sold": 4, "fulfilled": 1, "cancelled": 2, "given_up": 1}
    assert figures["units"] == {"sold": 4, "fulfilled": 1, "returned": 2, "resold": 1}
    assert (figures["revenue_minor"], figures["left"]) == (2000, 1)
    assert figures["sold_out_after_seconds"] == 7.5  # when unit 5 went for the first time
    assert figures["busiest_second"] == {
        "at": f"{OPENED + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}.000Z",
        "orders": 3,
    }
    assert figures["confirmation_ms"] == {"p50": 30, "p95": 2500}
    assert (figures["shoppers"], figures["shoppers_by_orders"]) == (4, {1: 4})
    assert figures["over_time"] == {
        "begins": f"{OPENED:%Y-%m-%dT%H:%M:%S}.000Z",
        "step_seconds": 1,
        "steps": [
            {"number": 0, "sold_units": 1, "cancelled_units": 0},
            {"number": 1, "sold_units": 2, "cancelled_units": 1},
            {"number": 3, "sold_units": 0, "cancelled_units": 0},
            {"number": 7, "sold_units": 0, "cancelled_units": 1},
            {"number": 100, "sold_units": 1, "cancelled_units": 0},
        ],
    }
    words = told(found, [])
    assert words["headline"] == "Sold out 7 s after opening; 1 unit came back by cancellation and is left"
    ordered, in_all = words["charts"]
    assert [shape.latest for shape in in_all.shapes] == ["4", "2"]
    assert ordered.summary.startswith("Units ordered, units per second. Sold: 4 in all, at most 2 at once;")


async def test_a_unit_that_came_back_twice_is_counted_twice(sale: PublishedSale) -> None:
    for after in (1, 2):
        await cancel(await sold(sale, 1, after=after), "mia", "")
    found = await counted(sale)
    assert (found.returned_units, found.resold_units, found.left) == (2, 1, 5)
    await sold(sale, 1, after=3)
    found = await counted(sale)
    assert (found.returned_units, found.resold_units, found.left) == (2, 2, 4)


async def test_what_did_not_sell_out_says_so(sale: PublishedSale) -> None:
    await sold(sale, 1, after=1)
    found = await counted(sale)
    assert found.sold_out_at is None
    assert told(found, [])["headline"] == "Did not sell out: 1 unit sold, 4 left"


async def test_a_sale_without_orders_has_words(sale: PublishedSale, publish: Publish) -> None:
    words = told(await counted(sale), [])
    assert (words["headline"], words["charts"], words["answers"]) == ("Nothing was ordered", [], None)
    later = datetime.now(UTC) + timedelta(hours=1)
    early = await publish(opens_at=later, closes_at=later + timedelta(hours=1))
    words = told(await counted(early), [])
    assert words["headline"] == "Nothing was ordered yet"
    assert words["state"].startswith("The sale has not opened yet.")
    assert await report(secrets.token_hex(6)) is None


async def test_real_orders_keep_their_promises_and_are_counted_as_told(publish: Publish) -> None:
    sale = await publish(stock=2)
    tally.writer()
    for _ in range(4):
        await place(shopper(), sale.sku, 1, None)

    async def settled() -> Report | None:
        found = await counted(sale)
        assert found.promises is not None
        done = found.demand == 4 and found.promises.hold and not found.promises.in_flight
        return found if done and sum((found.answers or {}).values()) == 4 else None

    found = await eventually(settled)
    assert found.answers == {"completed": 2, "out_of_stock": 2}
    assert found.promises.is_order_by_order
    assert found.is_running and told(found, [])["state"].startswith("The sale is still running")
    assert await redis().ttl(told_in_all_key(sale.id)) > 29 * 86400


@pytest.mark.parametrize("audited", [0, 1000], ids=["counted", "order by order"])
async def test_a_broken_promise_is_told(publish: Publish, monkeypatch: pytest.MonkeyPatch, audited: int) -> None:
    monkeypatch.setattr(report_audit, "AUDITED_ORDERS", audited)
    sale = await publish(stock=2)
    placed = await place(shopper(), sale.sku, 1, None)
    assert isinstance(placed, Placed)

    async def held() -> bool:
        found = (await counted(sale)).promises
        return found is not None and found.hold and not found.in_flight

    await eventually(held)
    await orders_collection().update_one({"_id": placed.order.id}, {"$set": {"units": [7], "quantity": 1}})
    found = await counted(sale)
    words = told(found, [])
    assert not words["promises"][0].holds
    assert "manage.py audit_sale" in words["promises_note"]
    assert ("not order by order" in words["promises_note"]) is (audited == 0)
    assert placed.order.id not in str(as_json(found)) and placed.order.shopper_id not in str(as_json(found))


async def test_changes_are_marked_where_they_happened_without_names(sale: PublishedSale) -> None:
    await sold(sale, 5, after=99)
    paused = (Change("Paused", "no", "yes"),)
    entries = [
        Entry(OPENED + timedelta(seconds=50), "mia", "Paused", paused, "Ann Smith complained"),
        Entry(OPENED - timedelta(hours=1), "mia", "Stock changed", (Change("Stock", "4", "5"),), ""),
        Entry(OPENED + timedelta(seconds=60), "mia", "Began to export orders", (), ""),
        Entry(
            OPENED + timedelta(days=1), "ben", "", (), "sent back", Tally("1", "Cancelled", 230, 240, 3_096_000, "EUR")
        ),
    ]
    words = told(await counted(sale), entries)
    assert [(one.mark, one.words) for one in words["happenings"]] == [
        ("", "Stock changed: Stock from 4 to 5"),
        ("1", "Paused: Paused from no to yes"),
        ("", "Cancelled 230 orders: 240 units, €30,960.00, by ben"),
    ]
    assert as_json(await counted(sale), entries)["done_to_many"] == [
        {
            "at": iso_utc(OPENED + timedelta(days=1)),
            "by": "ben",
            "what": "Cancelled",
            "orders": 230,
            "units": 240,
            "amount_minor": 3_096_000,
            "currency": "EUR",
        }
    ]
    assert [(mark.at, mark.label) for mark in words["charts"][0].marks] == [(50.0, "1")]


def test_steps_are_round_and_few() -> None:
    assert [step_for(seconds) for seconds in (1, 120, 121, 3600, 86400, 400 * 86400)] == [1, 1, 2, 30, 900, 4 * 86400]


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile({}, 0.5) is None
    assert [percentile({10: 1, 20: 1, 30: 1, 40: 1}, share) for share in (0.25, 0.5, 0.95)] == [10, 20, 40]


# Through the desk.


def signed_in(role: str) -> Client:
    user = User.objects.create(username=f"{role}-{secrets.token_hex(4)}", is_staff=True)
    if role != "nobody":
        user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def row_of(sale: PublishedSale) -> Sale:
    names = [field.name for field in Sale._meta.fields if hasattr(sale, field.name)]
    return Sale.objects.create(**{name: getattr(sale, name) for name in names})


@pytest.fixture
def no_memory() -> None:
    counting._kept.clear()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("no_memory")
class TestThroughTheDesk:
    async def get(self, sale: PublishedSale, query: str = "", role: str = "viewer") -> HttpResponse:
        browser = await asyncio.to_thread(signed_in, role)
        return await asyncio.to_thread(browser.get, f"/admin/desk/sales/{sale.id}/report/{query}")

    async def test_a_viewer_reads_it_on_the_page_as_a_file_and_as_json(self, sale: PublishedSale) -> None:
        row = await asyncio.to_thread(row_of, sale)
        order_id = await sold(sale, 5, after=8, shopper_name="Ann Smith")
        boss = await asyncio.to_thread(User.objects.create, username="mia-boss")
        await asyncio.to_thread(
            journal.note, boss, row, "Paused", [Change("Paused", "no", "yes")], "Ann Smith complained"
        )
        page = (await self.get(sale)).content.decode()
        assert "Sold out 8 s after opening" in page and "Paused from no to yes" in page
        file = await self.get(sale, "?download=html")
        text = file.content.decode()
        assert file["Content-Disposition"].startswith(f'attachment; filename="report-{sale.sku}-')
        assert "Sold out 8 s after opening" in text and ".report-figures" in text
        assert [part for part in ("<link", "<script", "src=", "/static/", "url(", "@import") if part in text] == []
        figures = await self.get(sale, "?format=json")
        assert figures.json()["orders"]["sold"] == 1
        for body in (page, text, figures.content.decode()):
            assert not any(secret in body for secret in ("Ann Smith", order_id, "mia-boss"))

    async def test_others_are_refused(self, sale: PublishedSale) -> None:
        await asyncio.to_thread(row_of, sale)
        for query in ("", "?format=json", "?download=html"):
            assert (await self.get(sale, query, "nobody")).status_code == 403
        for role in ("operator", "merchandiser"):
            assert (await self.get(sale, role=role)).status_code == 200

    async def test_it_is_kept_for_a_while_and_counted_again_when_asked(
        self, sale: PublishedSale, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await asyncio.to_thread(row_of, sale)
        assert "Nothing was ordered" in (await self.get(sale)).content.decode()
        await sold(sale, 5, after=8)
        assert "Nothing was ordered" in (await self.get(sale)).content.decode()
        monkeypatch.setattr(counting, "FRESH_SECONDS", 0.0)
        assert "Sold out" in (await self.get(sale, "?fresh=1")).content.decode()

    async def test_while_it_is_counted_the_page_says_so_and_comes_back(
        self, sale: PublishedSale, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await asyncio.to_thread(row_of, sale)
        monkeypatch.setattr("orders.desk.report.PAGE_PATIENCE", 0.0)
        first = (await self.get(sale)).content.decode()
        assert "Counting" in first and 'http-equiv="refresh"' in first

        async def ready() -> bool:
            return "Nothing was ordered" in (await self.get(sale)).content.decode()

        await eventually(ready)

    async def test_without_the_stores_there_are_words(self, sale: PublishedSale) -> None:
        await asyncio.to_thread(row_of, sale)
        await sold(sale, 5, after=8)
        with ledger_away():
            found = await self.get(sale)
            assert (found.status_code, (await self.get(sale, "?format=json")).status_code) == (503, 503)
        assert "does not answer, or was too busy" in found.content.decode()
        with gate_away():
            found = await self.get(sale, "?fresh=1")
        text = found.content.decode()
        assert found.status_code == 200 and "Sold out 8 s" in text
        assert "promises could not be checked" in text and "not known" in text

    async def test_a_sale_that_was_never_published_has_nothing_to_report(self) -> None:
        draft = await asyncio.to_thread(
            Sale.objects.create, sku="draft-x", name="x", price_minor=1, stock=1, opens_at=OPENED, closes_at=OPENED
        )
        browser = await asyncio.to_thread(signed_in, "viewer")
        found = await asyncio.to_thread(browser.get, f"/admin/desk/sales/{draft.pk}/report/")
        assert found.status_code == 200 and "Nothing to report yet" in found.content.decode()
