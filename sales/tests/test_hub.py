"""The hub: the latest value wins, nobody waits for anybody else, and nobody is told the same twice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable

import pytest

import sales.hub
from conftest import eventually
from flashdrop.config import BASE_DIR
from flashdrop.wire_socket import text_frame
from sales.hub import BEAT, Hub, News, Viewer


class Screen:
    """The far end of a socket: keeps what it was sent; reads nothing while `reads` is cleared.

    One that `takes_frames` is reached by a server that can push.
    """

    def __init__(self, takes_frames: bool = False, hears_beats: bool = False) -> None:
        self.texts: list[str] = []
        self.frames: list[bytes] = []
        self.closed_with: list[int] = []
        self.reads = asyncio.Event()
        self.reads.set()
        push = self._push if takes_frames else None
        self.viewer = Viewer(self._send, self._close, push, hears_beats=hears_beats)

    async def _send(self, text: str) -> None:
        self.texts.append(text)
        await self.reads.wait()

    async def _close(self, code: int) -> None:
        self.closed_with.append(code)

    def _push(self, frame: bytes) -> bool:
        if self.reads.is_set():
            self.frames.append(frame)
        return self.reads.is_set()


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


def watching(hub: Hub, sale_id: str = "a", takes_frames: bool = False, hears_beats: bool = False) -> Screen:
    screen = Screen(takes_frames, hears_beats)
    hub.join(sale_id, screen.viewer)
    return screen


def just(text: str) -> Callable[[str], str]:
    """The same text in every language."""
    return lambda language: text


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> float:
    """Who was told nothing for this long gets a beat."""
    monkeypatch.setattr(sales.hub, "BEAT_SECONDS", 0.05)
    return 0.05


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_every_viewer_of_a_sale_gets_its_texts_and_no_others(hub: Hub) -> None:
    one, two, other = watching(hub), watching(hub), watching(hub, "b")
    hub.publish("a", just("1"))
    await turns()
    assert (one.texts, two.texts, other.texts) == (["1"], ["1"], [])


async def test_a_sale_nobody_watches_may_be_published(hub: Hub) -> None:
    hub.publish("nobody", just("1"))
    assert not hub.has_viewers("nobody")


async def test_a_busy_viewer_skips_to_the_latest(hub: Hub) -> None:
    screen = watching(hub)
    screen.reads.clear()
    hub.publish("a", just("1"))
    await turns()
    for text in ("2", "3", "4"):
        hub.publish("a", just(text))
        await turns()
    screen.reads.set()
    await turns()
    assert screen.texts == ["1", "4"]


async def test_texts_published_in_one_breath_arrive_as_the_last(hub: Hub) -> None:
    screen = watching(hub)
    hub.publish("a", just("1"))
    hub.publish("a", just("2"))
    await turns()
    assert screen.texts == ["2"]


async def test_a_viewer_that_does_not_read_does_not_delay_the_others(hub: Hub) -> None:
    stuck, brisk = watching(hub), watching(hub)
    stuck.reads.clear()
    for text in ("1", "2", "3"):
        hub.publish("a", just(text))
        await turns()
    assert brisk.texts == ["1", "2", "3"]
    assert stuck.texts == ["1"]


async def test_a_viewer_that_stays_slow_is_dropped_with_try_again_later(hub: Hub, impatient: float) -> None:
    stuck, brisk = watching(hub), watching(hub)
    stuck.reads.clear()
    hub.publish("a", just("1"))
    await asyncio.sleep(2 * impatient)
    hub.publish("a", just("2"))

    async def dropped() -> bool:
        return stuck.closed_with == [1013]

    await eventually(dropped, 1)
    assert hub.count() == 1
    assert (brisk.texts, brisk.closed_with) == (["1", "2"], [])


async def test_a_viewer_that_has_read_everything_is_never_slow(hub: Hub, impatient: float) -> None:
    screen = watching(hub)
    hub.publish("a", just("1"))
    await asyncio.sleep(2 * impatient)
    hub.publish("a", just("2"))
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
        hub.publish("a", just(text))
        await turns()
    assert brisk.texts == ["1", "2"]
    hub.leave("a", gone)
    assert hub.count() == 1


async def test_who_has_left_gets_nothing_and_may_leave_again(hub: Hub) -> None:
    screen = watching(hub)
    hub.leave("a", screen.viewer)
    hub.leave("a", screen.viewer)
    hub.publish("a", just("1"))
    await turns()
    assert screen.texts == []
    assert not hub.has_viewers("a")


async def test_closing_sends_everybody_away_with_service_restart(hub: Hub) -> None:
    screens = [watching(hub, sale_id) for sale_id in "aab"]
    screens[0].reads.clear()
    hub.publish("a", just("1"))
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


# Ready frames


async def test_a_text_is_pushed_as_a_ready_frame_where_the_server_can(hub: Hub) -> None:
    one, other = watching(hub, takes_frames=True), watching(hub, takes_frames=True)
    hub.publish("a", just("1"))
    assert (one.frames, one.texts) == ([text_frame("1")], [])
    assert one.frames[0] is other.frames[0], "framed once for all"


async def test_what_can_not_be_pushed_is_sent(hub: Hub) -> None:
    screen = watching(hub, takes_frames=True)
    screen.reads.clear()
    hub.publish("a", just("1"))
    await turns()
    assert (screen.frames, screen.texts) == ([], ["1"])


async def test_nothing_is_pushed_past_a_text_that_is_still_being_sent(hub: Hub) -> None:
    screen = watching(hub, takes_frames=True)
    screen.reads.clear()
    hub.publish("a", just("1"))
    await turns()
    screen.reads.set()
    for text in ("2", "3"):
        hub.publish("a", just(text))
    assert screen.frames == []
    await turns()
    assert screen.texts == ["1", "3"]


async def test_after_a_text_was_sent_the_next_is_pushed_again(hub: Hub) -> None:
    screen = watching(hub, takes_frames=True)
    screen.reads.clear()
    hub.publish("a", just("1"))
    screen.reads.set()
    await turns()
    hub.publish("a", just("2"))
    await turns()
    assert (screen.texts, screen.frames) == (["1"], [text_frame("2")])


async def test_a_viewer_who_takes_no_frames_for_long_is_dropped(hub: Hub, impatient: float) -> None:
    stuck, brisk = watching(hub, takes_frames=True), watching(hub, takes_frames=True)
    stuck.reads.clear()
    hub.publish("a", just("1"))
    await asyncio.sleep(2 * impatient)
    hub.publish("a", just("2"))
    await turns()
    assert (stuck.closed_with, hub.count()) == ([1013], 1)
    assert brisk.frames == [text_frame("1"), text_frame("2")]


async def test_of_a_sale_that_nobody_watches_nothing_is_kept(hub: Hub) -> None:
    screen = watching(hub)
    hub.publish("a", lambda language: "news")
    hub.leave("a", screen.viewer)
    hub.publish("a", lambda language: "later")
    assert (hub._news, hub._told_at, dict(hub._viewers)) == ({}, {}, {})


@pytest.mark.parametrize("takes_frames", [False, True])
async def test_the_same_news_is_shown_once(hub: Hub, takes_frames: bool) -> None:
    screen, news = Screen(takes_frames), News("1")
    for _ in range(3):
        screen.viewer.offer(news)
        await turns()
    assert len(screen.texts + screen.frames) == 1


async def test_a_push_that_fails_disturbs_nobody(hub: Hub, small_rounds: int) -> None:
    def broken(frame: bytes) -> bool:
        raise ConnectionResetError

    far = Screen()
    hub.join("a", Viewer(far._send, far._close, broken))
    others = [watching(hub) for _ in range(2 * small_rounds)]
    for text in ("1", "2"):
        hub.publish("a", just(text))
        await turns(20)
    assert [screen.texts for screen in others] == [["1", "2"]] * len(others)


# Rounds: more viewers than are told at once


@pytest.fixture
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> int:
    """So many are told at once."""
    monkeypatch.setattr(sales.hub, "AT_ONCE", 2)
    return 2


class Meanwhile:
    """Counts how often others had a turn."""

    def __init__(self) -> None:
        self.turns = 0
        self._task = asyncio.create_task(self._count())

    async def _count(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    def stop(self) -> None:
        self._task.cancel()


@pytest.mark.parametrize("takes_frames", [False, True])
async def test_a_round_reaches_every_viewer_once(hub: Hub, small_rounds: int, takes_frames: bool) -> None:
    screens = [watching(hub, takes_frames=takes_frames) for _ in range(7)]
    for text in ("1", "2", "3"):
        hub.publish("a", just(text))
        await turns(20)
    if takes_frames:
        assert [screen.frames for screen in screens] == [[text_frame(text) for text in "123"]] * 7
    else:
        assert [screen.texts for screen in screens] == [["1", "2", "3"]] * 7


async def test_others_have_their_turns_during_a_round(hub: Hub, small_rounds: int) -> None:
    screens = [watching(hub, takes_frames=True) for _ in range(20)]
    meanwhile = Meanwhile()
    hub.publish("a", just("1"))
    await eventually(lambda: told(screens, 20))
    meanwhile.stop()
    assert meanwhile.turns >= 20 // small_rounds


async def told(screens: list[Screen], count: int) -> bool:
    return sum(bool(screen.frames or screen.texts) for screen in screens) >= count


async def test_the_latest_wins_in_a_round(hub: Hub, small_rounds: int) -> None:
    """News during a round: those who come later in it hear only that, and nobody misses it."""
    screens = [watching(hub, takes_frames=True) for _ in range(9)]
    hub.publish("a", just("1"))
    while not await told(screens, 3):
        await asyncio.sleep(0)
    hub.publish("a", just("2"))
    hub.publish("a", just("3"))
    await turns(30)
    seen = sorted(screen.frames for screen in screens)
    early = [frames for frames in seen if frames == [text_frame("1"), text_frame("3")]]
    late = [frames for frames in seen if frames == [text_frame("3")]]
    assert len(early) >= 3 and len(late) >= 1
    assert len(early) + len(late) == 9


async def test_two_sales_have_rounds_of_their_own(hub: Hub, small_rounds: int) -> None:
    of_a, of_b = [watching(hub, "a") for _ in range(5)], [watching(hub, "b") for _ in range(5)]
    hub.publish("a", just("1"))
    hub.publish("b", just("2"))
    await turns(20)
    assert [screen.texts for screen in of_a + of_b] == [["1"]] * 5 + [["2"]] * 5


async def test_a_viewer_that_stays_slow_is_dropped_in_a_round(hub: Hub, small_rounds: int, impatient: float) -> None:
    screens = [watching(hub) for _ in range(6)]
    for screen in screens[:2]:
        screen.reads.clear()
    hub.publish("a", just("1"))
    await asyncio.sleep(2 * impatient)
    hub.publish("a", just("2"))
    await turns(20)
    assert [screen.closed_with for screen in screens] == [[1013]] * 2 + [[]] * 4
    assert [screen.texts for screen in screens[2:]] == [["1", "2"]] * 4
    assert hub.count() == 4


@pytest.mark.parametrize("takes_frames", [False, True])
async def test_who_leaves_during_a_round_gets_nothing_more(hub: Hub, small_rounds: int, takes_frames: bool) -> None:
    screens = [watching(hub, takes_frames=takes_frames) for _ in range(8)]
    hub.publish("a", just("1"))
    while not await told(screens, 1):
        await asyncio.sleep(0)
    left = [screen for screen in screens if not screen.frames and not screen.texts]
    for screen in left:
        hub.leave("a", screen.viewer)
    await turns(20)
    assert left
    assert not await told(left, 1)
    assert hub.count() == 8 - len(left)


async def test_when_everybody_leaves_during_a_round_the_next_viewer_is_told_again(hub: Hub, small_rounds: int) -> None:
    for screen in [watching(hub) for _ in range(8)]:
        hub.publish("a", just("1"))
        hub.leave("a", screen.viewer)
    await turns(20)
    late = watching(hub)
    hub.publish("a", just("2"))
    await turns()
    assert late.texts == ["2"]


async def test_who_joins_during_a_round_is_not_told_the_same_twice(hub: Hub, small_rounds: int) -> None:
    """Its consumer shows it the banner as it is now, which the round is bringing."""
    for _ in range(6):
        watching(hub)
    hub.publish("a", just("1"))
    new = watching(hub)
    new.viewer.offer(News("1"))
    await turns(20)
    assert new.texts == ["1"]
    hub.publish("a", just("2"))
    await turns(20)
    assert new.texts == ["1", "2"]


async def test_closing_ends_a_round(hub: Hub, small_rounds: int) -> None:
    screens = [watching(hub) for _ in range(20)]
    hub.publish("a", just("1"))
    await asyncio.wait_for(hub.close(), 2)
    before = [list(screen.texts) for screen in screens]
    await turns(30)
    assert [screen.texts for screen in screens] == before
    assert [screen.closed_with for screen in screens] == [[1012]] * 20


async def test_who_was_told_nothing_for_a_while_gets_a_beat(hub: Hub, brief: float) -> None:
    framed, plain = watching(hub, takes_frames=True, hears_beats=True), watching(hub, hears_beats=True)
    hub.reassure()
    await turns()
    assert (framed.frames, plain.texts) == ([], []), "they have only just come"
    for _ in range(2):
        await asyncio.sleep(brief)
        hub.reassure()
        hub.reassure()
        await turns()
    assert (framed.frames, framed.texts) == ([BEAT.frame] * 2, [])
    assert plain.texts == [BEAT.text] * 2


async def test_who_did_not_ask_for_beats_gets_none(hub: Hub, brief: float) -> None:
    framed, plain = watching(hub, takes_frames=True), watching(hub)
    await asyncio.sleep(brief)
    hub.reassure()
    await turns()
    assert (framed.frames, plain.texts) == ([], [])


async def test_after_news_that_cannot_be_rendered_no_beat_says_that_all_holds(hub: Hub, brief: float) -> None:
    def broken(language: str) -> str:
        raise ValueError("no such template")

    screen = watching(hub, hears_beats=True)
    with pytest.raises(ValueError, match="no such template"):
        hub.publish("a", broken)
    await asyncio.sleep(2 * brief)
    hub.reassure()
    await turns()
    assert screen.texts == []
    hub.publish("a", just("1"))
    await asyncio.sleep(2 * brief)
    hub.reassure()
    await turns()
    assert screen.texts == ["1", BEAT.text]


async def test_news_takes_the_place_of_a_beat(hub: Hub, brief: float) -> None:
    screen = watching(hub, hears_beats=True)
    for text in ("1", "2"):
        await asyncio.sleep(brief)
        hub.publish("a", just(text))
        hub.reassure()
        await turns()
    assert screen.texts == ["1", "2"]


async def test_a_beat_keeps_nobody_from_the_news(hub: Hub, brief: float) -> None:
    """Neither one that is on its way, nor one that was the last thing said."""
    screen = watching(hub, hears_beats=True)
    screen.reads.clear()
    await asyncio.sleep(brief)
    hub.reassure()
    await turns()
    hub.publish("a", just("1"))
    screen.reads.set()
    await turns()
    await asyncio.sleep(brief)
    hub.reassure()
    await turns()
    hub.publish("a", just("1"))
    await turns()
    assert screen.texts == [BEAT.text, "1", BEAT.text]


async def test_whoever_is_busy_gets_no_beat(hub: Hub, brief: float) -> None:
    screen = watching(hub, hears_beats=True)
    screen.reads.clear()
    hub.publish("a", just("1"))
    await turns()
    for _ in range(3):
        await asyncio.sleep(brief)
        hub.reassure()
    await turns()
    screen.reads.set()
    await turns()
    assert screen.texts == ["1"]


async def test_beats_to_a_crowd_give_way_to_others(hub: Hub, brief: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sales.hub, "AT_ONCE", 2)
    crowd = [watching(hub, takes_frames=True, hears_beats=True) for _ in range(5)]
    await asyncio.sleep(brief)
    hub.reassure()
    await asyncio.sleep(0)
    assert sum(len(screen.frames) for screen in crowd) == 2
    await turns()
    assert [screen.frames for screen in crowd] == [[BEAT.frame]] * 5


def test_all_who_listen_know_a_beat_and_wait_for_two() -> None:
    for path in ("static/js/socket.js", "k6/lib/viewing.js", "flashdrop/bench/clients.py"):
        assert f'"{BEAT.text}"' in (BASE_DIR / path).read_text(encoding="utf-8"), path
    page = (BASE_DIR / "static/js/socket.js").read_text(encoding="utf-8")
    silence_ms = re.search(r"SILENCE_MS = ([\d_]+);", page)
    assert silence_ms is not None
    # The second beat, and as much time as a stampede may keep a process busy.
    assert int(silence_ms[1]) / 1000 >= 2 * sales.hub.BEAT_SECONDS + 1
