"""One instance for each event loop, closed with it."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref

import pytest

from flashdrop import loops
from flashdrop.loops import PerLoop


class Part:
    """Something that belongs to a loop; notes in `order` when it is closed."""

    def __init__(self, name: str, order: list[str]) -> None:
        self.name = name
        self.order = order
        self.loop = asyncio.get_running_loop()

    async def close(self) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.order.append(self.name)


def part(name: str, order: list[str]) -> PerLoop[Part]:
    return PerLoop(lambda: Part(name, order), Part.close)


def test_a_loop_has_one_instance_and_another_loop_another() -> None:
    of = part("a", [])

    async def twice() -> tuple[Part, Part]:
        return of(), of()

    one, same = loops.run(twice)
    other, _ = loops.run(twice)
    assert one is same
    assert other is not one


def test_two_factories_do_not_share_an_instance() -> None:
    first, second = part("a", []), part("b", [])

    async def both() -> tuple[str, str]:
        return first().name, second().name

    assert loops.run(both) == ("a", "b")


def test_nothing_is_made_before_its_first_use() -> None:
    made: list[int] = []
    PerLoop(lambda: made.append(1))

    async def nothing() -> None:
        return

    loops.run(nothing)
    assert made == []


def test_what_was_made_last_is_closed_first() -> None:
    order: list[str] = []
    first, second, third = part("a", order), part("b", order), part("c", order)

    async def work() -> None:
        first(), second(), third(), first()

    loops.run(work)
    assert order == ["c", "b", "a"]


def test_what_has_no_close_is_left_alone() -> None:
    of = PerLoop(object)

    async def work() -> None:
        of()

    loops.run(work)


def test_a_failure_to_close_is_logged_and_does_not_stop_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []

    async def fail(_: object) -> None:
        raise OSError("it is stuck")

    kept, stuck = part("a", order), PerLoop(object, fail)

    async def work() -> None:
        kept(), stuck()

    with caplog.at_level(logging.ERROR):
        loops.run(work)
    assert order == ["a"]
    assert "it is stuck" in caplog.text


def test_after_closing_a_new_instance_is_made() -> None:
    order: list[str] = []
    of = part("a", order)

    async def work() -> bool:
        before = of()
        await loops.close_all()
        return of() is before

    assert loops.run(work) is False
    assert order == ["a", "a"]


def test_closing_twice_closes_once() -> None:
    order: list[str] = []
    of = part("a", order)

    async def work() -> None:
        of()
        await loops.close_all()
        await loops.close_all()

    loops.run(work)
    assert order == ["a"]


def test_run_returns_the_result_and_passes_on_the_exception() -> None:
    order: list[str] = []
    of = part("a", order)

    async def answer() -> int:
        of()
        return 42

    async def fail() -> None:
        of()
        raise LookupError("not there")

    assert loops.run(answer) == 42
    with pytest.raises(LookupError, match="not there"):
        loops.run(fail)
    assert order == ["a", "a"]


async def test_a_thread_has_a_loop_of_its_own() -> None:
    of = part("a", [])

    async def inside() -> Part:
        return of()

    assert await asyncio.to_thread(loops.run, inside) is not of()


async def test_two_loops_that_ask_in_turn_keep_their_own() -> None:
    of = part("a", [])
    mine = of()

    async def inside() -> tuple[Part, Part]:
        return of(), of()

    for _ in range(3):
        theirs, again = await asyncio.to_thread(loops.run, inside)
        assert theirs is again is not mine
        assert of() is mine


async def test_closing_one_loop_closes_nothing_of_another() -> None:
    order: list[str] = []
    of = part("a", order)
    mine = of()

    async def inside() -> None:
        of()

    await asyncio.to_thread(loops.run, inside)
    assert order == ["a"]
    assert of() is mine


def test_what_closes_last_may_be_used_until_then() -> None:
    """A batcher drains into the stores."""
    order: list[str] = []
    store = part("store", order)
    used: list[Part] = []

    async def drain(_: object) -> None:
        used.append(store())
        order.append("batcher")

    batcher = PerLoop(object, drain)

    async def work() -> Part:
        made = store()
        batcher()
        return made

    assert loops.run(work) is used[0]
    assert order == ["batcher", "store"]


def test_a_thread_that_asks_between_our_two_looks_does_not_get_us_its_own() -> None:
    """The instance that is remembered, and the loop it is remembered for, are looked at as one."""
    of = part("a", [])

    async def work() -> bool:
        mine, loop = of(), asyncio.get_running_loop()

        def look() -> asyncio.AbstractEventLoop:
            of._last = (lambda: None, "another loop's")  # type: ignore[assignment]
            return loop

        of._last = (look, mine)  # type: ignore[assignment]
        return of() is mine

    assert loops.run(work)


def test_of_a_loop_that_is_gone_nothing_is_kept() -> None:
    of = part("a", [])

    async def work() -> weakref.ref[Part]:
        return weakref.ref(of())

    gone = loops.run(work)
    gc.collect()
    assert gone() is None
