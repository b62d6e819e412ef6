"""The hub: the latest value wins, and nobody waits for anybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import sales.hub
from conftest import eventually
from sales.hub import Hub, Viewer


class Screen:
    """The far end of a socket: keeps what it was sent; reads nothing while `reads` is cleared."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.closed_with: list[int] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.viewer = Viewer(self._send, self._close)

    async def _send(self, text: str) -> None:
        self.texts.append(text)
        await self.reads.wait()

    async def _close(self, code: int) -> None:
        self.closed_with.append(code)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    made = Hub()
    yield made
    await made.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """Slow is whoever takes longer than this."""
    monkeypatch.setattr(sales.hub, "SLOW_SECONDS", 0.1)
    return 0.1


def watching(hub: Hub, sale_id: str = "a") -> Screen:
    screen = Screen()
    hub.join(sale_id, screen.viewer)
    return screen


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_every_viewer_of_a_sale_gets_its_texts_and_no_others(hub: Hub) -> None:
    one, two, other = watching(hub), watching(hub), watching(hub, "b")
    hub.publish("a", "1")
    await turns()
    assert (one.texts, two.texts, other.texts) == (["1"], ["1"], [])


async def test_a_sale_nobody_watches_may_be_published(hub: Hub) -> None:
    hub.publish("nobody", "1")
    assert not hub.has_viewers("nobody")


async def test_a_busy_viewer_skips_to_the_latest(hub: Hub) -> None:
    screen = watching(hub)
    screen.reads.clear()
    hub.publish("a", "1")
    await turns()
    for text in ("2", "3", "4"):
        hub.publish("a", text)
        await turns()
    screen.reads.set()
    await turns()
    assert screen.texts == ["1", "4"]


async def test_texts_published_in_one_breath_arrive_as_the_last(hub: Hub) -> None:
    screen = watching(hub)
    hub.publish("a", "1")
    hub.publish("a", "2")
    await turns()
    assert screen.texts == ["2"]


async def test_a_viewer_that_does_not_read_does_not_delay_the_others(hub: Hub) -> None:
    stuck, brisk = watching(hub), watching(hub)
    stuck.reads.clear()
    for text in ("1", "2", "3"):
        hub.publish("a", text)
        await turns()
    assert brisk.texts == ["1", "2", "3"]
    assert stuck.texts == ["1"]


async def test_a_viewer_that_stays_slow_is_dropped_with_try_again_later(hub: Hub, impatient: float) -> None:
    stuck, brisk = watching(hub), watching(hub)
    stuck.reads.clear()
    hub.publish("a", "1")
    await asyncio.sleep(2 * impatient)
    hub.publish("a", "2")

    async def dropped() -> bool:
        return stuck.closed_with == [1013]

    await eventually(dropped, 1)
    assert hub.count() == 1
    assert (brisk.texts, brisk.closed_with) == (["1", "2"], [])


async def test_a_viewer_that_has_read_everything_is_never_slow(hub: Hub, impatient: float) -> None:
    screen = watching(hub)
    hub.publish("a", "1")
    await asyncio.sleep(2 * impatient)
    hub.publish("a", "2")
    await turns()
    assert (screen.texts, screen.closed_with) == (["1", "2"], [])


async def test_a_client_that_is_gone_disturbs_nobody(hub: Hub) -> None:
    async def broken(text: str) -> None:
        raise ConnectionResetError

    async def close(code: int) -> None:
        raise ConnectionResetError

    gone, brisk = Viewer(broken, close), watching(hub)
    hub.join("a", gone)
    for text in ("1", "2"):
        hub.publish("a", text)
        await turns()
    assert brisk.texts == ["1", "2"]
    hub.leave("a", gone)
    assert hub.count() == 1


async def test_who_has_left_gets_nothing_and_may_leave_again(hub: Hub) -> None:
    screen = watching(hub)
    hub.leave("a", screen.viewer)
    hub.leave("a", screen.viewer)
    hub.publish("a", "1")
    await turns()
    assert screen.texts == []
    assert not hub.has_viewers("a")


async def test_closing_sends_everybody_away_with_service_restart(hub: Hub) -> None:
    screens = [watching(hub, sale_id) for sale_id in "aab"]
    screens[0].reads.clear()
    hub.publish("a", "1")
    await turns()
    await hub.close()
    assert [screen.closed_with for screen in screens] == [[1012]] * 3
    assert hub.count() == 0


async def test_closing_does_not_wait_for_a_socket_that_hangs(hub: Hub) -> None:
    async def send(text: str) -> None:
        return

    async def hang(code: int) -> None:
        await asyncio.Event().wait()

    hub.join("a", Viewer(send, hang))
    screen = watching(hub)
    await asyncio.wait_for(hub.close(), 5)
    assert screen.closed_with == [1012]
