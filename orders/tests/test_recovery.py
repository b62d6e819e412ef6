"""What the worker makes good: each state that a process dying between two lines leaves behind."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import Publish, eventually, settings_of, shopper, show
from flashdrop.redis_client import redis
from orders import ledger, reconciliation
from orders.audit import audit
from orders.management.commands import run_worker
from orders.order import OrderStatus, context_of
from orders.placing import Placed, place
from orders.rebuild import RebuildImpossible, rebuild
from orders.reconciliation import Drift, Reconciler, measure
from orders.recovery import finish_pending
from orders.worker import Worker
from sales import catalogue, publishing, stock
from sales.gate import Reservation, Wish
from sales.keys import WORKER_HEARTBEAT, sale_keys
from sales.published import PublishedSale, SaleSettings

# The worker also looks for rows of the back office that wait to be published.
pytestmark = pytest.mark.django_db(transaction=True)


async def reserved(sale: PublishedSale, count: int = 1) -> list[Reservation]:
    """Reservations whose web process died before it wrote a line to the ledger."""
    wishes = []
    for _ in range(count):
        someone = shopper()
        context = context_of(sale.sku, someone.name, someone.session_id, None)
        wishes.append(Wish(secrets.token_hex(12), someone.id, 1, False, context))
    answers = await stock.reserve(redis(), sale.id, sale.epoch, wishes)
    return [answer.reservation for answer in answers if answer.reservation]


async def now_at_gate() -> datetime:
    return (await stock.levels(redis(), []))[0]


async def holds(sale: PublishedSale) -> bool:
    return (await audit(sale)).holds


async def test_orphaned_reservations_become_orders(publish: Publish) -> None:
    sale = await publish(stock=1200)
    orphans = await reserved(sale, 1100)
    assert await finish_pending(sale, before=await now_at_gate() + timedelta(seconds=1)) == 1100
    assert set(await ledger.find([orphan.order_id for orphan in orphans])) == {orphan.order_id for orphan in orphans}
    assert await stock.pending_count(redis(), sale.id) == 0
    assert await holds(sale)


async def test_what_is_younger_than_the_grace_is_left_to_its_process(publish: Publish) -> None:
    sale = await publish()
    await reserved(sale)
    assert await finish_pending(sale, before=await now_at_gate() - timedelta(seconds=1)) == 0
    assert await stock.pending_count(redis(), sale.id) == 1


async def test_an_order_saved_but_not_confirmed_at_the_gate_is_only_confirmed(publish: Publish) -> None:
    sale = await publish()
    from orders.order import pending_order

    (orphan,) = await reserved(sale)
    await ledger.insert([pending_order(orphan)], datetime.now(UTC))
    await finish_pending(sale)
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)
    assert await holds(sale)


async def test_a_reservation_the_ledger_refuses_is_released_and_written_down(publish: Publish) -> None:
    sale, someone = await publish(), shopper()
    await place(someone, sale.sku, 1, None)
    await redis().delete(sale_keys(sale.id).shoppers)
    wish = Wish(secrets.token_hex(12), someone.id, 1, False, context_of(sale.sku, "x", "y", None))
    await stock.reserve(redis(), sale.id, sale.epoch, [wish])
    await finish_pending(sale)
    assert (await ledger.find([wish.order_id]))[wish.order_id].status is OrderStatus.RELEASED
    assert await stock.pending_count(redis(), sale.id) == 0


async def test_stock_lowered_behind_the_gates_back_is_corrected_and_the_order_stands(publish: Publish) -> None:
    sale = await publish(stock=10)
    orphans = await reserved(sale, 4)
    await catalogue.save(_settings(sale, stock=2))  # the gate never hears of it
    worker = Worker()
    for _ in range(3):
        current = await catalogue.get(sale.id)
        assert current is not None
        await finish_pending(current)
    await worker.round()
    corrected = await catalogue.get(sale.id)
    assert corrected is not None
    assert corrected.stock == 4
    assert len(await ledger.find([orphan.order_id for orphan in orphans])) == 4
    assert await holds(corrected)


async def test_a_unit_that_no_settings_allowed_is_given_up_and_the_gate_rebuilt(publish: Publish) -> None:
    sale = await publish(stock=1)
    await reserved(sale)
    await redis().hset(sale_keys(sale.id).sale, "stock", 100)
    (invented,) = await reserved(sale)
    await finish_pending(sale)
    assert (await ledger.find([invented.order_id]))[invented.order_id].status is OrderStatus.RELEASED
    await Worker().round()
    current = await catalogue.get(sale.id)
    assert current is not None and current.stock == 1
    assert await holds(current)


async def test_settings_the_gate_missed_are_brought_to_it(publish: Publish) -> None:
    sale = await publish()
    await catalogue.save(_settings(sale, paused=True))
    await Worker().round()
    assert await redis().hget(sale_keys(sale.id).sale, "paused") == "1"


async def test_available_in_the_ledger_is_kept_true(publish: Publish) -> None:
    sale = await publish(stock=10)
    for _ in range(3):
        await place(shopper(), sale.sku, 1, None)
    await Worker().round()
    current = await catalogue.get(sale.id)
    assert current is not None and current.available == 7


async def test_a_flushed_gate_is_rebuilt_with_the_pending_orders_of_its_processes(publish: Publish) -> None:
    sale = await publish(stock=10, limit_per_shopper=2)
    buyer = shopper()
    bought = [await place(buyer, sale.sku, 1, None), *[await place(shopper(), sale.sku, 2, None) for _ in range(2)]]
    await redis().delete(*sale_keys(sale.id))
    await Worker().round()
    current = await catalogue.get(sale.id)
    assert current is not None and current.epoch == sale.epoch + 1
    await show()
    assert await holds(current)
    more = await place(buyer, sale.sku, 1, None)
    assert isinstance(more, Placed) and more.order.slots == (2,) and more.order.units == (6,)
    assert all(isinstance(one, Placed) for one in bought)


async def test_a_rebuild_finishes_what_the_log_still_holds_and_keeps_gaps_on_sale(publish: Publish) -> None:
    sale = await publish(stock=5)
    first, second, _ = await reserved(sale, 3)
    await stock.release(redis(), sale.id, [(second.shopper_id, second.order_id)])
    rebuilt = await rebuild(sale)
    assert (rebuilt.orders, rebuilt.took_effect) == (2, True)
    assert first.order_id in await ledger.find([first.order_id])
    assert [one.units for one in await reserved(rebuilt.sale, 3)] == [(2,), (4,), (5,)]


async def test_two_rebuilds_at_once_leave_one_gate(publish: Publish) -> None:
    sale = await publish(stock=50)
    await reserved(sale, 20)
    outcomes = await asyncio.gather(*(rebuild(sale) for _ in range(4)), return_exceptions=True)
    errors = [error for error in outcomes if isinstance(error, BaseException)]
    assert {type(error) for error in errors} == {RebuildImpossible}  # one did it, the others left it to that one
    assert len(errors) == 3
    current = await catalogue.get(sale.id)
    assert current is not None
    await Worker().round()
    assert await holds(await catalogue.get(sale.id) or current)


async def test_a_gate_loaded_in_another_run_of_the_server_is_rebuilt(publish: Publish) -> None:
    """After a restart from a log or a snapshot the keys are there, and may be from the past."""
    sale = await publish()
    await Worker().round()
    assert (await catalogue.get(sale.id) or sale).epoch == sale.epoch
    await redis().hset(sale_keys(sale.id).sale, "run_id", "an earlier run")
    await Worker().round()
    assert (await catalogue.get(sale.id) or sale).epoch == sale.epoch + 1


async def test_a_gate_that_forgot_orders_is_rebuilt_by_the_reconciler(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await publish()
    await place(shopper(), sale.sku, 1, None)
    await redis().hset(sale_keys(sale.id).sale, mapping={"issued": 0, "next": 1})
    assert await measure(sale) == Drift(forgotten=1, stranded=0)
    monkeypatch.setattr(reconciliation, "EVERY_SECONDS", 0.0)
    reconciler = Reconciler()
    await reconciler.look_at(sale)
    assert (await catalogue.get(sale.id) or sale).epoch == sale.epoch  # a cancellation might look like this

    async def healed() -> bool:
        await reconciler.look_at(await catalogue.get(sale.id) or sale)
        return await holds(await catalogue.get(sale.id) or sale)

    await eventually(healed, seconds=3)


async def test_two_workers_do_not_outrun_each_other_when_a_rebuild_takes_long(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would raise the epoch while the other still reads, for ever, and the sale would never come back."""
    sale = await publish(stock=100)
    for _ in range(20):
        await place(shopper(), sale.sku, 1, None)
    await redis().delete(*sale_keys(sale.id))
    read = ledger.holdings

    async def slowly(sale_id: str) -> Any:
        async for holding in read(sale_id):
            await asyncio.sleep(0.05)
            yield holding

    monkeypatch.setattr(ledger, "holdings", slowly)
    workers = [Worker(), Worker()]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]

    async def healed() -> bool:
        current = await catalogue.get(sale.id)
        return current is not None and await holds(current)

    try:
        await eventually(healed, seconds=10)
    finally:
        for worker in workers:
            worker.stop.set()
        await asyncio.gather(*tasks)
    assert (await catalogue.get(sale.id) or sale).epoch == sale.epoch + 1


async def test_a_stranded_unit_is_back_on_sale_once_it_was_seen_for_a_while(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(reconciliation, "STRANDED_FOR_SECONDS", 0.3)
    sale = await publish()
    (orphan,) = await reserved(sale)
    await stock.confirm(redis(), sale.id, [orphan.entry_id])
    reconciler = Reconciler()
    await reconciler.look_at(sale)
    assert not await holds(sale)  # once is not enough

    async def healed() -> bool:
        await reconciler.look_at(await catalogue.get(sale.id) or sale)
        return await holds(await catalogue.get(sale.id) or sale)

    await eventually(healed, seconds=3)


async def test_the_reconciler_finds_no_drift_in_a_healthy_stampede(publish: Publish) -> None:
    sale = await publish(stock=2000)
    stampede = asyncio.gather(*(place(shopper(), sale.sku, 1, None) for _ in range(1500)))
    while not stampede.done():
        assert await measure(sale) == Drift(0, 0)
        await asyncio.sleep(0.002)
    await stampede
    assert await measure(sale) == Drift(0, 0)


async def test_a_running_worker_beats_and_stops_when_told() -> None:
    await redis().delete(WORKER_HEARTBEAT)
    worker = Worker()
    task = asyncio.create_task(worker.run())

    async def beats() -> Any:
        return await redis().get(WORKER_HEARTBEAT)

    await eventually(beats)
    worker.stop.set()
    await asyncio.wait_for(task, 5)


async def test_the_audit_sees_a_stranded_unit_and_a_gate_that_is_away(publish: Publish) -> None:
    sale = await publish()
    assert await holds(sale)
    (orphan,) = await reserved(sale)
    assert await holds(sale)  # pending is accounted for
    await stock.confirm(redis(), sale.id, [orphan.entry_id])  # taken, in no log and in no ledger
    found = {finding.promise[0]: finding.holds for finding in (await audit(sale)).findings}
    assert found == {"1": True, "2": True, "3": True, "4": False}
    await redis().delete(*sale_keys(sale.id))
    assert not await holds(sale)


async def test_a_lowered_stock_is_told_to_whoever_lowered_it(publish: Publish) -> None:
    settings = settings_of(stock=10)
    sale = await publish(settings)
    for _ in range(4):
        await place(shopper(), sale.sku, 1, None)
    published = await publishing.publish(replace(settings, stock=2))
    assert (published.sale.stock, published.in_force) == (4, True)
    assert await holds(published.sale)


async def test_stock_lowered_while_the_gate_was_lost_is_corrected_to_what_was_sold(publish: Publish) -> None:
    settings = settings_of(stock=10)
    sale = await publish(settings)
    for _ in range(4):
        await place(shopper(), sale.sku, 1, None)
    await redis().delete(*sale_keys(sale.id))
    await publishing.publish(replace(settings, stock=2))
    await Worker().round()
    current = await catalogue.get(sale.id)
    assert current is not None and current.stock == 4
    assert (await stock.levels(redis(), [sale.id]))[1][0].available == 0
    assert await holds(current)


def _settings(sale: PublishedSale, **changes: Any) -> SaleSettings:
    return SaleSettings(**{one.name: getattr(sale, one.name) for one in fields(SaleSettings)} | changes)


async def test_a_worker_that_waits_for_a_store_ends_soon_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(run_worker, "STOP_SECONDS", 0.05)
    worker = Worker()
    monkeypatch.setattr(worker, "round", never)
    working = asyncio.create_task(run_worker._until_stopped(worker))
    await asyncio.sleep(0.05)
    assert not working.done()
    worker.stop.set()
    await asyncio.wait_for(working, 2)
