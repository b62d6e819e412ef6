"""A gate built aside from orders that are read one after another, however many there are."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from flashdrop.redis_client import Gate
from sales import building, stock
from sales.building import ASIDE_SECONDS, Building, Holding, Units
from sales.gate import Load
from sales.keys import sale_keys
from sales.records import records
from sales.tests.test_stock import sale_of, wish

# A bit for each unit, and what is left of a part; a list of them took over 600.
BYTES_AN_ORDER = 8


@pytest.mark.parametrize("seed", range(20))
def test_units_are_a_set_with_its_gaps(seed: int) -> None:
    rng = random.Random(seed)
    chosen = set(rng.sample(range(1, 400), rng.randint(0, 399)))
    units = Units()
    for _ in range(2):
        units.add(chosen)
    highest = max(chosen, default=0)
    assert (units.count, units.highest) == (len(chosen), highest)
    assert list(units.free()) == [unit for unit in range(1, highest) if unit not in chosen]


async def test_orders_of_one_shopper_far_apart_are_joined(gate: Gate) -> None:
    sale = replace(sale_of(stock=5000, limit_per_shopper=3), epoch=2)
    everyone: list[Holding] = [(f"s-{number}", f"o-{number}", (number + 1,), (1,)) for number in range(2500)]
    more: list[Holding] = [("s-0", "second", (2601, 2603), (2, 3)), ("s-1", "other", (2602,), (2,))]
    await stock.fence(gate, sale.id, 1)
    assert await stock.load(gate, sale, [everyone[0], *everyone[2:], more[0], everyone[1], more[1]]) is Load.IN_FORCE
    held = await records(gate, sale.id)
    assert len(held) == 2502
    assert (held["second"].shopper_id, held["second"].units) == ("s-0", (2601, 2603))
    (mine,) = await stock.held_by(gate, [(sale.id, "s-0")])
    assert {order_id for order_id, _ in mine} == {"o-0", "second"}
    # Their limit holds, and the gap is sold before what is new.
    answers = await stock.reserve(gate, sale.id, 2, [wish("again", "s-0"), wish("new")])
    assert [answer.verdict.name for answer in answers] == ["LIMIT_EXCEEDED", "GRANTED"]
    assert answers[1].reservation is not None
    assert answers[1].reservation.units == (2501,)


async def test_a_build_that_breaks_off_leaves_nothing_in_force_and_goes_away(gate: Gate) -> None:
    sale = replace(sale_of(), epoch=2)

    async def breaks() -> AsyncIterator[Holding]:
        for number in range(1500):
            yield f"s-{number}", f"o-{number}", (number + 1,), (1,)
        raise OSError("the ledger is away")

    with pytest.raises(OSError, match="away"):
        await stock.load(gate, sale, breaks())
    _, (levels,) = await stock.levels(gate, [sale.id])
    assert not levels.loaded
    aside = Building(gate, sale).keys
    assert 0 < await gate.ttl(aside[0]) <= ASIDE_SECONDS
    assert await stock.load(gate, sale, [("s", "o", (1,), (1,))]) is Load.IN_FORCE
    assert set(await records(gate, sale.id)) == {"o"}
    assert await gate.exists(*aside) == 0
    assert await gate.ttl(sale_keys(sale.id).shoppers) == -1


async def test_whoever_builds_is_heard_of_after_each_part_of_the_gaps_too(gate: Gate) -> None:
    """So that nobody takes a long rebuild for dead and begins another."""
    sale, heard = replace(sale_of(stock=5000), epoch=2), 0

    async def hear() -> None:
        nonlocal heard
        heard += 1

    assert await stock.load(gate, sale, [("s", "o", (2501,), (1,))], hear) is Load.IN_FORCE
    assert heard == 1 + 3
    (answer,) = await stock.reserve(gate, sale.id, 2, [wish("first")])
    assert answer.reservation is not None
    assert answer.reservation.units == (1,)


async def test_what_is_held_in_memory_hardly_grows_with_the_orders(gate: Gate) -> None:
    async def peak(orders: int) -> int:
        def held() -> Iterator[Holding]:
            for number in range(orders):
                yield f"shopper-{number:020d}", f"order-{number:020d}", (number + 1,), (1,)

        sale = replace(sale_of(stock=orders), epoch=2)
        tracemalloc.start()
        try:
            assert await stock.load(gate, sale, held()) is Load.IN_FORCE
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = 2 * building.AT_ONCE, 22 * building.AT_ONCE
    await peak(few)  # what is made once
    # The least of some: whatever else lives in this process allocates meanwhile, too.
    grown = [await peak(many) - await peak(few) for _ in range(3)]
    assert min(grown) < (many - few) * BYTES_AN_ORDER
