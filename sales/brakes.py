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
from typing import Any

from flashdrop.envelope import to_ms
from flashdrop.metrics import timed
from flashdrop.mongo_client import Collection, PyMongoError, collection, within
from flashdrop.redis_client import redis
from sales import catalogue, stock
from sales.gate import Brake, Levels
from sales.keys import GATE_NAME, WORKER_ALIVE
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


@dataclass(frozen=True, slots=True)
class _Seen:
    """A brake that held, and which earlier ones settings knew of then. Another one since: this one, or a later one."""

    brake: Brake
    let_go_before: set[str]


class Memory:
    """The brakes that this process has seen, and that no settings know of yet."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    async def hold(self, levels: Mapping[str, Levels], sales: Mapping[str, PublishedSale]) -> None:
        """Remember the brakes in `levels`; pull those again that the gate has lost.

        Raises:
            redis.exceptions.RedisError: the gate can't be asked; they are pulled at the next call.
        """
        for sale_id in [sale_id for sale_id in self._seen if sale_id not in sales]:
            del self._seen[sale_id]
        for sale_id, level in levels.items():
            known, seen = {level.knows_brake, sales[sale_id].knows_brake}, self._seen.get(sale_id)
            if level.brake is not None:
                earlier = seen.let_go_before if seen is not None and seen.brake == level.brake else set()
                self._seen[sale_id] = _Seen(level.brake, known | earlier)
            elif seen is not None:
                if known - seen.let_go_before - {""}:
                    del self._seen[sale_id]
                    continue
                brake = seen.brake
                log.error("sale %s: the gate has lost a brake pulled by %s; it is pulled again", sale_id, brake.by)
                await stock.brake(redis(), sale_id, brake.name, brake.by, brake.pulled_at)


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
        sales = self._sales  # the other look may replace them meanwhile
        _, levels = await stock.levels(redis(), list(sales))
        found = dict(zip(sales, levels, strict=True))
        await self._memory.hold(found, sales)
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
    One that was not on sale when both agreed last, new or back from the archive, has not been at the gate since, if
    that still has its data.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store can't be asked.
    """
    wanted = {sale.id: sale for sale in sales}
    gate_name: Any = await redis().get(GATE_NAME)
    unheard = await _unheard(list(wanted), gate_name)
    now, levels = await stock.levels(redis(), list(wanted))
    for sale, level in zip(wanted.values(), levels, strict=True):
        if level.brake is not None:
            if sale.brake is None or sale.brake.name != level.brake.name:
                await catalogue.note_brake(sale.id, level.brake)
        elif level.is_gone and sale.brake is None and sale.closes_at > now and sale.id in unheard - set(vouched):
            log.error("sale %s: its gate is lost, and whether it was stopped can't be known: it stays paused", sale.sku)
            await catalogue.note_brake(sale.id, Brake(f"{UNKNOWN}-{sale.epoch}", now, NOBODY))
    if gate_name is None:
        await redis().set(GATE_NAME, secrets.token_hex(6), nx=True)
        gate_name = await redis().get(GATE_NAME)
    await _write_down_agreement(list(wanted), gate_name)


def _state() -> Collection:
    return collection("state")


@timed("mongodb")
async def _unheard(sale_ids: list[str], gate_name: str | None) -> set[str]:
    """Those of whose gates the ledger may have missed something: nobody has agreed for long, by its own clock."""
    passed = {"$subtract": ["$$NOW", "$agreed_at"]}
    wanted = {"ms": passed, "sales": 1, "gate_name": 1}
    cursor = await _state().aggregate([{"$match": {"_id": "brakes"}}, {"$project": wanted}])
    rows = await cursor.to_list()
    if not rows or rows[0]["ms"] / 1000 <= SILENCE_SECONDS:
        return set()
    is_same_gate = gate_name is not None and rows[0].get("gate_name") == gate_name
    return set(sale_ids) & set(rows[0]["sales"]) if is_same_gate else set(sale_ids)


@timed("mongodb")
async def _write_down_agreement(sale_ids: list[str], gate_name: str | None) -> None:
    agreed = {"agreed_at": "$$NOW", "sales": {"$literal": sale_ids}, "gate_name": {"$literal": gate_name}}
    await _state().update_one({"_id": "brakes"}, [{"$set": agreed}], upsert=True)
