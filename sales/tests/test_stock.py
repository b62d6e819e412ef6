"""The gate's scripts, on Valkey 9 and Redis 7."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import settings_of
from sales import stock
from sales.gate import Load, Publication, Reservation, Verdict, Wish
from sales.keys import sale_keys
from sales.published import PublishedSale


def sale_of(**changes: Any) -> PublishedSale:
    from dataclasses import asdict

    settings = settings_of()
    values = (
        asdict(settings)
        | {"version": 1, "epoch": 1, "available": 10, "highest_stock": 100, "highest_limit": 100}
        | changes
    )
    return PublishedSale(**values)


def wish(order: str, shopper: str | None = None, quantity: int = 1, is_guest: bool = False) -> Wish:
    return Wish(order, shopper or f"s-{order}", quantity, is_guest, '["sku","name","session",null]')


async def opened(gate: Any, **changes: Any) -> PublishedSale:
    sale = sale_of(**changes)
    assert (await stock.publish(gate, sale, create=True))[0] is Publication.APPLIED
    return sale


async def verdicts(gate: Any, sale: PublishedSale, *wishes: Wish) -> list[Verdict]:
    return [answer.verdict for answer in await stock.reserve(gate, sale.id, sale.epoch, wishes)]


async def granted(gate: Any, sale: PublishedSale, one: Wish) -> Reservation:
    (answer,) = await stock.reserve(gate, sale.id, sale.epoch, [one])
    assert answer.reservation is not None, answer.verdict
    return answer.reservation


async def test_units_are_numbered_in_arrival_order_and_logged(gate: Any) -> None:
    sale = await opened(gate, stock=3)
    answers = await stock.reserve(gate, sale.id, 1, [wish("a"), wish("b"), wish("c"), wish("d")])
    assert [a.verdict for a in answers] == [Verdict.GRANTED] * 3 + [Verdict.OUT_OF_STOCK]
    reservations = [a.reservation for a in answers if a.reservation]
    assert [r.units for r in reservations] == [(1,), (2,), (3,)]
    assert await stock.pending(gate, sale.id) == reservations
    assert abs(datetime.now(UTC) - reservations[0].reserved_at) < timedelta(seconds=5)
    assert (reservations[0].price_minor, reservations[0].currency) == (12900, "EUR")


async def test_the_same_order_id_is_known_whatever_the_time(gate: Any) -> None:
    sale = await opened(gate, stock=1)
    first = await granted(gate, sale, wish("a"))
    over = replace(sale, version=2, closes_at=datetime.now(UTC) - timedelta(seconds=1))
    await stock.publish(gate, over, create=False)
    (again,) = await stock.reserve(gate, sale.id, 1, [wish("a")])
    assert (again.verdict, again.entry_id) == (Verdict.KNOWN, first.entry_id)


async def test_the_same_order_id_twice_in_one_batch_takes_one_unit(gate: Any) -> None:
    sale = await opened(gate)
    assert await verdicts(gate, sale, wish("a"), wish("a")) == [Verdict.GRANTED, Verdict.KNOWN]
    assert (await stock.levels(gate, [sale.id]))[1][0].issued == 1


async def test_the_limit_counts_units_and_fills_the_lowest_slots(gate: Any) -> None:
    sale = await opened(gate, limit_per_shopper=3)
    assert (await granted(gate, sale, wish("a", "s"))).slots == (1,)
    assert (await granted(gate, sale, wish("b", "s", 2))).slots == (2, 3)
    assert await verdicts(gate, sale, wish("c", "s")) == [Verdict.LIMIT_EXCEEDED]
    assert await verdicts(gate, sale, wish("d", "t", 4)) == [Verdict.LIMIT_EXCEEDED]
    await stock.release(gate, sale.id, [("s", "a")])
    assert (await granted(gate, sale, wish("e", "s"))).slots == (1,)


async def test_more_than_what_is_left_takes_nothing(gate: Any) -> None:
    sale = await opened(gate, stock=3, limit_per_shopper=5)
    await granted(gate, sale, wish("a", quantity=2))
    assert await verdicts(gate, sale, wish("b", quantity=2), wish("c")) == [Verdict.OUT_OF_STOCK, Verdict.GRANTED]


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"published": False}, Verdict.UNPUBLISHED),
        ({"opens_at": NOW + timedelta(hours=1), "closes_at": NOW + timedelta(hours=2)}, Verdict.NOT_STARTED),
        ({"opens_at": NOW - timedelta(hours=2), "closes_at": NOW - timedelta(hours=1)}, Verdict.ENDED),
        ({"paused": True}, Verdict.PAUSED),
    ],
)
async def test_a_closed_sale_says_why(gate: Any, changes: dict[str, Any], verdict: Verdict) -> None:
    sale = await opened(gate, **changes)
    assert await verdicts(gate, sale, wish("a")) == [verdict]
    assert await stock.pending_count(gate, sale.id) == 0


async def test_the_window_opens_and_closes_by_the_gates_clock_to_the_instant(gate: Any) -> None:
    now, _ = await stock.levels(gate, [])
    sale = await opened(gate, opens_at=now + timedelta(seconds=0.3), closes_at=now + timedelta(seconds=0.6))
    seen: list[Verdict] = []
    while Verdict.ENDED not in seen:
        (verdict,) = await verdicts(gate, sale, wish(f"o{len(seen)}"))
        seen.append(verdict)
        await asyncio.sleep(0.01)
    assert seen == sorted(seen, key=[Verdict.NOT_STARTED, Verdict.GRANTED, Verdict.OUT_OF_STOCK, Verdict.ENDED].index)
    assert Verdict.GRANTED in seen
    for reservation in await stock.pending(gate, sale.id):
        assert sale.opens_at <= reservation.reserved_at + timedelta(milliseconds=1)
        assert reservation.reserved_at < sale.closes_at


async def test_guests_are_the_merchandisers_choice(gate: Any) -> None:
    sale = await opened(gate)
    assert await verdicts(gate, sale, wish("a", is_guest=True)) == [Verdict.GUESTS_REFUSED]
    await stock.publish(gate, replace(sale, version=2, guests_allowed=True), create=False)
    assert await verdicts(gate, sale, wish("a", is_guest=True)) == [Verdict.GRANTED]


async def test_another_epoch_or_no_gate_is_not_ready(gate: Any) -> None:
    sale = await opened(gate)
    assert await verdicts(gate, replace(sale, epoch=2), wish("a")) == [Verdict.NOT_READY]
    assert await verdicts(gate, sale_of(), wish("a")) == [Verdict.NOT_READY]
    assert await stock.fence(gate, sale.id, 0) is False
    assert await stock.fence(gate, sale.id, 1) is True
    assert await verdicts(gate, sale, wish("a")) == [Verdict.NOT_READY]


async def test_release_gives_back_once_and_only_what_is_held(gate: Any) -> None:
    sale = await opened(gate, stock=2)
    await granted(gate, sale, wish("a"))
    await granted(gate, sale, wish("b"))
    assert await stock.release(gate, sale.id, [("s-a", "b"), ("s-a", "a"), ("s-a", "a"), ("nobody", "x")]) == [
        0,
        1,
        0,
        0,
    ]
    assert [r.order_id for r in await stock.pending(gate, sale.id)] == ["b"]
    assert (await granted(gate, sale, wish("c"))).units == (1,)
    assert await verdicts(gate, sale, wish("d")) == [Verdict.OUT_OF_STOCK]


async def test_confirm_forgets_entries_and_keeps_the_units(gate: Any) -> None:
    sale = await opened(gate)
    reservation = await granted(gate, sale, wish("a"))
    assert await stock.confirm(gate, sale.id, [reservation.entry_id]) == 1
    assert await stock.confirm(gate, sale.id, [reservation.entry_id]) == 0
    assert await stock.pending_entry(gate, sale.id, reservation.entry_id) is None
    assert await stock.held_by(gate, [(sale.id, "s-a")]) == [[("a", reservation.entry_id)]]
    assert await verdicts(gate, sale, wish("z", "s-a")) == [Verdict.LIMIT_EXCEEDED]


async def test_only_a_newer_version_is_published(gate: Any) -> None:
    sale = await opened(gate, stock=10)
    newer = replace(sale, version=3, stock=30)
    assert await stock.publish(gate, newer, create=False) == (Publication.APPLIED, 30)
    assert await stock.publish(gate, replace(sale, version=2, stock=20), create=False) == (Publication.SUPERSEDED, 30)
    assert await stock.publish(gate, newer, create=True) == (Publication.SUPERSEDED, 30)
    assert await stock.publish(gate, sale_of(), create=False) == (Publication.NOT_LOADED, 0)
    assert await stock.publish(gate, replace(newer, version=9, epoch=2), create=True) == (Publication.NOT_LOADED, 0)


async def test_raised_stock_sells_on_a_sold_out_sale(gate: Any) -> None:
    sale = await opened(gate, stock=1)
    assert await verdicts(gate, sale, wish("a"), wish("b")) == [Verdict.GRANTED, Verdict.OUT_OF_STOCK]
    await stock.publish(gate, replace(sale, version=2, stock=2), create=False)
    assert (await granted(gate, sale, wish("b"))).units == (2,)


async def test_lowered_stock_stops_at_the_highest_unit_held(gate: Any) -> None:
    sale = await opened(gate, stock=10)
    for name in "abcde":
        await granted(gate, sale, wish(name))
    await stock.release(gate, sale.id, [("s-b", "b"), ("s-e", "e")])  # held: 1, 3, 4; free below: 2; 5 is forgotten
    assert await stock.publish(gate, replace(sale, version=2, stock=1), create=False) == (Publication.APPLIED, 4)
    _, (levels,) = await stock.levels(gate, [sale.id])
    assert (levels.stock, levels.issued, levels.available) == (4, 3, 1)
    assert (await granted(gate, sale, wish("f"))).units == (2,)
    assert await verdicts(gate, sale, wish("g")) == [Verdict.OUT_OF_STOCK]
    await stock.publish(gate, replace(sale, version=3, stock=6), create=False)
    assert [(await granted(gate, sale, wish(name))).units for name in "hi"] == [(5,), (6,)]


async def test_load_swaps_in_the_ledgers_state_over_an_older_epoch_only(gate: Any) -> None:
    sale = await opened(gate, stock=5, limit_per_shopper=2)
    for name in "abc":
        await granted(gate, sale, wish(name))
    rebuilt = replace(sale, epoch=2, version=4)
    held = [("s", "x", (2,), (1,)), ("s", "y", (4,), (2,)), ("t", "z", (5,), (1,))]
    assert await stock.load(gate, rebuilt, held) is Load.SUPERSEDED  # the gate still sells
    await stock.fence(gate, sale.id, 1)
    assert await stock.load(gate, rebuilt, held) is Load.UNSETTLED  # the log is not empty
    for entry in await stock.pending(gate, sale.id):
        await stock.confirm(gate, sale.id, [entry.entry_id])
    assert await stock.load(gate, rebuilt, held) is Load.IN_FORCE
    assert await stock.pending_count(gate, sale.id) == 0
    assert await verdicts(gate, sale, wish("q")) == [Verdict.NOT_READY]
    assert await verdicts(gate, rebuilt, wish("q", "s"), wish("y", "s")) == [Verdict.LIMIT_EXCEEDED, Verdict.KNOWN]
    assert [(await granted(gate, rebuilt, wish(name))).units for name in "mn"] == [(1,), (3,)]
    assert await verdicts(gate, rebuilt, wish("o")) == [Verdict.OUT_OF_STOCK]
    assert await stock.load(gate, rebuilt, []) is Load.SUPERSEDED
    assert (await stock.levels(gate, [sale.id]))[1][0].issued == 5
    assert await gate.ttl(sale_keys(sale.id).shoppers) == -1


async def test_load_of_a_sale_without_orders_is_empty(gate: Any) -> None:
    sale = sale_of(stock=2, epoch=3)
    assert await stock.load(gate, sale, []) is Load.IN_FORCE
    assert [(await granted(gate, sale, wish(name))).units for name in "ab"] == [(1,), (2,)]


async def test_a_rebuild_that_a_later_one_has_overtaken_is_not_loaded(gate: Any) -> None:
    sale = await opened(gate, stock=5)
    await stock.fence(gate, sale.id, 1)  # one rebuild begins, for epoch 2
    await stock.fence(gate, sale.id, 2)  # and another, for epoch 3
    assert await stock.load(gate, replace(sale, epoch=2), []) is Load.SUPERSEDED
    assert await stock.load(gate, replace(sale, epoch=3), []) is Load.IN_FORCE
    assert await stock.fence(gate, sale.id, 2) is False  # a late refusal of an older gate's unit
    assert await verdicts(gate, replace(sale, epoch=3), wish("a")) == [Verdict.GRANTED]


async def test_a_gate_that_was_stopped_is_not_created_anew(gate: Any) -> None:
    sale = await opened(gate, stock=5)
    await stock.fence(gate, sale.id, 1)
    assert await stock.publish(gate, replace(sale, version=2), create=True) == (Publication.NOT_LOADED, 0)


async def test_a_forgotten_script_is_loaded_again(gate: Any) -> None:
    sale = await opened(gate)
    await granted(gate, sale, wish("a"))
    await gate.script_flush()
    await granted(gate, sale, wish("b"))


async def test_many_at_once_never_oversell(gate: Any) -> None:
    sale = await opened(gate, stock=50)
    answers = await asyncio.gather(
        *(stock.reserve(gate, sale.id, 1, [wish(f"{i}-{j}") for j in range(5)]) for i in range(40))
    )
    units = [a.reservation.units[0] for batch in answers for a in batch if a.reservation]
    assert sorted(units) == list(range(1, 51))
    assert sum(a.verdict is Verdict.OUT_OF_STOCK for batch in answers for a in batch) == 150


async def test_canary_read_then_write_oversells(gate: Any) -> None:
    """Proof that the race above is real: without one atomic step the same load sells more than there is."""
    await gate.set("naive:stock", 50)
    sold = 0

    async def buy() -> None:
        nonlocal sold
        left = int(await gate.get("naive:stock"))
        if left > 0:
            await gate.set("naive:stock", left - 1)
            sold += 1

    await asyncio.gather(*(buy() for _ in range(200)))
    assert sold > 50
