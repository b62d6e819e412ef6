"""What the desk finds in the ledger: pages, filters, and an index behind each of them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders import ledger, ledger_desk
from orders.cancelling import cancel
from orders.documents import orders_collection
from orders.ledger_desk import Event, OrderState, Place, Wanted
from orders.tests.test_ledger import order_of

COUNT = 25
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
async def sale_id(ledger_indexes: None) -> str:
    """A sale whose orders were reserved one a second, three of them in the same moment."""
    sale_id = secrets.token_hex(6)
    seconds = [min(number, COUNT - 3) for number in range(COUNT)]
    orders = [
        order_of(
            sale_id, units=(unit,), shopper_id=f"shopper-{unit}-{sale_id}", reserved_at=NOW + timedelta(seconds=second)
        )
        for unit, second in enumerate(seconds, start=1)
    ]
    await ledger.insert(orders, NOW)
    return sale_id


async def units(wanted: Wanted, count: int = 100, after: Place | None = None) -> list[int]:
    return [record.units[0] for record in await ledger_desk.search(wanted, count, after)]


async def test_pages_follow_each_other_without_gap_or_repetition(sale_id: str) -> None:
    everything = await units(Wanted(sale_id=sale_id))
    paged, after = [], None
    while page := await ledger_desk.search(Wanted(sale_id=sale_id), 4, after):
        paged += [record.units[0] for record in page]
        after = Place(page[-1].order.reserved_at, page[-1].order.id)
    assert paged == everything
    assert sorted(paged) == list(range(1, COUNT + 1))


async def test_each_filter_finds_its_own(sale_id: str) -> None:
    (third,) = await ledger_desk.search(Wanted(sale_id=sale_id, unit=3), 10)
    assert third.units == (3,)
    assert await units(Wanted(order_id=third.order.id)) == [3]
    assert await units(Wanted(shopper_id=third.order.shopper_id)) == [3]
    since, until = NOW + timedelta(seconds=2), NOW + timedelta(seconds=5)
    assert await units(Wanted(sale_id=sale_id, since=since, until=until)) == [5, 4, 3]
    await cancel(third.order.id, "mia", "gone")
    await ledger_desk.fulfil((await ledger_desk.search(Wanted(sale_id=sale_id, unit=4), 1))[0].order.id, event())
    assert await units(Wanted(sale_id=sale_id, state=OrderState.CANCELLED)) == [3]
    assert await units(Wanted(sale_id=sale_id, state=OrderState.FULFILLED)) == [4]
    assert len(await units(Wanted(sale_id=sale_id, state=OrderState.OPEN))) == COUNT - 2
    assert await units(Wanted(shopper_id=third.order.shopper_id)) == [3]
    assert await units(Wanted(sale_id="no such sale")) == []


async def test_an_export_reads_everything_oldest_first(sale_id: str) -> None:
    found = [record.order.reserved_at async for record in ledger_desk.every(Wanted(sale_id=sale_id))]
    assert found == sorted(found) and len(found) == COUNT


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(sale_id="x"),
        Wanted(sale_id="x", since=NOW, until=NOW),
        Wanted(sale_id="x", state=OrderState.CANCELLED),
        Wanted(sale_id="x", unit=3),
        Wanted(order_id="x"),
        Wanted(shopper_id="x"),
        Wanted(sale_id="x", shopper_id="y"),
    ],
)
@pytest.mark.parametrize("after", [None, Place(NOW, "x")])
async def test_an_index_stands_behind_each_search(sale_id: str, wanted: Wanted, after: Place | None) -> None:
    cursor = orders_collection().find(ledger_desk._filter(wanted, after)).sort(ledger_desk.NEWEST_FIRST).limit(50)
    stages = names_of((await cursor.explain())["queryPlanner"]["winningPlan"])
    assert "COLLSCAN" not in stages, stages
    if wanted == Wanted(sale_id="x"):
        assert "SORT" not in stages


def names_of(plan: Any) -> set[str]:
    """Every stage of a plan."""
    if isinstance(plan, list):
        return set().union(*map(names_of, plan))
    if not isinstance(plan, dict):
        return set()
    return {plan["stage"]} | names_of(list(plan.values())) if "stage" in plan else names_of(list(plan.values()))


def event() -> Event:
    return Event(NOW, "fulfilled", "mia", "")


async def test_a_search_reads_no_more_than_it_shows(ledger_indexes: None) -> None:
    """What makes it as quick with a million orders as here: the server counts what it looked at."""
    sale_id, many = secrets.token_hex(6), 3000
    orders = [
        order_of(sale_id, units=(unit,), shopper_id=f"{sale_id}-{unit}", reserved_at=NOW + timedelta(seconds=unit))
        for unit in range(1, many + 1)
    ]
    await ledger.insert(orders, NOW)
    for unit in (1, 1000, 2999):
        await ledger_desk.cancel(orders[unit - 1].id, event())
    await ledger_desk.fulfil(orders[5].id, event())
    middle = Place(orders[many // 2].reserved_at, orders[many // 2].id)
    half = NOW + timedelta(seconds=many / 2)
    for wanted in (
        Wanted(sale_id=sale_id),
        Wanted(sale_id=sale_id, state=OrderState.OPEN),
        Wanted(sale_id=sale_id, state=OrderState.CANCELLED),
        Wanted(sale_id=sale_id, state=OrderState.FULFILLED),
        Wanted(sale_id=sale_id, state=OrderState.RELEASED),
        Wanted(sale_id=sale_id, unit=1000),
        Wanted(sale_id=sale_id, shopper_id=orders[7].shopper_id),
        Wanted(shopper_id=orders[7].shopper_id),
        Wanted(sale_id=sale_id, order_id=orders[7].id),
        Wanted(sale_id=sale_id, since=half, until=half + timedelta(seconds=30)),
    ):
        for after, before in ((None, None), (middle, None), (None, middle)):
            asked = ledger_desk._filter(wanted, after, before)
            order = ledger_desk.OLDEST_FIRST if before else ledger_desk.NEWEST_FIRST
            stats = (await orders_collection().find(asked).sort(order).limit(51).explain())["executionStats"]
            assert stats["totalDocsExamined"] <= 60, (wanted, after, before)
            assert stats["totalKeysExamined"] <= 120, (wanted, after, before)
