"""Cancelling an order: its units go back on sale, and no promise is broken, whatever dies or races meanwhile."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import pytest

from conftest import Publish, eventually, shopper
from flashdrop.redis_client import RedisError, redis
from orders import ledger, ledger_desk
from orders.audit import audit
from orders.cancelling import AGAIN_AFTER, GRACE, CannotCancel, cancel, finish_cancelled
from orders.ledger_desk import Event, OrderState
from orders.order import Order, OrderStatus
from orders.placing import Placed, Refusal, Refused, place
from orders.rebuild import rebuild
from orders.settlement import forgetting
from sales import stock
from sales.published import PublishedSale

WHY = "The parcel came back"


async def bought(sale: PublishedSale, someone: Any = None, key: str | None = None) -> Order:
    placement = await place(someone or shopper(), sale.sku, 1, key)
    assert isinstance(placement, Placed), placement
    return placement.order


async def available(sale: PublishedSale) -> int:
    return (await stock.levels(redis(), [sale.id]))[1][0].available


def in_the_end() -> datetime:
    """When the gate is told for the last time."""
    return datetime.now(UTC) + AGAIN_AFTER + 2 * GRACE


async def waiting(now: datetime) -> set[str]:
    return {order.id for order, _ in await ledger_desk.to_release(now, 1000)}


async def test_a_cancelled_unit_is_on_sale_again_for_everybody_and_for_its_shopper(publish: Publish) -> None:
    sale, someone, other = await publish(stock=1), shopper(), shopper()
    order = await bought(sale, someone)
    assert await place(other, sale.sku, 1, None) == Refused(Refusal.OUT_OF_STOCK, available=0)
    record = await cancel(order.id, "mia", WHY)
    assert (record.state, record.order.units, record.units) == (OrderState.CANCELLED, (), (1,))
    assert (await bought(sale, someone)).units == (1,)
    assert await place(other, sale.sku, 1, None) == Refused(Refusal.OUT_OF_STOCK, available=0)
    assert (await audit(sale)).holds


async def test_somebody_else_has_a_cancelled_unit_within_a_second(publish: Publish) -> None:
    sale = await publish(stock=1)
    order = await bought(sale)

    async def insist() -> float:
        someone = shopper()
        while not isinstance(await place(someone, sale.sku, 1, None), Placed):
            await asyncio.sleep(0.005)
        return perf_counter()

    waiting = asyncio.create_task(insist())
    await asyncio.sleep(0.05)
    started = perf_counter()
    await cancel(order.id, "mia", WHY)
    assert await asyncio.wait_for(waiting, 5) - started < 1


async def test_what_was_done_is_written_with_the_order(publish: Publish) -> None:
    sale = await publish()
    order = await bought(sale)
    before = datetime.now(UTC) - timedelta(seconds=1)
    await cancel(order.id, "mia", "$status {$ne: 1} \u2713")
    record = await ledger_desk.read(order.id)
    assert record is not None and record.given_up_at is not None and record.given_up_at > before
    (event,) = record.events
    assert (event.what, event.by, event.reason) == ("cancelled", "mia", "$status {$ne: 1} \u2713")
    assert (await ledger.find([order.id]))[order.id].status is OrderStatus.CANCELLED


async def test_only_an_open_order_can_be_cancelled(publish: Publish) -> None:
    sale = await publish()
    order, handed_over = await bought(sale), await bought(sale)
    await cancel(order.id, "mia", WHY)
    await ledger_desk.fulfil(handed_over.id, Event(datetime.now(UTC), "fulfilled", "mia", ""))
    for order_id, state in ((order.id, OrderState.CANCELLED), (handed_over.id, OrderState.FULFILLED)):
        with pytest.raises(CannotCancel) as refused:
            await cancel(order_id, "ben", WHY)
        assert refused.value.record is not None and refused.value.record.state is state
    with pytest.raises(CannotCancel) as refused:
        await cancel("no-such-order", "ben", WHY)
    assert refused.value.record is None
    again = await ledger_desk.reopen(handed_over.id, Event(datetime.now(UTC), "reopened", "mia", WHY))
    assert again is not None and [event.what for event in again.events] == ["fulfilled", "reopened"]
    assert (await cancel(handed_over.id, "mia", WHY)).state is OrderState.CANCELLED


async def test_of_many_who_decide_at_once_exactly_one_has_their_way(publish: Publish) -> None:
    sale = await publish()
    order = await bought(sale)
    event = Event(datetime.now(UTC), "fulfilled", "ben", "")
    tries: list[Any] = [cancel(order.id, f"mia-{number}", WHY) for number in range(10)]
    tries += [ledger_desk.fulfil(order.id, event) for _ in range(10)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    won = [one for one in done if one is not None and not isinstance(one, BaseException)]
    assert len(won) == 1
    assert (await audit(sale)).holds


async def test_a_retry_with_the_key_of_a_cancelled_order_is_told_so_and_takes_nothing(publish: Publish) -> None:
    sale, someone = await publish(stock=2), shopper()
    order = await bought(sale, someone, "key")
    await cancel(order.id, "mia", WHY)
    answer = await place(someone, sale.sku, 1, "key")
    assert not (isinstance(answer, Placed) and answer.order.status is OrderStatus.COMPLETED)
    await forgetting().drain()

    async def nothing_taken() -> bool:
        return await available(sale) == 2

    await eventually(nothing_taken)


async def test_while_the_gate_is_away_the_ledger_decides_and_the_worker_tells_the_gate(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await publish(stock=1)
    order = await bought(sale)

    async def away(*_: object) -> list[int]:
        raise RedisError("away")

    with monkeypatch.context() as patched:
        patched.setattr(stock, "release", away)
        await cancel(order.id, "mia", WHY)
    assert await available(sale) == 0
    assert await finish_cancelled(datetime.now(UTC) + GRACE) >= 1
    assert await available(sale) == 1
    assert (await audit(sale)).holds


async def test_a_gate_that_was_being_rebuilt_is_told_once_more(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rebuild has read the order before it was cancelled, and loads it after the gate was told."""
    sale = await publish(stock=1)
    order = await bought(sale)
    real = stock.load

    async def slow(client: Any, sale: Any, held: Any, *more: Any) -> Any:
        read = [one async for one in held]
        await cancel(order.id, "mia", WHY)
        return await real(client, sale, read, *more)

    with monkeypatch.context() as patched:
        patched.setattr(stock, "load", slow)
        await rebuild(sale)
    assert await available(sale) == 0  # the canary: told too early, the gate has it again
    await finish_cancelled(in_the_end())
    assert await available(sale) == 1


async def test_a_gate_is_told_twice_and_not_for_ever(publish: Publish) -> None:
    sale = await publish(stock=1)
    order = await bought(sale)
    await cancel(order.id, "mia", WHY)
    assert order.id not in await waiting(datetime.now(UTC) + timedelta(seconds=30))
    assert order.id in await waiting(in_the_end())
    await finish_cancelled(in_the_end())
    assert order.id not in await waiting(in_the_end())


async def test_what_somebody_bought_again_is_left_alone_when_the_gate_is_told_again(publish: Publish) -> None:
    sale, someone = await publish(stock=1), shopper()
    order = await bought(sale, someone)
    await cancel(order.id, "mia", WHY)
    again = await bought(sale, someone)
    await finish_cancelled(in_the_end())
    assert await available(sale) == 0
    assert (await ledger.find([again.id]))[again.id].units == (1,)
    assert (await audit(sale)).holds


async def test_cancelling_under_load_keeps_every_promise(publish: Publish) -> None:
    sale, rng = await publish(stock=40), random.Random(7)
    standing: dict[str, Order] = {}
    told: list[tuple[str, tuple[int, ...]]] = []

    async def buy() -> None:
        placement = await place(shopper(), sale.sku, 1, None)
        if isinstance(placement, Placed):
            standing[placement.order.id] = placement.order
            told.append((placement.order.id, placement.order.units))

    async def give_back() -> None:
        for _ in range(60):
            await asyncio.sleep(rng.uniform(0, 0.01))
            if standing:
                order_id = rng.choice(sorted(standing))
                standing.pop(order_id)
                await cancel(order_id, "mia", WHY)

    for _ in range(4):
        await asyncio.gather(*(buy() for _ in range(60)), give_back())
    await forgetting().drain()
    sold = {order_id: units async for _, order_id, units, _ in ledger.holdings(sale.id)}
    assert sold == {order.id: order.units for order in standing.values()}
    assert len(told) > 40
    assert (await audit(sale)).holds
    assert await available(sale) == 40 - len(standing)
