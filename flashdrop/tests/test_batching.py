"""The micro-batcher: who travels with whom, what the bounds are, and that the work is never lost with its caller."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Sequence
from typing import Any

import pytest

from flashdrop.batching import Batcher, Overloaded


class Trips:
    """A flush that notes its batches and lands only when told to; `answer` turns an item into its result."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.landing = asyncio.Event()
        self.under_way = 0
        self.most_under_way = 0

    async def flush(self, batch: list[int]) -> list[str]:
        self.batches.append(batch)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.landing.wait()
        self.under_way -= 1
        return [f"r{item}" for item in batch]


async def turns(count: int = 6) -> None:
    """Let the loop go round, without any time passing."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_ready_now_shares_the_first_batch() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush)
    futures = [batcher.submit(item) for item in range(5)]
    trips.landing.set()
    assert await asyncio.gather(*futures) == ["r0", "r1", "r2", "r3", "r4"]
    assert trips.batches == [[0, 1, 2, 3, 4]]


async def test_what_arrives_meanwhile_travels_together_next() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, max_in_flight=1)
    first = batcher.submit(0)
    await turns()
    rest = []
    for item in range(1, 6):
        rest.append(batcher.submit(item))
        await turns(1)
    assert trips.batches == [[0]]
    trips.landing.set()
    assert await first == "r0"
    assert await asyncio.gather(*rest) == ["r1", "r2", "r3", "r4", "r5"]
    assert trips.batches == [[0], [1, 2, 3, 4, 5]]


async def test_the_order_of_arrival_is_kept_across_batches() -> None:
    trips = Trips()
    trips.landing.set()
    batcher = Batcher(trips.flush, max_batch=7)
    results = await asyncio.gather(*(batcher.submit(item) for item in range(100)))
    assert results == [f"r{item}" for item in range(100)]
    assert [item for batch in trips.batches for item in batch] == list(range(100))


async def test_no_batch_is_larger_than_max_batch() -> None:
    trips = Trips()
    trips.landing.set()
    batcher = Batcher(trips.flush, max_batch=4)
    await asyncio.gather(*(batcher.submit(item) for item in range(10)))
    assert [len(batch) for batch in trips.batches] == [4, 4, 2]


async def test_no_more_than_max_in_flight_at_once() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, max_batch=1, max_in_flight=2)
    futures = [batcher.submit(item) for item in range(5)]
    await turns()
    assert (trips.under_way, batcher.waiting) == (2, 3)
    trips.landing.set()
    await asyncio.gather(*futures)
    assert trips.most_under_way == 2


async def test_a_full_queue_refuses_at_once_and_takes_nothing_on() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, max_batch=1, max_in_flight=1, max_queue=2)
    flying = batcher.submit(0)
    await turns()
    queued = [batcher.submit(1), batcher.submit(2)]
    with pytest.raises(Overloaded):
        batcher.submit(3)
    assert batcher.waiting == 2
    trips.landing.set()
    assert await asyncio.gather(flying, *queued) == ["r0", "r1", "r2"]
    assert trips.batches == [[0], [1], [2]]


async def test_after_an_overload_there_is_room_again() -> None:
    trips = Trips()
    trips.landing.set()
    batcher = Batcher(trips.flush, max_queue=1)
    first = batcher.submit(0)
    with pytest.raises(Overloaded):
        batcher.submit(1)
    await first
    assert await batcher.submit(2) == "r2"


async def test_a_caller_cancelled_in_the_queue_does_not_cancel_the_work() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush)
    gone, stays = batcher.submit(0), batcher.submit(1)
    gone.cancel()
    trips.landing.set()
    assert await stays == "r1"
    assert trips.batches == [[0, 1]]


async def test_a_caller_cancelled_in_flight_does_not_cancel_the_work() -> None:
    landed: list[int] = []
    landing = asyncio.Event()

    async def flush(batch: list[int]) -> list[int]:
        await landing.wait()
        landed.extend(batch)
        return batch

    batcher = Batcher(flush)

    async def call(item: int) -> int:
        return await batcher.submit(item)

    gone, stays = asyncio.create_task(call(0)), asyncio.create_task(call(1))
    await turns()
    gone.cancel()
    await turns()
    landing.set()
    assert await stays == 1
    assert landed == [0, 1]
    assert gone.cancelled()


async def test_an_exception_reaches_every_caller_of_its_batch_and_no_other() -> None:
    async def flush(batch: list[int]) -> list[int]:
        if 2 in batch:
            raise ValueError("the store said no")
        return batch

    batcher = Batcher(flush, max_batch=2)
    found = await asyncio.gather(*(batcher.submit(item) for item in range(6)), return_exceptions=True)
    assert [item for item in found if isinstance(item, int)] == [0, 1, 4, 5]
    assert [str(item) for item in found[2:4]] == ["the store said no"] * 2


async def test_after_an_exception_the_next_batch_flies() -> None:
    async def flush(batch: list[int]) -> list[int]:
        if batch == [0]:
            raise ValueError
        return batch

    batcher = Batcher(flush, max_in_flight=1)
    with pytest.raises(ValueError, match=r"^$"):
        await batcher.submit(0)
    assert await batcher.submit(1) == 1


@pytest.mark.parametrize("answered", [0, 1, 3])
async def test_a_flush_that_answers_too_few_or_too_many_is_an_error_for_all(answered: int) -> None:
    async def flush(batch: list[int]) -> Sequence[int]:
        return [7] * answered

    batcher = Batcher(flush)
    found = await asyncio.gather(batcher.submit(0), batcher.submit(1), return_exceptions=True)
    assert [str(item) for item in found] == [f"flush answered {answered} of 2 items"] * 2


async def test_drain_waits_for_what_flies_and_what_waits() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, max_batch=1, max_in_flight=1)
    futures = [batcher.submit(item) for item in range(3)]
    await turns()
    draining = asyncio.create_task(batcher.drain())
    await turns()
    assert not draining.done()
    trips.landing.set()
    await asyncio.wait_for(draining, 5)
    assert all(future.done() for future in futures)
    assert batcher.waiting == 0


async def test_drain_waits_for_what_was_submitted_an_instant_ago() -> None:
    trips = Trips()
    trips.landing.set()
    batcher = Batcher(trips.flush)
    future = batcher.submit(0)
    await asyncio.wait_for(batcher.drain(), 5)
    assert future.done()


async def test_drain_of_an_idle_batcher_returns_at_once() -> None:
    await asyncio.wait_for(Batcher(Trips().flush).drain(), 1)


async def test_drain_ends_although_a_flush_fails() -> None:
    async def flush(batch: list[int]) -> list[int]:
        raise ValueError

    batcher = Batcher(flush)
    future = batcher.submit(0)
    await asyncio.wait_for(batcher.drain(), 5)
    assert isinstance(future.exception(), ValueError)


async def test_an_idle_batcher_answers_without_waiting_for_time_to_pass() -> None:
    async def flush(batch: list[int]) -> list[int]:
        return batch

    future = Batcher(flush).submit(0)
    await turns(4)
    assert future.done()


async def test_a_failure_nobody_waits_for_makes_no_warning() -> None:
    class Ours(Exception):
        pass

    async def flush(batch: list[int]) -> list[int]:
        raise Ours

    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    try:
        batcher = Batcher(flush)
        batcher.submit(0).cancel()
        batcher.submit(1)
        await batcher.drain()
        await turns()
        gc.collect()
    finally:
        loop.set_exception_handler(before)
    assert [one for one in complaints if isinstance(one.get("exception"), Ours)] == []


async def test_what_nobody_waits_for_is_left_out_where_that_was_asked_for() -> None:
    trips = Trips()
    batcher: Batcher[int, str] = Batcher(trips.flush, max_in_flight=1, skips_abandoned=True)
    first = batcher.submit(1)
    await turns()
    gone, kept = batcher.submit(2), batcher.submit(3)
    gone.cancel()
    trips.landing.set()
    assert [await first, await kept] == ["r1", "r3"]
    assert trips.batches == [[1], [3]]


async def test_a_batch_that_nobody_waits_for_does_not_fly() -> None:
    trips = Trips()
    batcher: Batcher[int, str] = Batcher(trips.flush, skips_abandoned=True)
    batcher.submit(1).cancel()
    await batcher.drain()
    assert trips.batches == []


# A second flight


async def test_beside_the_first_flight_only_a_full_one_leaves() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, max_batch=3)
    futures = [batcher.submit(0)]
    await turns()
    for item in (1, 2):
        futures.append(batcher.submit(item))
        await turns()
    assert trips.batches == [[0]]
    futures.append(batcher.submit(3))
    await turns()
    assert trips.batches == [[0], [1, 2, 3]]
    trips.landing.set()
    assert await asyncio.gather(*futures) == ["r0", "r1", "r2", "r3"]


async def test_a_third_does_not_leave_however_full() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, max_batch=2)
    futures = [batcher.submit(item) for item in range(9)]
    await turns()
    assert (trips.batches, batcher.waiting) == ([[0, 1], [2, 3]], 5)
    trips.landing.set()
    await asyncio.gather(*futures)
    assert trips.most_under_way == 2


async def test_after_a_landing_what_waits_leaves_although_it_is_not_full() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, max_batch=3)
    first = batcher.submit(0)
    await turns()
    second = batcher.submit(1)
    trips.landing.set()
    assert [await first, await second] == ["r0", "r1"]
    assert trips.batches == [[0], [1]]


async def test_what_waits_behind_a_full_flight_leaves_when_the_first_of_them_lands() -> None:
    landings = [asyncio.Event() for _ in range(3)]
    batches: list[list[int]] = []

    async def flush(batch: list[int]) -> list[int]:
        batches.append(batch)
        await landings[len(batches) - 1].wait()
        return batch

    batcher = Batcher(flush, max_batch=2)
    futures = [batcher.submit(item) for item in range(5)]
    await turns()
    assert batches == [[0, 1], [2, 3]]
    landings[1].set()
    await turns()
    assert batches == [[0, 1], [2, 3]], "one is under way, and what waits is not full"
    landings[0].set()
    await turns()
    assert batches == [[0, 1], [2, 3], [4]]
    landings[2].set()
    assert await asyncio.gather(*futures) == [0, 1, 2, 3, 4]


# Patience

PATIENCE_SECONDS = 0.2


async def test_whose_patience_ends_hears_so_and_the_work_goes_on() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, patience_seconds=PATIENCE_SECONDS)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await batcher.submit(0)
    assert PATIENCE_SECONDS * 0.9 <= time.monotonic() - started < 1.0
    assert trips.under_way == 1
    trips.landing.set()
    await asyncio.wait_for(batcher.drain(), 5)
    assert trips.under_way == 0


async def test_waiting_in_the_queue_takes_patience_too() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, max_in_flight=1, patience_seconds=PATIENCE_SECONDS)
    found = await asyncio.gather(batcher.submit(0), batcher.submit(1), return_exceptions=True)
    assert [type(error) for error in found] == [TimeoutError] * 2
    trips.landing.set()
    await batcher.drain()


async def test_each_has_patience_from_their_own_beginning() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, patience_seconds=PATIENCE_SECONDS)
    early = batcher.submit(0)
    await asyncio.sleep(PATIENCE_SECONDS * 0.7)
    late = batcher.submit(1)
    with pytest.raises(TimeoutError):
        await early
    assert not late.done()
    trips.landing.set()
    assert await late == "r1"


async def test_an_answer_in_time_is_the_answer() -> None:
    trips = Trips()
    trips.landing.set()
    batcher = Batcher(trips.flush, patience_seconds=PATIENCE_SECONDS)
    futures = [batcher.submit(item) for item in range(3)]
    await asyncio.gather(*futures)
    await asyncio.sleep(PATIENCE_SECONDS * 1.5)
    assert [future.result() for future in futures] == ["r0", "r1", "r2"]


async def test_nobody_is_remembered_longer_than_their_patience() -> None:
    trips = Trips()
    trips.landing.set()
    batcher = Batcher(trips.flush, patience_seconds=PATIENCE_SECONDS)
    for item in range(5):
        await batcher.submit(item)
        await asyncio.sleep(PATIENCE_SECONDS / 4)
    await asyncio.sleep(PATIENCE_SECONDS * 1.5)
    assert (list(batcher._patience), batcher._patience_timer) == ([], None)
    with pytest.raises(TimeoutError):  # and the next one is
        trips.landing.clear()
        await batcher.submit(5)
    trips.landing.set()
    await batcher.drain()


async def test_who_gave_up_in_the_queue_is_left_out_where_that_was_asked_for() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, max_in_flight=1, patience_seconds=PATIENCE_SECONDS, skips_abandoned=True)
    for item in (0, 1):
        with pytest.raises(TimeoutError):
            await batcher.submit(item)
    last = batcher.submit(2)
    trips.landing.set()
    assert await last == "r2"
    assert trips.batches == [[0], [2]]


async def test_without_patience_nobody_gives_up() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush)
    future = batcher.submit(0)
    await asyncio.sleep(PATIENCE_SECONDS)
    assert not future.done()
    trips.landing.set()
    assert await future == "r0"


async def test_patience_that_ends_unheard_makes_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, patience_seconds=PATIENCE_SECONDS)
    batcher.submit(0)
    await asyncio.sleep(PATIENCE_SECONDS * 1.5)
    trips.landing.set()
    await batcher.drain()
    gc.collect()
    assert caplog.records == []


# Results that come late


async def test_a_late_result_is_told() -> None:
    trips, late = Trips(), list[str]()
    batcher = Batcher(trips.flush, patience_seconds=PATIENCE_SECONDS, on_late=late.append)
    with pytest.raises(TimeoutError):
        await batcher.submit(0)
    assert late == []
    trips.landing.set()
    await batcher.drain()
    assert late == ["r0"]


async def test_a_result_that_somebody_heard_is_not_late() -> None:
    trips, late = Trips(), list[str]()
    batcher = Batcher(trips.flush, patience_seconds=PATIENCE_SECONDS, on_late=late.append)
    gone = batcher.submit(0)
    await asyncio.sleep(PATIENCE_SECONDS * 0.7)
    stays = batcher.submit(1)
    with pytest.raises(TimeoutError):
        await gone
    trips.landing.set()
    assert await stays == "r1"
    assert late == ["r0"]


async def test_the_result_of_a_caller_who_was_cancelled_is_late() -> None:
    trips, late = Trips(), list[str]()
    batcher = Batcher(trips.flush, on_late=late.append)
    batcher.submit(0).cancel()
    trips.landing.set()
    await batcher.drain()
    assert late == ["r0"]


async def test_of_a_flush_that_fails_there_is_no_late_result() -> None:
    landing, late = asyncio.Event(), list[int]()

    async def flush(batch: list[int]) -> list[int]:
        await landing.wait()
        raise ValueError

    batcher = Batcher(flush, patience_seconds=PATIENCE_SECONDS, on_late=late.append)
    with pytest.raises(TimeoutError):
        await batcher.submit(0)
    landing.set()
    await batcher.drain()
    assert late == []


async def test_a_failure_over_a_late_result_is_not_the_other_callers() -> None:
    def fail(result: str) -> None:
        raise LookupError

    trips, complaints = Trips(), []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    try:
        batcher = Batcher(trips.flush, on_late=fail)
        batcher.submit(0).cancel()
        stays = batcher.submit(1)
        trips.landing.set()
        assert await asyncio.wait_for(stays, 1) == "r1"
        await batcher.drain()
        gc.collect()
        await turns()
    finally:
        loop.set_exception_handler(before)
    assert complaints, "it must not be passed over in silence either"


# Handing over


async def test_what_is_handed_over_travels_with_the_rest_in_order() -> None:
    trips = Trips()
    trips.landing.set()
    batcher = Batcher(trips.flush)
    first = batcher.submit(0)
    batcher.hand_over([1, 2])
    last = batcher.submit(3)
    assert [await first, await last] == ["r0", "r3"]
    assert trips.batches == [[0, 1, 2, 3]]


async def test_more_than_one_batch_may_be_handed_over() -> None:
    trips = Trips()
    trips.landing.set()
    batcher = Batcher(trips.flush, max_batch=2)
    batcher.hand_over([0, 1, 2])
    await batcher.drain()
    assert sorted(item for batch in trips.batches for item in batch) == [0, 1, 2]


async def test_handing_over_what_does_not_fit_takes_nothing_on() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush, max_batch=1, max_in_flight=1, max_queue=3)
    batcher.submit(0)
    await turns()
    batcher.hand_over([1])
    with pytest.raises(Overloaded):
        batcher.hand_over([2, 3, 4])
    assert batcher.waiting == 1
    batcher.hand_over([5, 6])
    trips.landing.set()
    await batcher.drain()
    assert trips.batches == [[0], [1], [5], [6]]


async def test_handing_over_nothing_does_nothing() -> None:
    trips = Trips()
    batcher = Batcher(trips.flush)
    batcher.hand_over([])
    await turns()
    await asyncio.wait_for(batcher.drain(), 1)
    assert trips.batches == []


async def test_what_is_handed_over_is_never_late_and_never_left_out() -> None:
    trips, late = Trips(), list[str]()
    trips.landing.set()
    batcher = Batcher(trips.flush, patience_seconds=PATIENCE_SECONDS, skips_abandoned=True, on_late=late.append)
    batcher.hand_over([0, 1])
    await batcher.drain()
    assert (trips.batches, late) == ([[0, 1]], [])


async def test_the_failure_of_what_was_handed_over_is_logged_and_reaches_who_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def flush(batch: list[int]) -> list[int]:
        raise ValueError("the store said no")

    batcher = Batcher(flush)
    batcher.hand_over([0])
    waits = batcher.submit(1)
    with caplog.at_level(logging.WARNING), pytest.raises(ValueError, match="said no"):
        await waits
    assert "the store said no" in caplog.text
    assert len(caplog.records) == 1
