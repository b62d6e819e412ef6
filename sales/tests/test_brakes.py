"""The emergency stop: it needs Redis alone, and nothing but a person's Resume lets it go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError

from conftest import Publish, settings_of
from flashdrop.mongo_client import collection
from flashdrop.redis_client import redis
from sales import brakes, catalogue, publishing, register, stock
from sales.brakes import Keeper, Memory
from sales.gate import Levels, Load, Publication, Verdict
from sales.keys import GATE_NAME, sale_keys
from sales.published import PublishedSale
from sales.tests.test_stock import granted, opened, sale_of, verdicts, wish

NOW = datetime.now(UTC).replace(microsecond=0)


async def levels_of(gate: Any, sale: PublishedSale) -> Levels:
    return (await stock.levels(gate, [sale.id]))[1][0]


async def test_it_refuses_the_very_next_order_and_says_who_pulled_it(gate: Any) -> None:
    sale = await opened(gate)
    assert await verdicts(gate, sale, wish("a")) == [Verdict.GRANTED]
    brake = await stock.brake(gate, sale.id, "b1", "Anna Example")
    assert brake is not None
    assert (brake.name, brake.by) == ("b1", "Anna Example")
    assert await verdicts(gate, sale, wish("b")) == [Verdict.PAUSED]
    assert (await levels_of(gate, sale)).brake == brake
    # The same order id as before still finds its order.
    assert await verdicts(gate, sale, wish("a")) == [Verdict.KNOWN]


async def test_one_that_is_pulled_anew_takes_the_place_of_the_first(gate: Any) -> None:
    sale = await opened(gate)
    await stock.brake(gate, sale.id, "b1", "anna")
    second = await stock.brake(gate, sale.id, "b2", "bert")
    assert second is not None
    assert (second.name, second.by) == ("b2", "bert")
    # Whoever still remembers the first does not put it back.
    assert await stock.brake(gate, sale.id, "b1", "anna", NOW) == second
    assert await stock.brake(gate, sale.id, "b2", "bert") == second
    # A resume of the first, saved before the second was pulled.
    resumed = replace(sale, version=2, knows_brake="b1")
    assert (await stock.publish(gate, resumed, create=False))[0] is Publication.APPLIED
    assert await verdicts(gate, sale, wish("a")) == [Verdict.PAUSED]


async def test_settings_that_do_not_know_of_it_leave_it_and_those_that_do_let_it_go(gate: Any) -> None:
    sale = await opened(gate)
    await stock.brake(gate, sale.id, "b1", "anna")
    unaware = replace(sale, version=2, stock=20, paused=False)
    assert (await stock.publish(gate, unaware, create=False))[0] is Publication.APPLIED
    assert await verdicts(gate, sale, wish("a")) == [Verdict.PAUSED]
    another = replace(sale, version=3, knows_brake="b0")
    assert (await stock.publish(gate, another, create=False))[0] is Publication.APPLIED
    assert await verdicts(gate, sale, wish("a")) == [Verdict.PAUSED]
    resumed = replace(sale, version=4, knows_brake="b1")
    assert (await stock.publish(gate, resumed, create=False))[0] is Publication.APPLIED
    assert await verdicts(gate, sale, wish("a")) == [Verdict.GRANTED]
    # Whoever still remembers it does not pull it again.
    assert await stock.brake(gate, sale.id, "b1", "anna", NOW) is None
    assert await verdicts(gate, sale, wish("b")) == [Verdict.GRANTED]


async def test_it_survives_a_fence_and_a_rebuild(gate: Any) -> None:
    sale = await opened(gate)
    await stock.brake(gate, sale.id, "b1", "anna")
    await stock.fence(gate, sale.id, 1)
    rebuilt = replace(sale, epoch=2)
    assert await stock.load(gate, rebuilt, []) is Load.IN_FORCE
    assert await verdicts(gate, rebuilt, wish("a")) == [Verdict.PAUSED]


async def test_pulled_while_a_gate_is_rebuilt_it_holds_afterwards(gate: Any) -> None:
    sale = sale_of()
    await stock.brake(gate, sale.id, "b1", "anna")
    assert (await levels_of(gate, sale)).is_stopped
    assert await stock.load(gate, sale, []) is Load.IN_FORCE
    assert await verdicts(gate, sale, wish("a")) == [Verdict.PAUSED]


async def test_a_gate_that_was_wiped_gets_the_one_the_ledger_has_noted(gate: Any) -> None:
    sale = await opened(gate)
    brake = await stock.brake(gate, sale.id, "b1", "anna")
    await gate.delete(*sale_keys(sale.id))
    assert (await levels_of(gate, sale)).is_gone
    assert await stock.load(gate, replace(sale, epoch=2, brake=brake), []) is Load.IN_FORCE
    assert (await levels_of(gate, sale)).brake == brake


async def test_one_that_the_settings_know_of_is_not_loaded_again(gate: Any) -> None:
    sale = await opened(gate)
    await stock.brake(gate, sale.id, "b1", "anna")
    await stock.fence(gate, sale.id, 1)
    resumed = replace(sale, epoch=2, version=2, knows_brake="b1")
    assert await stock.load(gate, resumed, []) is Load.IN_FORCE
    assert await verdicts(gate, resumed, wish("a")) == [Verdict.GRANTED]


async def test_with_its_memory_full_a_gate_reserves_nothing_and_still_stops_and_gives_back(gate: Any) -> None:
    """Denied before its first command, not somewhere in the middle."""
    sale = await opened(gate, limit_per_shopper=5)
    first = await granted(gate, sale, wish("a"))
    await granted(gate, sale, wish("b"))
    before = await gate.hgetall(sale_keys(sale.id).sale)
    await stock.release(gate, sale.id, [("s-b", "b")])  # the first write of the next one takes this unit back
    await gate.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            await stock.reserve(gate, sale.id, 1, [wish("c")])
        with pytest.raises(OutOfMemoryError):
            await register.probe(gate, [sale.id])
        assert await gate.zrange(sale_keys(sale.id).returned, 0, -1) == ["2"]
        assert await stock.confirm(gate, sale.id, [first.entry_id]) == 1
        assert await stock.release(gate, sale.id, [("s-a", "a")]) == [1]
        assert await stock.held(gate, sale.id) is not None
        assert await stock.brake(gate, sale.id, "b1", "anna") is not None
        paused = replace(sale, version=2, paused=True, knows_brake="b1")
        assert (await stock.publish(gate, paused, create=False))[0] is Publication.APPLIED
        assert await stock.fence(gate, sale.id, 1)
    finally:
        await gate.config_set("maxmemory", 0)
    assert before["issued"] == "2"
    await register.probe(gate, [sale.id])


async def test_a_process_that_has_seen_one_pulls_it_again_where_it_is_lost(publish: Publish) -> None:
    sale, memory = await publish(), Memory()
    pulled = await brakes.pull(sale.id, "anna")

    async def hold() -> Levels:
        sales = {sale.id: await catalogue.get(sale.id) or sale}
        await memory.hold({sale.id: await levels_of(redis(), sale)}, sales)
        return await levels_of(redis(), sale)

    assert (await hold()).brake == pulled.brake
    await redis().delete(*sale_keys(sale.id))
    assert (await hold()).brake == pulled.brake
    await publishing.publish(settings_of(id=sale.id, sku=sale.sku), knows_brake=pulled.brake.name)
    await redis().hdel(sale_keys(sale.id).sale, "brake")
    assert (await hold()).brake is None


async def test_one_that_was_let_go_while_nobody_looked_is_not_pulled_again_after_a_later_one(publish: Publish) -> None:
    sale, memory = await publish(), Memory()

    async def hold() -> Levels:
        await memory.hold({sale.id: await levels_of(redis(), sale)}, {sale.id: await catalogue.get(sale.id) or sale})
        return await levels_of(redis(), sale)

    first = await brakes.pull(sale.id, "anna")
    assert (await hold()).brake == first.brake
    await publishing.publish(settings_of(id=sale.id, sku=sale.sku), knows_brake=first.brake.name)
    second = await brakes.pull(sale.id, "anna")
    await publishing.publish(settings_of(id=sale.id, sku=sale.sku), knows_brake=second.brake.name)
    assert (await hold()).brake is None
    await redis().hdel(sale_keys(sale.id).sale, "epoch")
    assert (await hold()).brake is None


async def test_one_that_was_let_go_is_not_loaded_again_after_a_later_one(publish: Publish) -> None:
    sale = await publish()
    first = await brakes.pull(sale.id, "anna")
    await publishing.publish(settings_of(id=sale.id, sku=sale.sku), knows_brake=first.brake.name)
    assert await stock.brake(redis(), sale.id, "second", "anna") is not None  # the ledger is away and hears of none
    published = await publishing.publish(settings_of(id=sale.id, sku=sale.sku), knows_brake="second")
    assert published.sale.brake is None


async def test_levels_are_never_taken_for_another_sales(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    braked, other = await publish(), await publish()
    keeper, ask = Keeper(), stock.levels
    await keeper.look_at_ledger()
    pulled = await brakes.pull(braked.id, "anna")

    async def while_the_ledger_is_read(*args: Any) -> Any:
        answer = await ask(*args)
        keeper._sales = dict(reversed(keeper._sales.items()))  # a window has moved
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(stock, "levels", while_the_ledger_is_read)
        await keeper.look_at_gate()
    await keeper.look_at_gate()
    assert (await levels_of(redis(), other)).brake is None
    assert (await levels_of(redis(), braked)).brake == pulled.brake


async def test_a_process_forgets_what_is_no_longer_on_sale(publish: Publish) -> None:
    sale, memory = await publish(), Memory()
    await brakes.pull(sale.id, "anna")
    await memory.hold({sale.id: await levels_of(redis(), sale)}, {sale.id: sale})
    await memory.hold({}, {})
    assert not memory._seen


async def test_the_ledger_has_it_at_once(publish: Publish) -> None:
    sale = await publish()
    pulled = await brakes.pull(sale.id, "anna")
    found = await catalogue.get(sale.id)
    assert found is not None
    assert (pulled.is_noted, found.brake) == (True, pulled.brake)
    published = await publishing.publish(settings_of(id=sale.id, sku=sale.sku), knows_brake=pulled.brake.name)
    assert published.sale.brake is None
    await catalogue.note_brake(sale.id, pulled.brake)  # by somebody who is late
    assert (await catalogue.get(sale.id) or found).brake is None


async def silent_for(seconds: float) -> None:
    """As if gate and ledger had last agreed so long ago."""
    ago = [{"$set": {"agreed_at": {"$subtract": ["$$NOW", int(seconds * 1000)]}}}]
    await collection("state").update_one({"_id": "brakes"}, ago, upsert=True)


@pytest.fixture
async def nobody_watches(publish: Publish) -> Any:
    yield
    await collection("state").delete_many({})


@pytest.mark.parametrize("was_agreed_on", [False, True])
async def test_a_lost_gate_stays_paused_when_nobody_can_tell_whether_it_was_stopped(
    publish: Publish, nobody_watches: None, was_agreed_on: bool
) -> None:
    sale, fresh = await publish(), Keeper()
    if was_agreed_on:
        await Keeper().look_at_ledger()
    await redis().delete(GATE_NAME, *sale_keys(sale.id))
    await silent_for(60)
    assert not fresh.has_decided(sale.id)
    await fresh.look_at_ledger()
    assert fresh.has_decided(sale.id)
    found = await catalogue.get(sale.id)
    assert found is not None
    assert found.brake is not None
    assert brakes.is_unknown(found.brake)


async def test_a_gate_that_was_watched_until_it_went_is_known(publish: Publish, nobody_watches: None) -> None:
    sale, keeper = await publish(), Keeper()
    await keeper.look_at_ledger()
    await keeper.look_at_gate()
    await silent_for(60)
    await redis().delete(*sale_keys(sale.id))
    await keeper.look_at_gate()
    await keeper.look_at_ledger()
    assert (await catalogue.get(sale.id) or sale).brake is None


async def test_a_sale_published_while_the_gate_was_away_was_stopped_by_nobody(
    publish: Publish, nobody_watches: None
) -> None:
    await publish()
    await Keeper().look_at_ledger()
    new = await catalogue.save(settings_of())  # as `publish` leaves it with Redis away
    await silent_for(60)
    await Keeper().look_at_ledger()
    assert (await catalogue.get(new.id) or new).brake is None


@pytest.mark.parametrize("seconds", [0.0, None])
async def test_so_is_one_that_others_watched_or_that_could_not_be_stopped_before(
    publish: Publish, nobody_watches: None, seconds: float | None
) -> None:
    sale, fresh = await publish(), Keeper()
    if seconds is not None:
        await silent_for(seconds)
    await redis().delete(*sale_keys(sale.id))
    await fresh.look_at_ledger()
    assert (await catalogue.get(sale.id) or sale).brake is None


async def test_a_brake_pulled_while_the_ledger_was_away_is_noted_afterwards(
    publish: Publish, nobody_watches: None
) -> None:
    sale = await publish()
    brake = await stock.brake(redis(), sale.id, "b1", "anna")
    await silent_for(60)
    await Keeper().look_at_ledger()
    assert (await catalogue.get(sale.id) or sale).brake == brake
    await asyncio.sleep(0)
