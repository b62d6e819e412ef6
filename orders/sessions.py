"""Which browser sessions were signed out.

What is read is decided by the ledger: the orders of a session that was signed out are marked there, so that no copy of
its cookie is shown them, whatever Redis has lost. Besides, Redis keeps a list of the newest. Every web process follows
it and takes their cookies for nobody's, for buying too: within a second, and without asking a store about a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from flashdrop.loops import PerLoop
from flashdrop.mongo_client import PyMongoError, mongo, within
from flashdrop.redis_client import RedisError, redis
from flashdrop.supervised import Loop
from orders import ledger
from sales.keys import ENDED_SESSIONS

SESSION_SECONDS = 30 * 24 * 3600
# Of those that hold no order nothing can be read: who signs in and out without end pushes out nothing but them.
LISTED = 100_000
PAGE = 10_000
FOLLOW_SECONDS = 1.0
ASK_SECONDS = 2.0
log = logging.getLogger(__name__)

_ended: dict[str, None] = {}


class NotEnded(Exception):
    """A store could not be told: the session goes on, or may do so. Repeating it is safe."""


def has_ended(session_id: str) -> bool:
    """Whether this process knows that the session was signed out."""
    return session_id in _ended


async def end(shopper_id: str, session_id: str) -> None:
    """End a session for every copy of its cookie.

    An order of it that is not confirmed yet is not marked: its details are hidden by the list alone.

    Raises:
        NotEnded: a store is away.
    """
    mongo()
    try:
        await within(ASK_SECONDS, ledger.end_session(shopper_id, session_id, datetime.now(UTC)))
        async with asyncio.timeout(ASK_SECONDS), redis().pipeline(transaction=False) as pipe:
            pipe.xadd(ENDED_SESSIONS, {"session": session_id}, maxlen=LISTED, approximate=True)
            pipe.expire(ENDED_SESSIONS, SESSION_SECONDS)
            await pipe.execute()
    except (PyMongoError, RedisError, TimeoutError) as error:
        log.warning("a session could not be ended: %r", error)
        raise NotEnded from error
    _note([session_id])


def _note(session_ids: Iterable[str]) -> None:
    for session_id in session_ids:
        _ended[session_id] = None
    while len(_ended) > LISTED:
        del _ended[next(iter(_ended))]


class Watcher:
    """Follows the list of ended sessions."""

    def __init__(self) -> None:
        self._client = redis()  # made first, so that it is closed last
        self._after = "-"
        self._loop = Loop("ended-sessions", self._round)

    async def stop(self) -> None:
        await self._loop.stop()

    async def follow(self) -> None:
        """Take over what was added since the last time.

        Raises:
            redis.exceptions.RedisError, TimeoutError: Redis can't be asked.
        """
        while True:
            async with asyncio.timeout(ASK_SECONDS):
                entries: Any = await self._client.xrange(ENDED_SESSIONS, min=self._after, count=PAGE)
            if not entries:
                return
            _note(fields.get("session", "") for _, fields in entries)
            self._after = f"({entries[-1][0]}"

    async def _round(self) -> None:
        try:
            await self.follow()
        except (RedisError, TimeoutError) as error:
            log.warning("the list of ended sessions can't be read: %s", error or type(error).__name__)
        await asyncio.sleep(FOLLOW_SECONDS)


watcher: PerLoop[Watcher] = PerLoop(Watcher, Watcher.stop)
