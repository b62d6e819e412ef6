"""One instance of a component per event loop, made on first use and closed with the loop.

Store clients, batchers and background tasks belong to the loop they were made on (an `AsyncMongoClient` refuses any
other). `PerLoop` gives each loop its own; `close_all` ends them in reverse order; `run` is the door for synchronous
callers (the admin, commands): a loop of its own, closed behind it.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
log = logging.getLogger(__name__)

_made: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[PerLoop[Any], Any]] = WeakKeyDictionary()


class PerLoop(Generic[T]):
    """Call it for the running loop's instance. `make` builds one; `close`, when given, ends it."""

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]] | None = None) -> None:
        self._make = make
        self._close = close
        # The loop that asked last, and its instance: a process of ours has one loop, and asks for each request.
        self._last: tuple[weakref.ref[asyncio.AbstractEventLoop], T] | None = None

    def __call__(self) -> T:
        loop = asyncio.get_running_loop()
        last = self._last  # looked at once: another thread's loop may ask meanwhile
        if last is not None and last[0]() is loop:
            return last[1]
        made = _made.setdefault(loop, {})
        if self not in made:
            made[self] = self._make()
        instance: T = made[self]
        self._last = (weakref.ref(loop), instance)
        return instance

    async def close(self, instance: T) -> None:
        if self._close is not None:
            await self._close(instance)

    def forget(self) -> None:
        """After closing: the next call makes a new instance."""
        self._last = None


async def close_all() -> None:
    """End everything this loop has made, the youngest first. A failure is logged and does not stop the rest."""
    made = _made.get(asyncio.get_running_loop(), {})
    while made:
        # Still there for those that close later but use it meanwhile: a batcher drains into the stores.
        factory, instance = next(reversed(made.items()))
        try:
            await factory.close(instance)
        except Exception:
            log.exception("closing %r failed", instance)
        made.pop(factory, None)
        factory.forget()


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `work` on a fresh event loop and close what it opened. For synchronous callers only."""

    async def main() -> T:
        try:
            return await work()
        finally:
            await close_all()

    return asyncio.run(main())
