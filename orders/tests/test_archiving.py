"""What is long over and settled is put away, costs nothing from then on, and comes back whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client
from prometheus_client import generate_latest

from conftest import Publish, cookie_of, settings_of, shopper, show
from flashdrop.mongo_client import collection
from flashdrop.redis_client import redis
from orders import archiving, cancelling, ledger
from orders.archiving import ARCHIVE_AFTER
from orders.audit import audit
from orders.cancelling import finish_cancelled
from orders.desk.figures import lookout
from orders.identity import Shopper
from orders.placing import Placed, Refusal, Refused, place
from orders.rebuild import rebuild
from orders.repair import plan
from orders.worker import Worker
from sales import catalogue, publishing, stock
from sales.archive import archive, shown
from sales.backoffice import save_and_publish
from sales.board import board
from sales.desk import standing
from sales.keys import sale_keys
from sales.models import Sale
from sales.published import PublishedSale
from sales.showing import Phase

# The worker also looks for rows of the back office that wait to be published.
pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = datetime.now(UTC).replace(microsecond=0) - ARCHIVE_AFTER - timedelta(hours=1)


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    monkeypatch.setattr(archiving, "LET_GO_AFTER", timedelta(0))
    yield Worker()


async def bought(publish: Publish, someone: Shopper, quantity: int = 2) -> tuple[PublishedSale, str]:
    """A sale in which someone has bought, and whose window is long over since."""
    sale = await publish(limit_per_shopper=3)
    placed = await place(someone, sale.sku, quantity, key="once")
    assert isinstance(placed, Placed)
    return await moved(sale), placed.order.id


async def moved(sale: PublishedSale, closes_at: datetime = LONG_AGO) -> PublishedSale:
    settings = settings_of(id=sale.id, sku=sale.sku, limit_per_shopper=3, opens_at=closes_at - timedelta(hours=1))
    await publishing.publish(replace(settings, closes_at=closes_at))
    found = await catalogue.get(sale.id)
    assert found is not None
    return found


async def rounds(worker: Worker, count: int = 3) -> None:
    for _ in range(count):
        await worker.round()
    await show()


async def gate_keys(sale: PublishedSale) -> dict[str, Any]:
    keys = sale_keys(sale.id)
    found = {key async for key in redis().scan_iter(f"*{{{sale.id}}}*")}
    return {key: await redis().hgetall(key) for key in found if key in keys}


async def archived(worker: Worker, sale: PublishedSale) -> PublishedSale:
    await rounds(worker)
    found = await catalogue.get(sale.id)
    assert found is not None
    assert found.archived_at is not None
    return found


async def test_it_leaves_the_board_the_gate_and_the_figures(publish: Publish, worker: Worker) -> None:
    sale, _ = await bought(publish, shopper())
    await rounds(worker, 1)
    assert sale.id in worker.telemetry._seen
    await archived(worker, sale)
    assert sale.id not in board().sales
    assert sale.sku not in board().by_sku
    assert sale.id not in {one.id for one in await catalogue.every()}
    assert sale.id not in worker.telemetry._seen
    assert sale.sku not in generate_latest().decode()
    # What is left says that there is no gate, and goes away by itself.
    assert await gate_keys(sale) == {sale_keys(sale.id).sale: {"floor": str(sale.epoch + 1)}}
    assert 0 < await redis().ttl(sale_keys(sale.id).sale) <= stock.TOMBSTONE_SECONDS


async def test_the_desk_says_what_shoppers_see_of_it(publish: Publish, worker: Worker) -> None:
    sale, _ = await bought(publish, shopper())
    there = await archived(worker, sale)
    live = await lookout().look(sale.id)
    assert (live.phase, live.left) == (Phase.ENDED, there.available)
    row = Sale(pk=sale.id, sku=sale.sku, version=sale.version, published=True)
    at_control = await asyncio.to_thread(standing.look, row)
    assert (at_control.phase, at_control.is_hidden) == (Phase.ENDED, False)


async def test_shoppers_are_told_that_it_is_over_and_find_their_orders(
    publish: Publish, worker: Worker, client: httpx.AsyncClient
) -> None:
    someone = shopper()
    sale, order_id = await bought(publish, someone)
    await archived(worker, sale)
    status = (await client.get(f"/api/products/{sale.sku}/sale-status")).json()["data"]
    assert (status["phase"], status["availableStock"], status["totalStock"]) == ("ended", 8, 10)
    page = await client.get(f"/sales/{sale.sku}/")
    assert (page.status_code, "Test lamp" in page.text) == (200, True)
    assert sale.sku not in (await client.get("/api/products")).text
    mine = await client.get("/orders/", headers=cookie_of(someone))
    assert "Test lamp" in mine.text
    assert (await client.get(f"/api/orders/{sale.sku}", headers=cookie_of(someone))).json()["data"]["_id"] == order_id
    assert (await client.get(f"/sales/{sale.sku}/me", headers=cookie_of(someone))).status_code == 200
    receipt = (await client.get("/api/orders", headers=cookie_of(someone))).json()["data"][0]["receiptUrl"]
    assert "Test lamp" in (await client.get(receipt)).text
    # A repeat finds its order, whatever the time; who comes now is told so.
    again = await place(someone, sale.sku, 2, key="once")
    assert isinstance(again, Placed)
    assert (again.order.id, again.is_new) == (order_id, False)
    assert await place(shopper(), sale.sku, 1) == Refused(Refusal.ENDED)
    assert await place(shopper(), "never-was", 1) == Refused(Refusal.PRODUCT_NOT_FOUND)


async def test_what_is_not_settled_stays(publish: Publish, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    one, order_id = await bought(publish, shopper())
    recent = await moved(await publish(), datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1))
    # The gate holds something else than the ledger.
    wrong, _ = await bought(publish, shopper())
    await collection("orders").delete_many({"sale": wrong.id})
    # Cancelled, and the gate is to be told once more.
    await cancelling.cancel(order_id, "staff", "late")
    await rounds(worker)
    in_use = {sale.id for sale in await catalogue.every()}
    assert {one.id, recent.id, wrong.id} <= in_use
    await finish_cancelled(datetime.now(UTC) + 2 * cancelling.AGAIN_AFTER)
    monkeypatch.setattr(archiving, "AGAIN_AFTER", timedelta(0))
    await archived(worker, one)


async def test_a_late_cancellation_is_kept_without_a_gate(publish: Publish, worker: Worker) -> None:
    someone = shopper()
    sale, order_id = await bought(publish, someone)
    await archived(worker, sale)
    await cancelling.cancel(order_id, "staff", "late")
    await finish_cancelled(datetime.now(UTC) + cancelling.GRACE + timedelta(seconds=1) + cancelling.AGAIN_AFTER)
    found = await catalogue.get(sale.id)
    assert found is not None
    assert (found.available, found.archived_at is not None) == (10, True)
    assert set(await gate_keys(sale)) == {sale_keys(sale.id).sale}
    assert (await audit(found)).holds


@pytest.mark.parametrize("how", ["published anew", "rebuilt by hand"])
async def test_it_comes_back_whole(publish: Publish, worker: Worker, how: str) -> None:
    someone = shopper()
    sale, _ = await bought(publish, someone)
    await archived(worker, sale)
    if how == "rebuilt by hand":
        found = await catalogue.get(sale.id)
        assert found is not None
        assert (await rebuild(found)).took_effect
    await moved(sale, datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1))
    # Before a worker comes by: closed, never an empty gate.
    if how == "published anew":
        assert await place(someone, sale.sku, 1) in (Refused(Refusal.ENDED), Refused(Refusal.NOT_READY))
    await rounds(worker, 2)
    assert board().by_sku[sale.sku].phase is Phase.UPCOMING or board().by_sku[sale.sku].phase is Phase.ACTIVE
    _, (levels,) = await stock.levels(redis(), [sale.id])
    assert (levels.loaded, levels.issued) == (True, 2)
    assert await redis().ttl(sale_keys(sale.id).sale) == -1


async def test_published_between_the_mark_and_the_gate_nothing_is_lost(publish: Publish, worker: Worker) -> None:
    sale, _ = await bought(publish, shopper())
    await worker.round()
    now = await catalogue.get(sale.id)
    assert now is not None
    assert await catalogue.archive(now, datetime.now(UTC)) or now.archived_at
    marked = (await catalogue.archived_at_gate(datetime.now(UTC), 100))[-1]
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    await moved(sale, later)
    assert not await stock.retire(redis(), marked)
    _, (levels,) = await stock.levels(redis(), [sale.id])
    assert (levels.loaded, levels.issued) == (True, 2)


async def test_a_gate_with_something_in_its_log_is_never_let_go(publish: Publish, worker: Worker) -> None:
    from sales.tests.test_stock import wish

    sale = await publish()
    await stock.reserve(redis(), sale.id, sale.epoch, [wish("late")])
    assert await catalogue.archive(sale, datetime.now(UTC))
    await worker._archivist.begin_round([])
    found = await catalogue.get(sale.id)
    assert found is not None
    assert found.archived_at is None
    assert await stock.pending_count(redis(), sale.id) == 1


async def test_a_gate_that_an_older_version_has_rebuilt_is_let_go_again(publish: Publish, worker: Worker) -> None:
    sale, _ = await bought(publish, shopper())
    await archived(worker, sale)
    # An older version knows no archive: it finds the gate gone, raises the epoch and loads it.
    await collection("sales").update_one({"_id": sale.id}, {"$inc": {"epoch": 1}})
    raised = await catalogue.get(sale.id)
    assert raised is not None
    await stock.load(redis(), raised, [one async for one in ledger.holdings(sale.id)])
    assert len(await gate_keys(sale)) > 1
    await rounds(Worker(), 1)
    assert set(await gate_keys(sale)) == {sale_keys(sale.id).sale}


async def test_a_sale_that_an_older_version_has_opened_again_is_on_sale(publish: Publish, worker: Worker) -> None:
    sale, _ = await bought(publish, shopper())
    await archived(worker, sale)
    # An older version knows no archive: it publishes over the mark, and loads the gate.
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    change = {"$set": {"closes_at": later}, "$inc": {"epoch": 1, "version": 1}}
    await collection("sales").update_one({"_id": sale.id}, change)
    raised = await catalogue.get(sale.id)
    assert raised is not None
    await stock.load(redis(), raised, [one async for one in ledger.holdings(sale.id)])
    await rounds(Worker(), 1)
    _, (levels,) = await stock.levels(redis(), [sale.id])
    assert (levels.loaded, levels.issued) == (True, 2)
    assert board().by_sku[sale.sku].phase is Phase.ACTIVE


async def test_audit_and_repair_know_it(publish: Publish, worker: Worker) -> None:
    sale, _ = await bought(publish, shopper())
    found = await audit(await archived(worker, sale))
    assert found.holds
    assert "archived" in found.findings[3].figures
    assert plan(found) == []
    await collection("sales").update_one({"_id": sale.id}, {"$set": {"available": 3}})
    current = await catalogue.get(sale.id)
    assert current is not None
    wrong = await audit(current)
    assert not wrong.holds
    assert [step.what for step in plan(wrong)] == ["correct sales.available from 3 to 8"]


async def test_names_that_nobody_has_cost_one_question_for_all_and_little_memory(publish: Publish) -> None:
    await publish()
    for number in range(1000):
        assert await shown(f"made-up-{number}") is None
    assert await shown("../etc") is None
    assert len(archive()._absent) <= 200


async def test_the_shelf_is_read_by_an_index(publish: Publish) -> None:
    await publish()
    explained = await collection("sales").find(catalogue.IN_USE).explain()
    assert "archived_at" in str(explained["queryPlanner"]["winningPlan"])


async def test_the_back_office_reads_on(publish: Publish, worker: Worker) -> None:
    someone = shopper()
    row = await asyncio.to_thread(published_row)
    await show()
    placed = await place(someone, row.sku, 1)
    assert isinstance(placed, Placed)
    row.opens_at, row.closes_at = LONG_AGO - timedelta(hours=1), LONG_AGO
    await asyncio.to_thread(save_and_publish, row)
    found = await catalogue.get(row.pk)
    assert found is not None
    await archived(worker, found)

    def pages() -> dict[str, str]:
        staff = Client()
        staff.force_login(User.objects.create_superuser("keeper"))
        base = f"/admin/desk/sales/{row.pk}"
        paths = [f"{base}/{page}/" for page in ("orders", "live", "live/data", "check/lines", "report", "control")]
        return {path: staff.get(path).content.decode() for path in [*paths, f"/admin/desk/orders/{placed.order.id}/"]}

    read = await asyncio.to_thread(pages)
    assert all("Server Error" not in text for text in read.values())
    assert placed.order.id in read[f"/admin/desk/sales/{row.pk}/orders/"]
    # Not "not ready", as if something were wrong with it.
    assert "Not ready" not in read[f"/admin/desk/sales/{row.pk}/control/"]


def published_row() -> Sale:
    now = datetime.now(UTC)
    row = Sale(
        name="Lamp",
        price_minor=100,
        stock=3,
        published=True,
        opens_at=now - timedelta(minutes=1),
        closes_at=now + timedelta(hours=1),
    )
    row.sku = f"kept-{row.pk}"
    save_and_publish(row)
    return row
