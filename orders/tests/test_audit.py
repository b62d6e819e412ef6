"""The audit and its repair: each kind of damage made in the stores, named, planned, and made good or left to a person.

On a database of each store that no other test's worker looks after.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
import redis as sync_redis
from django.core.management import call_command
from django.core.management.base import CommandError

from conftest import MONGO_PORT, VALKEY_PORT, settings_of
from flashdrop import loops, mongo_client, redis_client
from flashdrop.config import config
from flashdrop.mongo_client import collection, database
from flashdrop.redis_client import redis
from orders import audit as audit_module
from orders import ledger
from orders import repair as repair_module
from orders.audit import audit
from orders.indexes import ensure_indexes
from orders.order import Order, pending_order
from orders.recovery import finish_pending
from orders.repair import plan
from orders.tests.test_recovery import reserved
from orders.worker import GRACE_SECONDS
from sales import catalogue, publishing, stock
from sales.gate import Reservation
from sales.keys import sale_keys
from sales.published import PublishedSale, SaleSettings

REDIS = f"redis://127.0.0.1:{VALKEY_PORT}/4"
MONGO = f"mongodb://127.0.0.1:{MONGO_PORT}/flashdrop-audit?replicaSet=rs0"

Damage = Callable[[PublishedSale], Awaitable[str]]


@pytest.fixture(autouse=True)
def apart(stores: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    mine = replace(config, redis_url=REDIS, mongodb_url=MONGO)
    monkeypatch.setattr(redis_client, "config", mine)
    monkeypatch.setattr(mongo_client, "config", mine)

    async def empty() -> None:
        await redis().flushdb()
        await database().client.drop_database("flashdrop-audit")

    async def prepare() -> None:
        await empty()
        await ensure_indexes()

    loops.run(prepare)
    yield
    loops.run(empty)


async def opened(**changes: Any) -> PublishedSale:
    return (await publishing.publish(settings_of(**changes))).sale


async def bought(sale: PublishedSale, count: int = 1) -> list[Reservation]:
    """Confirmed orders, the ledger's `available` brought up to date with them."""
    reservations = await reserved(sale, count)
    await finish_pending(sale)
    _, (levels,) = await stock.levels(redis(), [sale.id])
    await catalogue.set_available(sale.id, levels.available)
    return reservations


async def written(sale: PublishedSale, **changes: Any) -> Order:
    """An order that came into the ledger behind the gate's back."""
    (reservation,) = await reserved(sale)
    await stock.release(redis(), sale.id, [(reservation.shopper_id, reservation.order_id)])
    order = pending_order(reservation)._replace(**changes)
    (outcome,) = await ledger.insert([order], datetime.now(UTC))
    assert outcome is ledger.Insertion.WRITTEN
    return order


async def contents(sale: PublishedSale) -> Any:
    """Everything that the two stores hold of the sale."""
    keys = sale_keys(sale.id)
    return (
        await redis().hgetall(keys.sale),
        await redis().hgetall(keys.shoppers),
        await redis().zrange(keys.returned, 0, -1),
        await redis().xrange(keys.pending),
        await collection("sales").find({"_id": sale.id}).to_list(),
        await orders_of(sale),
    )


async def orders_of(sale: PublishedSale) -> list[Any]:
    return await collection("orders").find({"sale": sale.id}).sort("_id", 1).to_list()


def command(sale: PublishedSale, *flags: str) -> tuple[int, str]:
    """The exit code and what was printed."""
    printed = StringIO()
    try:
        call_command("audit_sale", sale.sku, *flags, stdout=printed)
    except CommandError as error:
        return error.returncode, f"{printed.getvalue()}{error}"
    return 0, printed.getvalue()


def broken_in(printed: str) -> list[str]:
    """The numbers of the promises that a table says are broken."""
    return [line.split()[1] for line in printed.splitlines() if line.strip().startswith("BROKEN")]


def settings_in(sale: PublishedSale, **changes: Any) -> SaleSettings:
    return SaleSettings(**{one.name: getattr(sale, one.name) for one in fields(SaleSettings)} | changes)


async def healthy() -> PublishedSale:
    sale = await opened()
    await bought(sale, 3)
    return sale


def test_a_healthy_sale_has_nothing_to_repair() -> None:
    sale = loops.run(healthy)
    before = loops.run(lambda: contents(sale))
    for flags in ((), ("--repair",), ("--repair", "--yes")):
        code, printed = command(sale, *flags)
        assert (code, broken_in(printed)) == (0, [])
    assert "confirmed 3 of 10" in printed
    assert "Nothing to repair." in printed
    assert loops.run(lambda: contents(sale)) == before


async def lose_the_gate(sale: PublishedSale) -> str:
    await redis().delete(*sale_keys(sale.id))
    return ""


async def stop_the_gate(sale: PublishedSale) -> str:
    await stock.fence(redis(), sale.id, sale.epoch)
    return ""


async def die_after_raising_the_epoch(sale: PublishedSale) -> str:
    await catalogue.raise_epoch(sale.id)
    return ""


async def restart_the_server(sale: PublishedSale) -> str:
    await redis().hset(sale_keys(sale.id).sale, "run_id", "an earlier run")
    return ""


async def restore_an_older_gate(sale: PublishedSale) -> str:
    with sync_redis.Redis.from_url(REDIS) as as_bytes:
        dumps = [(key, as_bytes.dump(key)) for key in sale_keys(sale.id)]
        (order,) = await bought(sale)
        for key, dump in dumps:
            as_bytes.delete(key)
            if dump is not None:
                as_bytes.restore(key, 0, dump)
    return order.order_id


async def lose_the_counters(sale: PublishedSale) -> str:
    await redis().hset(sale_keys(sale.id).sale, mapping={"issued": 0, "next": 1})
    return ""


async def strand_a_unit(sale: PublishedSale) -> str:
    (orphan,) = await reserved(sale)
    await stock.confirm(redis(), sale.id, [orphan.entry_id])
    return orphan.order_id


async def miss_a_publication(sale: PublishedSale) -> str:
    await catalogue.save(settings_in(sale, stock=12))
    return ""


async def note_a_wrong_figure(sale: PublishedSale) -> str:
    await catalogue.set_available(sale.id, 1)
    return ""


async def die_before_the_ledger(sale: PublishedSale) -> str:
    (orphan,) = await reserved(sale)
    time.sleep(GRACE_SECONDS + 0.2)
    return orphan.order_id


DAMAGE: list[tuple[Damage, list[str], str]] = [
    (lose_the_gate, ["4"], "rebuild the gate: it is not loaded"),
    (stop_the_gate, ["4"], "rebuild the gate: it is not loaded"),
    (die_after_raising_the_epoch, ["4"], "rebuild the gate: it has epoch 1, the ledger 2"),
    (restart_the_server, [], "rebuild the gate: its server was started again since it was loaded"),
    (restore_an_older_gate, ["3", "4"], "rebuild the gate: it has forgotten 1 orders"),
    (lose_the_counters, ["3", "4"], "rebuild the gate: it has forgotten 3 orders or units"),
    (strand_a_unit, ["4"], "rebuild the gate: it strands 1 orders"),
    (miss_a_publication, ["4"], "put version 2 in force at the gate, which has 1"),
    (note_a_wrong_figure, [], "correct sales.available from 1 to 7"),
    (die_before_the_ledger, [], "finish 1 pending orders older than 3 s"),
]


@pytest.mark.parametrize(("damage", "broken", "step"), DAMAGE, ids=[damage.__name__ for damage, _, _ in DAMAGE])
def test_damage_is_named_and_planned_then_made_good(damage: Damage, broken: list[str], step: str) -> None:
    async def hurt() -> tuple[PublishedSale, str, Any]:
        sale = await healthy()
        order_id = await damage(sale)
        return sale, order_id, await contents(sale)

    sale, order_id, before = loops.run(hurt)
    code, printed = command(sale)
    assert (code, broken_in(printed)) == (int(bool(broken)), broken)
    assert order_id in printed
    is_unloaded = "has not loaded" in printed
    assert ("unknown  3 confirmed is durable" in printed) is is_unloaded, "what the gate holds can't be known then"

    code, printed = command(sale, "--repair")
    assert code == 1
    assert step in printed
    assert "done:" not in printed
    assert loops.run(lambda: contents(sale)) == before

    code, printed = command(sale, "--repair", "--yes")
    assert code == 0, printed
    assert printed.index("To repair:") < printed.index(f"done: {step}")
    assert "not done" not in printed

    async def whole() -> None:
        found = await audit(sale)
        assert found.holds and plan(found) == []
        assert found.sale.available == found.evidence.levels.available
        assert before[5] == [order for order in await orders_of(sale) if order in before[5]]

    loops.run(whole)
    assert command(sale, "--repair")[0] == 0


def test_a_pending_order_that_the_ledger_refuses_leads_to_a_rebuild(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step brings the next to light; both are done."""
    for module in (audit_module, repair_module):
        monkeypatch.setattr(module, "GRACE_SECONDS", 0.2)

    async def hurt() -> tuple[PublishedSale, Reservation]:
        sale = await healthy()
        (orphan,) = await reserved(sale)
        await written(sale, units=orphan.units)
        time.sleep(0.3)
        return sale, orphan

    sale, orphan = loops.run(hurt)
    code, printed = command(sale, "--repair", "--yes")
    assert code == 0, printed
    assert printed.index("done: finish 1 pending") < printed.index("done: rebuild the gate")
    standing = loops.run(lambda: ledger.find([orphan.order_id]))[orphan.order_id]
    assert standing.status == "released"


def untouched(sale: PublishedSale, broken: str, *named: str) -> None:
    """A repair lists what a person must decide, changes no order, and stays red."""
    before = loops.run(lambda: orders_of(sale))
    for flags in (("--repair",), ("--repair", "--yes")):
        code, printed = command(sale, *flags)
        assert code == 1
        assert broken in broken_in(printed)
        person = printed[printed.index("A person must decide; no order is touched.") :]
        assert all(one in person for one in named), printed
    assert loops.run(lambda: orders_of(sale)) == before


def test_a_unit_above_the_stock_is_left_to_a_person() -> None:
    async def hurt() -> tuple[PublishedSale, Order]:
        sale = await healthy()
        return sale, await written(sale, units=(50,))

    sale, order = loops.run(hurt)
    untouched(sale, "1", f"order {order.id}: unit 50 is above the stock")


def test_a_shopper_over_the_limit_is_left_to_a_person() -> None:
    async def hurt() -> tuple[PublishedSale, Order, Order]:
        sale = await healthy()
        first = await written(sale, units=(8,))
        return sale, first, await written(sale, units=(9,), slots=(2,), shopper_id=first.shopper_id)

    sale, first, second = loops.run(hurt)
    untouched(sale, "2", f"shopper {first.shopper_id}: 2 units", first.id, second.id)


@pytest.mark.parametrize("gate", ["right", "lost"])
def test_a_unit_sold_twice_is_left_to_a_person_and_nothing_is_written_without_the_indexes(gate: str) -> None:
    async def hurt() -> tuple[PublishedSale, Order, Order, Any]:
        sale = await healthy()
        await collection("orders").drop_indexes()
        first, second = await written(sale, units=(5,)), await written(sale, units=(5,))
        if gate == "lost":
            await lose_the_gate(sale)
        return sale, first, second, await contents(sale)

    sale, first, second, before = loops.run(hurt)
    untouched(sale, "1", f"unit 5: orders {', '.join(sorted((first.id, second.id)))}")
    _, printed = command(sale, "--repair")
    assert "rebuild" not in printed
    assert loops.run(lambda: contents(sale))[:4] == before[:4]


def test_yes_goes_with_repair_and_a_sale_must_be_there() -> None:
    sale = loops.run(opened)
    assert command(sale, "--yes") == (2, "--yes goes with --repair.")
    assert command(replace(sale, sku="nowhere"), "--repair") == (1, "The ledger has no sale 'nowhere'.")
