"""The emergency stop: a brake that needs Redis alone, and what sees to it that it is never lost. See ADR 0012.

A brake is a field of the sale's gate. It holds until settings are published that know of it by its name: those that
a worker saves for it (`sales/desk/braking.py`), or those of whoever resumes the sale. Until then it is kept in three
places besides: in the ledger, where it is noted; in the memory of every process that has seen it, which pulls it again
at a gate that has lost it; and in the append-only file of Redis.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from flashdrop.envelope import to_ms
from flashdrop.metrics import timed
from flashdrop.mongo_client import Collection, PyMongoError, collection, within
from flashdrop.redis_client import redis
from sales import catalogue, stock
from sales.gate import Brake, Levels
from sales.keys import WORKER_ALIVE
from sales.published import PublishedSale

NOTE_SECONDS = 1.5
# Workers write down this often that gate and ledger agree; after a longer silence nobody knows what was pulled in it.
AGREED_EVERY_SECONDS = 1.0
SILENCE_SECONDS = 3.0
ALIVE_SECONDS = 10
UNKNOWN, NOBODY = "unknown", "nobody"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pulled:
    """`is_noted`: the ledger has it too, so that even the loss of Redis can't release it."""

    brake: Brake
    is_noted: bool


async def pull(sale_id: str, by: str) -> Pulled:
    """Stop the sale at the gate now, then note it in the ledger if that answers.

    Raises:
        redis.exceptions.RedisError: the gate can't be asked, or refuses writes; whether it stopped is unknown.
    """
    brake = await stock.brake(redis(), sale_id, secrets.token_hex(6), by)
    assert brake is not None  # no settings know of a new one
    try:
        await within(NOTE_SECONDS, catalogue.note_brake(sale_id, brake))
    except (PyMongoError, TimeoutError) as error:
        log.warning("sale %s: its brake is pulled, and can't be noted in the ledger yet: %s", sale_id, error)
        return Pulled(brake, is_noted=False)
    return Pulled(brake, is_noted=True)


def is_unknown(brake: Brake) -> bool:
    """Whether nobody has pulled it: it holds because nobody can tell whether one was pulled."""
    return brake.name.startswith(UNKNOWN)


class Memory:
    """The brakes that this process has seen, and that no settings know of yet."""

    def __init__(self) -> None:
        self._seen: dict[str, Brake] = {}

    async def hold(self, levels: Mapping[str, Levels], sales: Mapping[str, PublishedSale]) -> None:
        """Remember the brakes in `levels`; pull those again that the gate has lost.

        Raises:
            redis.exceptions.RedisError: the gate can't be asked; they are pulled at the next call.
        """
        for sale_id in [sale_id for sale_id in self._seen if sale_id not in sales]:
            del self._seen[sale_id]
        for sale_id, level in levels.items():
            if level.brake is not None:
                self._seen[sale_id] = level.brake
            elif (seen := self._seen.get(sale_id)) is not None:
                if seen.name in (level.knows_brake, sales[sale_id].knows_brake):
                    del self._seen[sale_id]
                    continue
                log.error("sale %s: the gate has lost a brake pulled by %s; it is pulled again", sale_id, seen.by)
                await stock.brake(redis(), sale_id, seen.name, seen.by, seen.pulled_at)


class Keeper:
    """A worker's watch over the brakes, apart from its rounds: no ledger that hangs keeps it from the gate."""

    def __init__(self) -> None:
        self._memory = Memory()
        self._sales: dict[str, PublishedSale] = {}
        self._vouched: set[str] = set()

    async def look_at_gate(self) -> None:
        """Remember what is pulled, and put back what was lost. Needs no ledger.

        Raises:
            redis.exceptions.RedisError: the gate can't be asked.
        """
        await redis().set(WORKER_ALIVE, to_ms(datetime.now(UTC)), ex=ALIVE_SECONDS)
        _, levels = await stock.levels(redis(), list(self._sales))
        found = dict(zip(self._sales, levels, strict=True))
        await self._memory.hold(found, self._sales)
        self._vouched |= {sale_id for sale_id, level in found.items() if level.loaded}

    async def look_at_ledger(self) -> None:
        """Note what is pulled, decide about gates that are gone, and write down that both stores agree now.

        Raises:
            pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store can't be asked; nobody agrees.
        """
        self._sales = {sale.id: sale for sale in await catalogue.every() if sale.published}
        self._vouched &= set(self._sales)
        await agree(self._sales.values(), self._vouched)
        self._vouched |= set(self._sales)

    def has_decided(self, sale_id: str) -> bool:
        """Whether a gate of this sale that is gone may be rebuilt: it is known whether a brake held there."""
        return sale_id in self._vouched


async def agree(sales: Iterable[PublishedSale], vouched: Iterable[str] = ()) -> None:
    """Note in the ledger every brake that holds at the gate, then write down that nothing is missing there.

    A sale whose gate is gone gets a brake of its own when it can't be known whether one was pulled: when the ledger
    has not heard of the gate for a while, and it is not among `vouched`, whose gates the caller has watched all along.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store can't be asked.
    """
    wanted = {sale.id: sale for sale in sales}
    silence = await _silence_seconds()
    is_unheard = silence is not None and silence > SILENCE_SECONDS
    now, levels = await stock.levels(redis(), list(wanted))
    for sale, level in zip(wanted.values(), levels, strict=True):
        if level.brake is not None:
            if sale.brake is None or sale.brake.name != level.brake.name:
                await catalogue.note_brake(sale.id, level.brake)
        elif is_unheard and level.is_gone and sale.brake is None and sale.closes_at > now and sale.id not in vouched:
            log.error("sale %s: its gate is lost, and whether it was stopped can't be known: it stays paused", sale.sku)
            await catalogue.note_brake(sale.id, Brake(f"{UNKNOWN}-{sale.epoch}", now, NOBODY))
    await _write_down_agreement()


def _state() -> Collection:
    return collection("state")


@timed("mongodb")
async def _silence_seconds() -> float | None:
    """Since gate and ledger last agreed, by the ledger's clock; None when no worker has ever looked."""
    cursor = await _state().aggregate(
        [{"$match": {"_id": "brakes"}}, {"$project": {"ms": {"$subtract": ["$$NOW", "$agreed_at"]}}}]
    )
    rows = await cursor.to_list()
    return rows[0]["ms"] / 1000 if rows else None


@timed("mongodb")
async def _write_down_agreement() -> None:
    await _state().update_one({"_id": "brakes"}, [{"$set": {"agreed_at": "$$NOW"}}], upsert=True)
