"""The ledger's own guards: they hold whatever the gate says."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from conftest import shopper
from orders import ledger
from orders.ledger import Insertion
from orders.order import Order, OrderStatus

NOW = datetime.now(UTC).replace(microsecond=0)


def order_of(sale_id: str, **changes: Any) -> Order:
    someone = shopper()
    standard = Order(
        id=secrets.token_hex(12),
        sale_id=sale_id,
        sku="lamp",
        shopper_id=someone.id,
        shopper_name=someone.name,
        session_id=someone.session_id,
        key_digest=None,
        units=(1,),
        slots=(1,),
        quantity=1,
        price_minor=500,
        currency="EUR",
        status=OrderStatus.PENDING,
        reserved_at=NOW,
        created_at=None,
    )
    return standard._replace(**changes)


async def test_a_batch_writes_all_it_can_and_names_each_refusal() -> None:
    sale = secrets.token_hex(6)
    first = order_of(sale, key_digest="k")
    assert await ledger.insert([first], NOW) == [Insertion.WRITTEN]
    same_shopper = {"shopper_id": first.shopper_id}
    results = await ledger.insert(
        [
            first,
            order_of(sale, units=(1,)),
            order_of(sale, units=(2,), **same_shopper),
            order_of(sale, units=(1,), **same_shopper),
            order_of(sale + "b", units=(1,), key_digest="k", **same_shopper),
            order_of(sale, units=(2,)),
        ],
        NOW,
    )
    assert results == [
        Insertion.ID_TAKEN,
        Insertion.UNIT_TAKEN,
        Insertion.SLOT_TAKEN,
        Insertion.SLOT_TAKEN,  # both refuse; who has bought already is told so
        Insertion.KEY_TAKEN,
        Insertion.WRITTEN,
    ]
    assert await ledger.tally(sale) == ledger.Tally(2, 2)


async def test_an_order_of_several_units_clashes_on_any_of_them() -> None:
    sale = secrets.token_hex(6)
    await ledger.insert([order_of(sale, units=(1, 2), slots=(1, 2), quantity=2)], NOW)
    assert await ledger.insert([order_of(sale, units=(2, 3), slots=(1, 2), quantity=2)], NOW) == [Insertion.UNIT_TAKEN]


async def test_an_order_comes_back_as_it_was_written() -> None:
    order = order_of(secrets.token_hex(6), key_digest="abc", shopper_name="Zoë 'x' <b>")
    await ledger.insert([order], NOW)
    assert await ledger.find([order.id, "unknown"]) == {order.id: order.confirmed_at(NOW)}


async def test_giving_up_blocks_a_late_confirmation() -> None:
    order = order_of(secrets.token_hex(6))
    given_up = await ledger.give_up(order, NOW)
    assert (given_up.status, given_up.units) == (OrderStatus.RELEASED, ())
    assert await ledger.insert([order], NOW) == [Insertion.ID_TAKEN]
    assert await ledger.insert([order_of(order.sale_id)], NOW) == [Insertion.WRITTEN]  # its unit is free for others


async def test_giving_up_what_was_confirmed_first_changes_nothing() -> None:
    order = order_of(secrets.token_hex(6))
    await ledger.insert([order], NOW)
    assert (await ledger.give_up(order, NOW)).status is OrderStatus.COMPLETED
    assert (await ledger.tally(order.sale_id)).orders == 1


async def test_giving_up_an_order_whose_key_was_used_elsewhere() -> None:
    first = order_of(secrets.token_hex(6), key_digest="k")
    await ledger.insert([first], NOW)
    second = order_of(secrets.token_hex(6), key_digest="k", shopper_id=first.shopper_id)
    assert (await ledger.give_up(second, NOW)).status is OrderStatus.RELEASED
    assert second.id in await ledger.find([second.id])


async def test_a_shoppers_orders_newest_first_given_up_ones_too() -> None:
    sale = secrets.token_hex(6)
    old = order_of(sale, reserved_at=NOW.replace(year=2020))
    new = order_of(sale + "b", units=(7,))._replace(shopper_id=old.shopper_id)
    given_up = order_of(sale, reserved_at=NOW.replace(year=2022), units=(9,), slots=(2,))
    gone = given_up._replace(shopper_id=old.shopper_id)
    await ledger.insert([old, new, order_of(sale, units=(8,))], NOW)
    await ledger.give_up(gone, NOW)
    (everywhere,) = await ledger.of_shoppers([old.shopper_id])
    assert [order.id for order in everywhere] == [new.id, gone.id, old.id]
    (mine, nobodys) = await ledger.of_shoppers([old.shopper_id, "nobody"], sale)
    assert [order.id for order in mine] == [gone.id, old.id]
    assert nobodys == []


async def test_the_audits_questions_see_what_the_indexes_forbid() -> None:
    """Asked of a collection without the indexes: the audit must not trust what it checks."""
    from flashdrop.mongo_client import collection

    sale, someone = secrets.token_hex(6), shopper().id
    await collection("orders").drop_indexes()
    try:
        await ledger.insert([order_of(sale, units=(5,)), order_of(sale, units=(5,))], NOW)
        await ledger.insert(
            [order_of(sale, units=(6,), shopper_id=someone), order_of(sale, units=(7,), shopper_id=someone)], NOW
        )
        assert [unit for unit, _ in await ledger.doubly_sold(sale)] == [5]
        assert await ledger.over_limit(sale, 5) == [(someone, 2)]
        assert [unit for _, unit in sorted(await ledger.units_above(sale, 6), key=lambda row: row[1])] == [7]
    finally:
        await collection("orders").delete_many({"sale": sale})
        await ledger.ensure_indexes()
