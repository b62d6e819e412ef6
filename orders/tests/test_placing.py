"""Placing an order: one service, real stores, and what it says when they disagree."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime

import pytest

from conftest import Publish, eventually, settings_of, shopper
from flashdrop.mongo_client import collection
from flashdrop.redis_client import redis
from orders import ledger
from orders.identity import sign_in_guest
from orders.order import OrderStatus
from orders.placing import Placed, Refusal, Refused, place
from orders.settlement import forgetting, settle
from orders.tests.test_ledger import order_of
from sales import stock
from sales.gate import Wish
from sales.keys import sale_keys
from sales.published import PublishedSale


async def placed(sale: PublishedSale, key: str | None = None, quantity: int = 1) -> Placed:
    placement = await place(shopper(), sale.sku, quantity, key)
    assert isinstance(placement, Placed), placement
    return placement


async def test_an_order_is_in_the_ledger_when_the_answer_comes(publish: Publish) -> None:
    sale = await publish()
    placement = await placed(sale)
    assert placement.is_new
    assert (await ledger.find([placement.order.id]))[placement.order.id].units == (1,)
    await forgetting().drain()
    assert await stock.pending_count(redis(), sale.id) == 0


async def test_two_hundred_shoppers_race_for_fifty_units(publish: Publish) -> None:
    sale = await publish(stock=50)
    answers = await asyncio.gather(*(place(shopper(), sale.sku, 1, None) for _ in range(200)))
    orders = [answer.order for answer in answers if isinstance(answer, Placed)]
    assert sorted(order.units[0] for order in orders) == list(range(1, 51))
    assert answers.count(Refused(Refusal.OUT_OF_STOCK)) == 150
    assert await ledger.tally(sale.id) == ledger.Tally(50, 50)


async def test_one_shopper_fifty_times_gets_one_order(publish: Publish) -> None:
    sale, someone = await publish(), shopper()
    answers = await asyncio.gather(*(place(someone, sale.sku, 1, None) for _ in range(50)))
    assert sum(isinstance(answer, Placed) for answer in answers) == 1
    assert answers.count(Refused(Refusal.LIMIT_EXCEEDED, held=1)) == 49
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


async def test_one_key_fifty_times_is_one_order(publish: Publish) -> None:
    sale, someone = await publish(), shopper()
    answers = await asyncio.gather(*(place(someone, sale.sku, 1, "key") for _ in range(50)))
    assert {answer.order.id for answer in answers if isinstance(answer, Placed)} == {answers[0].order.id}  # type: ignore[union-attr]
    assert all(isinstance(answer, Placed) for answer in answers)
    assert sum(answer.is_new for answer in answers if isinstance(answer, Placed)) == 1
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


async def test_a_retry_after_the_sale_is_over_finds_the_order(publish: Publish) -> None:
    settings = settings_of()
    sale, someone = await publish(settings), shopper()
    first = await place(someone, sale.sku, 1, "key")
    await publish(settings, closes_at=datetime.now(UTC))
    again = await place(someone, sale.sku, 1, "key")
    assert isinstance(first, Placed) and isinstance(again, Placed)
    assert (again.order.id, again.is_new) == (first.order.id, False)
    assert await place(someone, sale.sku, 1, None) == Refused(Refusal.ENDED, held=1)


async def test_a_key_in_another_sale_or_with_another_quantity_is_refused(publish: Publish) -> None:
    here, there, someone = await publish(limit_per_shopper=3), await publish(), shopper()
    await place(someone, here.sku, 1, "key")
    assert await place(someone, here.sku, 2, "key") == Refused(Refusal.KEY_REUSED, held=1)
    assert await place(someone, there.sku, 1, "key") == Refused(Refusal.KEY_REUSED)
    assert await ledger.tally(there.id) == ledger.Tally(0, 0)
    assert (await stock.levels(redis(), [there.id]))[1][0].available == 10


async def test_guests_need_the_merchandisers_word(publish: Publish) -> None:
    closed, open_to_guests = await publish(), await publish(guests_allowed=True)
    assert await place(sign_in_guest(), closed.sku, 1, None) == Refused(Refusal.NAME_NEEDED)
    assert isinstance(await place(sign_in_guest(), open_to_guests.sku, 1, None), Placed)


async def test_a_gate_that_forgot_an_order_does_not_sell_its_unit_twice(publish: Publish) -> None:
    sale = await publish()
    await placed(sale)
    await redis().hset(sale_keys(sale.id).sale, mapping={"next": 1, "issued": 0})
    await redis().delete(sale_keys(sale.id).shoppers)
    assert await place(shopper(), sale.sku, 1, None) == Refused(Refusal.NOT_READY)
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)
    # The gate was stopped: nobody is told anything by it until it is rebuilt.
    assert await place(shopper(), sale.sku, 1, None) == Refused(Refusal.NOT_READY)
    assert not (await stock.levels(redis(), [sale.id]))[1][0].loaded


async def test_a_gate_that_forgot_a_shopper_does_not_let_them_buy_twice(publish: Publish) -> None:
    sale, someone = await publish(), shopper()
    await place(someone, sale.sku, 1, None)
    await redis().delete(sale_keys(sale.id).shoppers)
    assert await place(someone, sale.sku, 1, None) == Refused(Refusal.LIMIT_EXCEEDED)
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


@pytest.mark.parametrize("field", ["stock", "limit"])
async def test_a_gate_that_lies_about_stock_or_limit_sells_nothing_beyond_the_ledgers(
    publish: Publish, field: str
) -> None:
    sale, someone = await publish(stock=1), shopper()
    await place(someone, sale.sku, 1, None)
    await redis().hset(sale_keys(sale.id).sale, mapping={"stock": 100, field: 100})
    beyond = await place(someone if field == "limit" else shopper(), sale.sku, 1, None)
    assert isinstance(beyond, Placed)
    assert beyond.order.status is OrderStatus.PENDING
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


async def test_an_order_saved_under_other_units_is_the_one_that_counts(publish: Publish) -> None:
    """The gate lost it, a retry reserved it anew: the ledger's word stands, and the new unit goes back."""
    sale, someone = await publish(), shopper()
    for _ in range(2):
        await placed(sale)
    first = await place(someone, sale.sku, 1, "key")
    assert isinstance(first, Placed) and first.order.units == (3,)
    await redis().delete(sale_keys(sale.id).shoppers)
    again = await place(someone, sale.sku, 1, "key")
    assert isinstance(again, Placed)
    assert (again.order.id, again.order.units) == (first.order.id, (3,))
    assert not (await stock.levels(redis(), [sale.id]))[1][0].loaded


async def test_a_cancelled_caller_leaves_nothing_half_done(publish: Publish) -> None:
    sale = await publish(stock=5)
    tasks = [asyncio.create_task(place(shopper(), sale.sku, 1, None)) for _ in range(5)]
    for number, task in enumerate(tasks):
        await asyncio.sleep(0.001 * number)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for reservation in await stock.pending(redis(), sale.id):
        await settle([reservation], {sale.id: sale})
    await forgetting().drain()

    async def settled() -> bool:
        _, (levels,) = await stock.levels(redis(), [sale.id])
        return levels.issued == (await ledger.tally(sale.id)).units and not await stock.pending_count(redis(), sale.id)

    await eventually(settled)


async def test_settling_twice_is_harmless(publish: Publish) -> None:
    sale = await publish()
    someone = shopper()
    wish = Wish(secrets.token_hex(12), someone.id, 1, False, f'["{sale.sku}","x","y",null]')
    (answer,) = await stock.reserve(redis(), sale.id, sale.epoch, [wish])
    assert answer.reservation
    once = await settle([answer.reservation], {})
    twice = await settle([answer.reservation, answer.reservation], {})
    assert {result.outcome.name for result in once + twice} == {"CONFIRMED"}
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


async def test_a_given_up_order_is_not_resurrected(publish: Publish) -> None:
    sale, someone = await publish(), shopper()
    from orders.placing import _digest, order_id_for

    order_id = order_id_for(sale.id, someone.id, _digest("key"))
    mine = {"shopper_id": someone.id, "session_id": someone.session_id}
    await ledger.give_up(order_of(sale.id, id=order_id, **mine), datetime.now(UTC))
    placement = await place(someone, sale.sku, 1, "key")
    assert isinstance(placement, Placed)
    assert placement.order.status is OrderStatus.RELEASED
    assert (await stock.levels(redis(), [sale.id]))[1][0].available == 10


async def test_canary_insert_without_the_indexes_sells_a_unit_twice() -> None:
    """Proof that it is the ledger's index that holds, not luck."""
    plain = collection("canary")
    await asyncio.gather(*(plain.insert_one({"sale": "s", "units": [1]}) for _ in range(2)))
    assert await plain.count_documents({"units": 1}) == 2
    await plain.drop()
