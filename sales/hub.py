"""The hub: sends one rendered text to every socket that watches a sale.

The latest value wins: a viewer who is still busy with one text skips to the newest, never works off a queue. One who
stays busy for too long is dropped, and the page falls back to polling until it reconnects. The channel layer is not
used: it hops through a thread for each message and consumer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable

from flashdrop import metrics
from flashdrop.loops import PerLoop

SLOW_SECONDS = 5.0
# "Service restart" and "try again later": codes on which the browser's extension reconnects.
CLOSE_RESTART = 1012
CLOSE_TRY_LATER = 1013


class Viewer:
    """One socket. `send` delivers a text and waits while the client is slow; `close` ends the socket with a code."""

    def __init__(self, send: Callable[[str], Awaitable[None]], close: Callable[[int], Awaitable[None]]) -> None:
        self._send = send
        self._close = close
        self._latest: str | None = None
        self._wake = asyncio.Event()
        self._busy_since: float | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def is_slow(self) -> bool:
        """Whether one delivery has been under way for too long."""
        return self._busy_since is not None and time.monotonic() - self._busy_since > SLOW_SECONDS

    def offer(self, text: str) -> None:
        """Show this text next, in place of any that is still waiting."""
        self._latest = text
        self._wake.set()

    async def dismiss(self, code: int) -> None:
        """Stop delivering and close the socket, which may be gone already."""
        self.forget()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1.0):
                await self._close(code)

    def forget(self) -> None:
        """Stop delivering; the socket is closed by somebody else."""
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            text, self._latest = self._latest, None
            if text is None:
                continue
            self._busy_since = time.monotonic()
            try:
                await self._send(text)
            except Exception:  # the client is gone; its consumer hears of it and forgets us
                return
            self._busy_since = None


class Hub:
    """The viewers of each sale."""

    def __init__(self) -> None:
        self._viewers: defaultdict[str, set[Viewer]] = defaultdict(set)
        self._farewells: set[asyncio.Task[None]] = set()

    def has_viewers(self, sale_id: str) -> bool:
        return bool(self._viewers.get(sale_id))

    def count(self) -> int:
        """Sockets of this process."""
        return sum(map(len, self._viewers.values()))

    def join(self, sale_id: str, viewer: Viewer) -> None:
        self._viewers[sale_id].add(viewer)
        metrics.SOCKETS.labels("opened").inc()

    def leave(self, sale_id: str, viewer: Viewer) -> None:
        """Repeating it is harmless."""
        viewer.forget()
        self._viewers[sale_id].discard(viewer)
        if not self._viewers[sale_id]:
            del self._viewers[sale_id]

    def publish(self, sale_id: str, text: str) -> None:
        """Offer `text` to every viewer of the sale; returns without waiting for any of them."""
        for viewer in list(self._viewers.get(sale_id, ())):
            if viewer.is_slow:
                self.leave(sale_id, viewer)
                metrics.SOCKETS.labels("dropped_slow").inc()
                farewell = asyncio.get_running_loop().create_task(viewer.dismiss(CLOSE_TRY_LATER))
                self._farewells.add(farewell)
                farewell.add_done_callback(self._farewells.discard)
            else:
                viewer.offer(text)

    async def close(self) -> None:
        """Send every viewer away with "service restart", on which browsers reconnect."""
        viewers = [viewer for group in self._viewers.values() for viewer in group]
        self._viewers.clear()
        await asyncio.gather(*(viewer.dismiss(CLOSE_RESTART) for viewer in viewers))


hub: PerLoop[Hub] = PerLoop(Hub, Hub.close)
