"""A background loop outlives whatever happens in it, and says so."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from conftest import eventually
from flashdrop import supervised
from flashdrop.supervised import FAILURES, Loop


def failures(name: str) -> float:
    return FAILURES.labels(name)._value.get()  # type: ignore[no-any-return]


class Rounds:
    """Rounds that raise what they are told to."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors = list(errors)
        self.done = 0

    async def __call__(self) -> None:
        await asyncio.sleep(0.01)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.done += 1


@pytest.mark.parametrize("error", [KeyError(7), RuntimeError("no"), asyncio.CancelledError(), TimeoutError()])
async def test_a_round_that_raises_is_told_and_the_loop_goes_on(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    rounds, before = Rounds(None, error), failures("probe")
    with caplog.at_level(logging.ERROR):
        loop = Loop("probe", rounds)

        async def failed() -> bool:
            return loop.is_failing

        await eventually(failed)
        assert "probe" in supervised.failing()

        async def goes_on() -> bool:
            return rounds.done >= 2

        await eventually(goes_on)
        assert supervised.failing() == []
        await loop.stop()
    assert failures("probe") == before + 1
    assert "background loop probe failed" in caplog.text


async def test_one_that_always_fails_leaves_the_processor_alone(caplog: pytest.LogCaptureFixture) -> None:
    loop, before = Loop("hopeless", Rounds(*[KeyError(number) for number in range(1000)])), failures("hopeless")
    await asyncio.sleep(1)
    assert 1 < failures("hopeless") - before < 8
    await loop.stop()
    assert "hopeless" not in supervised.failing()


async def test_one_that_hangs_is_in_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "STUCK_SECONDS", 0.1)
    loop = Loop("hangs", asyncio.Event().wait)

    async def noticed() -> bool:
        return "hangs" in supervised.failing()

    await eventually(noticed)
    await loop.stop()


async def test_stopping_ends_it_at_once_even_while_it_pauses() -> None:
    loop = Loop("stopped", Rounds(*[KeyError(number) for number in range(1000)]))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(0.1):
        await loop.stop()
        await loop.stop()


async def test_stopping_ends_one_that_answers_in_place_of_being_cancelled() -> None:
    """As the Redis client does, when an answer arrives at that moment."""

    async def answers() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)

    loop = Loop("answers", answers)
    await asyncio.sleep(0.01)
    await asyncio.wait_for(loop.stop(), 2)
