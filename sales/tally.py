"""What shoppers were told, and how many tried: of every web process of every host, second by second.

Each process notes its answers in plain dictionaries and adds them up in Redis once a second, beside the shoppers'
requests and never waited for by one: for each sale and second one number for each outcome, and how many sockets watch.
They are kept for `KEPT_SECONDS`, their sums for `DEMAND_DAYS`. Shoppers who tried go into a HyperLogLog of 12 KB:
exact for a few hundred, within about 1 % for millions, kept for `DEMAND_DAYS`.

These are figures for people to watch and no part of any promise. What a process that is killed had not written yet is
missing; a second whose writing broke half-way may be counted twice; what Redis loses is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from flashdrop import ratelimit
from flashdrop.loops import PerLoop
from flashdrop.redis_client import Gate, RedisError, redis, server_time
from flashdrop.supervised import Loop
from sales import stock
from sales.board import board
from sales.hub import hub
from sales.keys import WHOLE_SHOP, told_in_all_key, told_key, tried_key

KEPT_SECONDS = 900
DEMAND_DAYS = 30
WRITE_SECONDS = 1.0
# While Redis is away; whoever comes later is not counted.
MOST_WAITING = 100_000
VIEWERS = "viewers"
RATE_LIMITED = "rate_limited"
log = logging.getLogger(__name__)

_told: defaultdict[tuple[str, str], int] = defaultdict(int)
_tried: defaultdict[str, set[str]] = defaultdict(set)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a sale's shoppers were told in each of the seconds before `ends_at`, the newest last."""

    ends_at: int
    """Seconds since the epoch, by the gate's clock; the last second that every process has written ends here."""
    by_outcome: dict[str, list[int]]
    """Only outcomes that occurred. `rate_limited` is the whole shop's."""
    viewers: list[int]
    """Sockets that watched the sale."""


def told(sku: str, outcome: str) -> None:
    """Note one answer to a try to buy. On the event loop's thread."""
    # Names may be made up, each time another one.
    if len(_told) < MOST_WAITING or (sku, outcome) in _told:
        _told[sku, outcome] += 1


def tried(sale_id: str, shopper_ids: Iterable[str]) -> None:
    """Note who tried to buy. On the event loop's thread."""
    waiting = _tried[sale_id]
    if len(waiting) < MOST_WAITING:
        waiting.update(shopper_ids)


async def outcomes(sale_id: str, seconds: int) -> Outcomes:
    """The last `seconds`, at most `KEPT_SECONDS`. Two round trips.

    Raises:
        redis.exceptions.RedisError: Redis can't be asked.
    """
    # The last second that is over may still be on its way here.
    ends_at = int((await server_time(redis())).timestamp()) - 1
    minutes = range((ends_at - seconds) // 60, ends_at // 60 + 1)
    async with redis().pipeline(transaction=False) as pipe:
        for one in (sale_id, WHOLE_SHOP):
            for minute in minutes:
                pipe.hgetall(told_key(one, minute))
        rows = await pipe.execute()
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0] * seconds)
    for minute, row in zip([*minutes, *minutes], rows, strict=True):
        for field, count in row.items():
            second, _, outcome = field.partition(":")
            if not second.isdigit():  # another version's
                continue
            place = minute * 60 + int(second) - ends_at + seconds
            if 0 <= place < seconds:
                found[outcome][place] += int(count)
    viewers = found.pop(VIEWERS, None) or [0] * seconds
    return Outcomes(ends_at, dict(found), viewers)


async def outcomes_in_all(sale_id: str) -> dict[str, int]:
    """What the sale's shoppers were told since it was published, for `DEMAND_DAYS` after the last answer; only
    outcomes that occurred.

    Raises:
        redis.exceptions.RedisError: Redis can't be asked.
    """
    found = await redis().hgetall(told_in_all_key(sale_id))
    return {str(outcome): int(count) for outcome, count in found.items()}


async def demand(sale_id: str) -> int | None:
    """About how many different shoppers tried to buy, whatever they were told. None when nothing is known of it: nobody
    has tried yet, it is too long ago, or Redis has lost it.

    Raises:
        redis.exceptions.RedisError: Redis can't be asked.
    """
    return int(await redis().pfcount(tried_key(sale_id))) or None


class Writer:
    """Writes down, right after each second of the gate's clock, what this process has noted in it."""

    def __init__(self) -> None:
        # Made first, so that they are closed last.
        self._client: Gate = redis()
        self._hub = hub()
        self._board = board()
        self._written_until = 0
        self._limited = ratelimit.refused()
        # By sale and second.
        self._waiting: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        self._loop = Loop("tally", self._round)

    async def stop(self) -> None:
        await self._loop.stop()
        await self.write()

    async def write(self) -> None:
        """Write down what was noted until now. Never raises for a Redis that is away: it is kept for the next time."""
        second = int(self._board.now().timestamp() - WRITE_SECONDS / 2)
        for late in [key for key in self._waiting if key[1] < second - KEPT_SECONDS]:
            del self._waiting[late]
        self._gather(second)
        newcomers = dict(_tried)
        _tried.clear()
        if not self._waiting and not newcomers:
            return
        try:
            await self._send(newcomers)
        except Exception as error:
            for sale_id, shopper_ids in newcomers.items():
                tried(sale_id, shopper_ids)
            if not isinstance(error, RedisError):
                raise
            log.debug("what shoppers were told is written down later: %s", error)

    def _gather(self, second: int) -> None:
        for (sku, outcome), count in _told.items():
            sale = self._board.sale_named.get(sku)
            if sale is not None:  # else somebody made the name up
                self._waiting[sale.id, second][outcome] += count
        _told.clear()
        limited = ratelimit.refused()
        if limited > self._limited:
            self._waiting[WHOLE_SHOP, second][RATE_LIMITED] += limited - self._limited
            self._limited = limited
        if second > self._written_until:  # a process counts its sockets once in each second
            self._written_until = second
            for sale_id, viewers in self._hub.counts().items():
                self._waiting[sale_id, second][VIEWERS] += viewers

    async def _send(self, newcomers: dict[str, set[str]]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for (sale_id, second), counts in self._waiting.items():
                key = told_key(sale_id, second // 60)
                for outcome, count in counts.items():
                    pipe.hincrby(key, f"{second % 60}:{outcome}", count)
                    if outcome != VIEWERS:
                        pipe.hincrby(told_in_all_key(sale_id), outcome, count)
                pipe.expire(key, KEPT_SECONDS + 60)
                pipe.expire(told_in_all_key(sale_id), DEMAND_DAYS * 86400)
            await pipe.execute()
        self._waiting.clear()
        for sale_id, shopper_ids in newcomers.items():
            await stock.tried(self._client, sale_id, list(shopper_ids), DEMAND_DAYS * 86400)

    async def _round(self) -> None:
        # A little after the second is over, so that the board's clock and ours may differ by as much.
        into = self._board.now().timestamp() % WRITE_SECONDS
        await asyncio.sleep(WRITE_SECONDS - into + 0.05)
        await self.write()


writer: PerLoop[Writer] = PerLoop(Writer, Writer.stop)
