"""A rehearsal at the desk: it shows that the sale works, shoppers never see it, and nothing of it is left."""

from __future__ import annotations

import asyncio
import html
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from django.contrib.auth.models import User
from django.test import Client

from conftest import Publish, cookie_of, eventually, shopper, show
from flashdrop import redis_client
from flashdrop.config import config
from flashdrop.embedded.process import free_port
from flashdrop.mongo_client import collection
from flashdrop.redis_client import redis
from orders import ledger
from orders.placing import Placed, Refusal, place, place_in
from orders.rehearsal import copy as hidden
from orders.rehearsal import record as records
from orders.rehearsal import rehearsing
from orders.rehearsal.copy import HiddenCopy
from orders.rehearsal.record import Plan, Record, State
from orders.tests.desk import get, row, signed_in
from sales import catalogue, stock
from sales.desk import journal
from sales.keys import REHEARSAL_UNDER_WAY, rehearsal_record, sale_keys
from sales.models import Sale

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def merchandiser() -> Client:
    return await signed_in("merchandiser")


@pytest.fixture(autouse=True)
async def nothing_under_way() -> None:
    await redis().delete(REHEARSAL_UNDER_WAY)
    await collection("sales").delete_many({"rehearsal_of": {"$exists": True}})


def page_of(sale: Sale) -> str:
    return f"/admin/desk/sales/{sale.pk}/rehearsal/"


async def copy_of(sale: Sale, *, opens_in: float = -60.0) -> HiddenCopy:
    """A hidden copy that is open, as a rehearsal makes it."""
    now = datetime.now(UTC)
    made = HiddenCopy(sale.settings(), 5, now + timedelta(seconds=opens_in), now + timedelta(seconds=60))
    await made.publish()
    return made


async def left_of(sale_id: str) -> tuple[int, int, bool]:
    """Gate keys, orders and settings that are there."""
    keys = await redis().exists(*sale_keys(sale_id))
    return keys, await collection("orders").count_documents({"sale": sale_id}), bool(await catalogue.get(sale_id))


async def finished(sale: Sale) -> Record:
    async def over() -> Record | None:
        found = await records.last(sale.pk)
        return found if found and not found.is_running else None

    found: Record = await eventually(over, 30)
    return found


async def test_a_rehearsal_shows_that_the_sale_works_and_leaves_nothing(
    merchandiser: Client, client: httpx.AsyncClient
) -> None:
    sale = await row(stock=500, limit_per_shopper=2)
    assert "has not been rehearsed" in await get(merchandiser, page_of(sale))
    answer = await asyncio.to_thread(merchandiser.post, page_of(sale), {"shoppers": 60, "units": 20})
    assert (answer.status_code, answer.headers["Location"]) == (302, page_of(sale))
    again = await asyncio.to_thread(
        lambda: merchandiser.post(page_of(sale), {"shoppers": 60, "units": 20}, follow=True)
    )
    assert "A rehearsal is under way already" in again.content.decode()
    assert " data-running>" in await get(merchandiser, f"{page_of(sale)}progress/")

    (copy,) = await eventually(catalogue.rehearsals)
    await show()
    for address in ("/", "/api/products", "/orders/"):
        assert copy.sku not in (await client.get(address)).text
    for address in (f"/sales/{copy.sku}/", f"/sales/{copy.sku}/banner", f"/api/products/{copy.sku}/sale-status"):
        assert (await client.get(address)).status_code == 404

    record = await finished(sale)
    assert [(step.name, step.holds, step.found) for step in record.steps if not step.holds] == []
    assert (record.state, len(record.steps)) == (State.HELD, 10)
    text = await get(merchandiser, page_of(sale))
    for said in (
        "It works",
        "Everything held: 20 units sold to 60 test shoppers",
        "60 shoppers for 20 units: 20 orders confirmed, units 1 to 20, each once; 40 were told that it is sold out.",
        "Paused with 10 of 20 sold: 20 of 20 tries were refused as paused.",
        "A shopper with 1 unit of 2 allowed asked for 2 more: refused, has all that is allowed.",
        "its 20 test orders are removed",
    ):
        assert said in text
    assert " data-running>" not in text
    assert await left_of(copy.id) == (0, 0, False)
    assert await redis().exists(REHEARSAL_UNDER_WAY) == 0
    lines = await eventually(lambda: asyncio.to_thread(journal.entries, sale))
    assert lines[0].action.startswith("Rehearsed: held. Everything held: 20 units")


async def test_nobody_can_buy_the_copy_even_by_its_address(client: httpx.AsyncClient) -> None:
    copy = await copy_of(await row())
    try:
        await show()
        bought = await client.post("/api/orders", json={"sku": copy.sale.sku}, headers=cookie_of(shopper()))
        assert (bought.status_code, bought.json()["code"]) == (404, "PRODUCT_NOT_FOUND")
        form = await client.post(f"/sales/{copy.sale.sku}/orders", headers=cookie_of(shopper()))
        assert form.status_code == 404
        # Canary: the gate itself would sell it, to whoever holds its settings.
        assert isinstance(await rehearsal_buy(copy), Placed)
    finally:
        await copy.settle()
        await hidden.remove(copy.id)
    assert await left_of(copy.id) == (0, 0, False)


async def rehearsal_buy(copy: HiddenCopy) -> Any:
    return await place_in(copy.sale, shopper(), 1)


async def test_the_orders_of_a_sale_that_is_no_rehearsal_are_never_deleted(publish: Publish) -> None:
    sale = await publish()
    assert isinstance(await place(shopper(), sale.sku, 1), Placed)
    with pytest.raises(ValueError, match="no rehearsal"):
        await ledger.remove_rehearsed(sale.id)
    with pytest.raises(ValueError, match="no rehearsal"):
        await hidden.remove(sale.id)
    await catalogue.remove_rehearsal(sale.id)
    assert (await left_of(sale.id))[1:] == (1, True)
    assert (await stock.levels(redis(), [sale.id]))[1][0].issued == 1


async def test_what_a_process_that_died_has_left_goes_with_the_next_visit(merchandiser: Client) -> None:
    sale = await row()
    copy = await copy_of(sale)
    assert isinstance(await rehearsal_buy(copy), Placed)
    await copy.settle()
    now = datetime.now(UTC)
    assert await left_of(copy.id) != (0, 0, False)
    await get(merchandiser, page_of(sale))
    assert await left_of(copy.id) != (0, 0, False), "it may still be under way"
    await collection("sales").update_one({"_id": copy.id}, {"$set": {"closes_at": now - timedelta(minutes=2)}})
    await get(merchandiser, page_of(sale))
    assert await left_of(copy.id) == (0, 0, False)


async def test_the_gate_forgets_the_copy_by_itself() -> None:
    copy = await copy_of(await row())
    await rehearsal_buy(copy)
    await copy.let_expire()
    left = [await redis().ttl(key) for key in sale_keys(copy.id) if await redis().exists(key)]
    assert left
    assert all(0 < seconds <= hidden.LEFT_SECONDS for seconds in left)
    await hidden.remove(copy.id)


async def test_a_rehearsal_that_fell_silent_is_shown_as_broken_off(merchandiser: Client) -> None:
    sale, now = await row(), datetime.now(UTC)
    record = Record("1", Plan(10, 5), "somebody", began_at=now, told_at=now)
    assert await records.begin(sale.pk, record)
    assert " data-running>" in await get(merchandiser, page_of(sale))
    kept = await records.last(sale.pk)
    assert kept is not None
    await _tell_as_of(sale, kept, now - timedelta(minutes=1))
    text = await get(merchandiser, page_of(sale))
    assert "Broken off" in text
    assert " data-running>" not in text


async def _tell_as_of(sale: Sale, record: Record, at: datetime) -> None:
    record.told_at = at
    await redis().set(rehearsal_record(sale.pk), orjson.dumps(asdict(record)))


async def test_a_step_that_does_not_hold_is_shown_with_a_cross(merchandiser: Client) -> None:
    """Canary: a copy that somebody else buys from meanwhile does not sell exactly its stock to the test shoppers."""
    sale, now = await row(), datetime.now(UTC)
    record = Record("2", Plan(30, 10), "somebody", began_at=now, told_at=now)
    assert await records.begin(sale.pk, record)

    async def thief() -> None:
        async def there() -> Any:
            return await catalogue.rehearsals()

        (copy,) = await eventually(there)
        while (answer := await place_in(copy, shopper(), 1)) and not isinstance(answer, Placed):
            assert answer.refusal in (Refusal.NOT_STARTED, Refusal.NOT_READY)
            await asyncio.sleep(0.002)

    await asyncio.gather(rehearsing.rehearse(sale.settings(), record), thief())
    assert record.state is State.FAILED
    assert [step.name for step in record.steps if not step.holds] == ["Sells exactly the stock"]
    text = await get(merchandiser, page_of(sale))
    assert "It does not work" in text
    assert "9 orders confirmed" in text


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"shoppers": 10, "units": 10}, "more shoppers than units"),
        ({"shoppers": 501, "units": 10}, "less than or equal to 500"),
        ({"shoppers": 500, "units": 201}, "less than or equal to 200"),
        ({"shoppers": "", "units": "x"}, "This field is required"),
    ],
)
async def test_a_plan_that_makes_no_sense_is_refused(merchandiser: Client, plan: dict[str, Any], said: str) -> None:
    sale = await row()
    answer = await asyncio.to_thread(merchandiser.post, page_of(sale), plan)
    assert answer.status_code == 400
    assert said in html.unescape(answer.content.decode())
    assert await records.last(sale.pk) is None


async def test_only_who_may_rehearse_can() -> None:
    sale = await row()
    viewer = await signed_in("viewer")
    for address in (page_of(sale), f"{page_of(sale)}progress/"):
        assert (await asyncio.to_thread(viewer.get, address)).status_code == 403
    refused = await asyncio.to_thread(viewer.post, page_of(sale), {"shoppers": 60, "units": 20})
    assert refused.status_code == 403
    assert await records.last(sale.pk) is None
    assert (await asyncio.to_thread(Client().get, page_of(sale))).status_code == 302
    operator = await signed_in("operator")
    assert "Start the rehearsal" in await get(operator, page_of(sale))


async def test_a_post_without_the_token_is_refused() -> None:
    sale = await row()
    user = await User.objects.acreate(username="boss", is_staff=True, is_superuser=True)
    strict = Client(enforce_csrf_checks=True)
    await asyncio.to_thread(strict.force_login, user)
    answer = await asyncio.to_thread(strict.post, page_of(sale), {"shoppers": 60, "units": 20})
    assert answer.status_code == 403
    assert await records.last(sale.pk) is None


async def test_a_gate_that_loses_the_copy_breaks_the_rehearsal_off_and_nothing_is_left(merchandiser: Client) -> None:
    sale, now = await row(), datetime.now(UTC)
    record = Record("3", Plan(30, 10), "somebody", began_at=now, told_at=now)
    assert await records.begin(sale.pk, record)
    lost: list[str] = []

    async def lose_it() -> None:
        async def there() -> Any:
            return await catalogue.rehearsals()

        (copy,) = await eventually(there)
        lost.append(copy.id)
        await asyncio.sleep(0.3)
        await redis().delete(*sale_keys(copy.id))

    await asyncio.gather(rehearsing.rehearse(sale.settings(), record), lose_it())
    assert record.state is State.BROKEN_OFF
    assert [step.holds for step in record.steps] == [True, False, False, True]
    assert await left_of(lost[0]) == (0, 0, False)
    assert await redis().exists(REHEARSAL_UNDER_WAY) == 0
    text = await get(merchandiser, page_of(sale))
    assert "Broken off" in text
    assert "It did not come to its end." in text


async def test_with_the_gate_away_the_page_says_so_and_begins_nothing(
    merchandiser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await row()
    gone = replace(config, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    with monkeypatch.context() as patched:
        patched.setattr(redis_client, "config", gone)
        assert "The stores can't be reached" in await get(merchandiser, page_of(sale))
        answer = await asyncio.to_thread(
            lambda: merchandiser.post(page_of(sale), {"shoppers": 60, "units": 20}, follow=True)
        )
    assert answer.status_code == 200
    assert "nothing can be rehearsed now" in answer.content.decode()
    assert await records.last(sale.pk) is None
    assert await catalogue.rehearsals() == []
