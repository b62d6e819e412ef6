"""Waiting for MongoDB without ever cancelling a call of its driver."""

from __future__ import annotations

import asyncio

import pytest

from flashdrop.mongo_client import within


async def test_what_comes_in_time_is_returned() -> None:
    async def quick() -> int:
        return 7

    assert await within(1, quick()) == 7


async def test_what_is_late_is_left_to_end_by_itself() -> None:
    ended = asyncio.Event()

    async def slow() -> None:
        await asyncio.sleep(0.2)
        ended.set()

    with pytest.raises(TimeoutError):
        await within(0.05, slow())
    await asyncio.wait_for(ended.wait(), 1)


async def test_a_caller_that_is_cancelled_does_not_cancel_the_call() -> None:
    ended = asyncio.Event()

    async def slow() -> None:
        await asyncio.sleep(0.2)
        ended.set()

    caller = asyncio.create_task(within(5, slow()))
    await asyncio.sleep(0.05)
    caller.cancel()
    await asyncio.wait_for(ended.wait(), 1)


async def test_an_error_reaches_the_caller() -> None:
    async def broken() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await within(1, broken())
