"""The hub: sends one rendered text to every socket that watches a sale in one language.

The latest value wins: a viewer who is still busy with one text skips to the newest, never works off a queue. One who
stays busy for too long is dropped, and the page falls back to polling until it reconnects. The channel layer is not
used: it hops through a thread for each message and consumer. Under `serve` a text is framed once and the frame written
to each connection; under another server each viewer's `send` does it. Where nothing is new for a while a beat says so:
a page that hears neither knows that its socket is dead (docs/decisions/0009-a-socket-that-is-silent-is-dead.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable

from flashdrop import metrics
from flashdrop.loops import PerLoop
from flashdrop.wire_socket import text_frame

SLOW_SECONDS = 5.0
# Viewers who were told nothing for this long are told that what they have still holds.
BEAT_SECONDS = 2.0
# Viewers who are offered a text in one go: about 10 ms of work.
AT_ONCE = 500
# "Service restart" and "try again later": codes on which the browser's extension reconnects.
CLOSE_RESTART = 1012
CLOSE_TRY_LATER = 1013


class Viewer:
    """One socket.

    Args:
        send: delivers a text and waits while the client is slow.
        close: ends the socket with a code.
        push: writes a ready frame at once, where the server can; false when the client has not taken the last one yet.
        language: the code of the language it reads.
        hears_beats: whether it asked to be told, too, that nothing is new.
    """

    def __init__(
        self,
        send: Callable[[str], Awaitable[None]],
        close: Callable[[int], Awaitable[None]],
        push: Callable[[bytes], bool] | None = None,
        language: str = "",
        *,
        hears_beats: bool = False,
    ) -> None:
        self.language = language
        self.hears_beats = hears_beats
        self._send = send
        self._close = close
        self._push = push
        self._latest: News | None = None
        self._shown: str | None = None
        self._is_forgotten = False
        self._busy_since: float | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_slow(self) -> bool:
        """Whether one delivery has been under way for too long."""
        return self._busy_since is not None and time.monotonic() - self._busy_since > SLOW_SECONDS

    def offer(self, news: News) -> None:
        """Show this next, in place of any that is still waiting."""
        if self._is_forgotten or self._shown == news.text:
            return
        self._shown = news.text
        if self._task is None:
            if self._pushed(news.frame):
                return
            self._task = asyncio.get_running_loop().create_task(self._deliver())
        self._latest = news

    def reassure(self) -> None:
        """Send a beat, unless something is on its way anyway."""
        if self._is_forgotten or self._task is not None or self._pushed(BEAT.frame):
            return
        self._latest = BEAT
        self._task = asyncio.get_running_loop().create_task(self._deliver())

    async def dismiss(self, code: int) -> None:
        """Stop delivering and close the socket, which may be gone already."""
        self.forget()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1.0):
                await self._close(code)

    def forget(self) -> None:
        """Stop delivering; the socket is closed by somebody else."""
        self._is_forgotten = True
        if self._task is not None:
            self._task.cancel()

    def _pushed(self, frame: bytes) -> bool:
        try:
            return self._push is not None and self._push(frame)
        except Exception:  # `send` will say the same, and be heard
            return False

    async def _deliver(self) -> None:
        """Until nothing is waiting; a task of its own because the client may be slow."""
        while self._latest is not None:
            news, self._latest = self._latest, None
            self._busy_since = time.monotonic()
            try:
                await self._send(news.text)
            except Exception:  # the client is gone; its consumer hears of it and forgets us
                return
            self._busy_since = None
        self._task = None


class News:
    """A text for all viewers of a sale in one language, and the frame it travels in."""

    __slots__ = ("frame", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.frame = text_frame(text)


# No element: whoever takes it for a banner has nothing to swap.
BEAT = News("<!--beat-->")


class Bulletin(dict[str, News]):
    """The same news in each language, made when the first viewer who reads it is told."""

    def __init__(self, text_in: Callable[[str], str]) -> None:
        super().__init__()
        self._text_in = text_in

    def __missing__(self, language: str) -> News:
        self[language] = News(self._text_in(language))
        return self[language]


class Hub:
    """The viewers of each sale."""

    def __init__(self) -> None:
        self._viewers: defaultdict[str, set[Viewer]] = defaultdict(set)
        self._news: dict[str, Bulletin] = {}
        self._rounds: dict[str, asyncio.Task[None]] = {}
        self._told_at: dict[str, float] = {}
        self._beats: set[asyncio.Task[None]] = set()
        self._farewells: set[asyncio.Task[None]] = set()

    def has_viewers(self, sale_id: str) -> bool:
        return bool(self._viewers.get(sale_id))

    def count(self) -> int:
        """Sockets of this process."""
        return sum(map(len, self._viewers.values()))

    def counts(self) -> dict[str, int]:
        """Sockets of this process, by sale."""
        return {sale_id: len(viewers) for sale_id, viewers in self._viewers.items()}

    def join(self, sale_id: str, viewer: Viewer) -> None:
        self._viewers[sale_id].add(viewer)
        self._told_at.setdefault(sale_id, time.monotonic())
        metrics.SOCKETS.labels("opened").inc()

    def leave(self, sale_id: str, viewer: Viewer) -> None:
        """Repeating it is harmless."""
        viewer.forget()
        self._viewers[sale_id].discard(viewer)
        if not self._viewers[sale_id]:
            del self._viewers[sale_id]
            self._forget(sale_id)

    def _forget(self, sale_id: str) -> None:
        """Keep nothing of a sale that nobody watches any more, once no round is under way in it."""
        if not self.has_viewers(sale_id):
            self._told_at.pop(sale_id, None)
            if sale_id not in self._rounds:
                self._news.pop(sale_id, None)

    def publish(self, sale_id: str, text_in: Callable[[str], str]) -> None:
        """Offer every viewer of the sale `text_in(their language)`; returns without waiting for any of them."""
        self._news[sale_id] = Bulletin(text_in)
        # Until all were offered it: after news that can't be rendered a beat would not be true.
        self._told_at[sale_id] = float("inf")
        if sale_id in self._rounds:
            return
        viewers = list(self._viewers.get(sale_id, ()))
        if len(viewers) <= AT_ONCE:
            self._offer(sale_id, viewers)
            self._told_at[sale_id] = time.monotonic()
            self._forget(sale_id)
            return
        self._rounds[sale_id] = asyncio.get_running_loop().create_task(self._make_rounds(sale_id))

    def reassure(self) -> None:
        """Tell viewers without news that what they were told still holds. For whoever has just made sure of that."""
        now = time.monotonic()
        for sale_id, viewers in self._viewers.items():
            if now - self._told_at[sale_id] >= BEAT_SECONDS:
                self._told_at[sale_id] = now
                beat = asyncio.get_running_loop().create_task(_beat([one for one in viewers if one.hears_beats]))
                self._beats.add(beat)
                beat.add_done_callback(self._beats.discard)

    async def _make_rounds(self, sale_id: str) -> None:
        """A few hundred viewers at a time, so that shoppers are answered in between; again while there is news."""
        bulletin = None
        try:
            while bulletin is not self._news[sale_id]:
                bulletin = self._news[sale_id]
                viewers = list(self._viewers.get(sale_id, ()))
                for start in range(0, len(viewers), AT_ONCE):
                    self._offer(sale_id, viewers[start : start + AT_ONCE])
                    await asyncio.sleep(0)
            self._told_at[sale_id] = time.monotonic()
        finally:
            del self._rounds[sale_id]
            self._forget(sale_id)

    def _offer(self, sale_id: str, viewers: list[Viewer]) -> None:
        bulletin = self._news[sale_id]
        for viewer in viewers:
            if viewer.is_slow:
                self.leave(sale_id, viewer)
                metrics.SOCKETS.labels("dropped_slow").inc()
                farewell = asyncio.get_running_loop().create_task(viewer.dismiss(CLOSE_TRY_LATER))
                self._farewells.add(farewell)
                farewell.add_done_callback(self._farewells.discard)
            else:
                viewer.offer(bulletin[viewer.language])
        metrics.count_messages(len(viewers))

    async def close(self) -> None:
        """Send every viewer away with "service restart", on which browsers reconnect."""
        for task in (*self._rounds.values(), *self._beats):
            task.cancel()
        viewers = [viewer for group in self._viewers.values() for viewer in group]
        self._viewers.clear()
        await asyncio.gather(*(viewer.dismiss(CLOSE_RESTART) for viewer in viewers))


async def _beat(viewers: list[Viewer]) -> None:
    for start in range(0, len(viewers), AT_ONCE):
        for viewer in viewers[start : start + AT_ONCE]:
            viewer.reassure()
        await asyncio.sleep(0)


hub: PerLoop[Hub] = PerLoop(Hub, Hub.close)
