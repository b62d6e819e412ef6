"""The gate: one typed function beside each stock script. Stock changes here and nowhere else.

Functions that run a script are one atomic step in Redis. All raise `redis.exceptions.RedisError` when the gate can't be
asked; the outcome of a call that raised is unknown, and repeating it is safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import orjson
from redis.asyncio import Redis
from redis.asyncio.lock import Lock

from flashdrop import redis_client
from flashdrop.envelope import from_ms, to_ms
from flashdrop.metrics import timed
from flashdrop.scripts import run_script
from sales.building import SETTLED_ENTRY, Building, Holding, nothing_more, parts_of
from sales.gate import (
    LEVELS,
    Answer,
    Brake,
    Held,
    Levels,
    Load,
    Publication,
    Quote,
    Reservation,
    Verdict,
    Wish,
    levels_from,
)
from sales.keys import rebuilding_key, sale_keys, tried_key
from sales.published import PublishedSale

T = TypeVar("T")
# Sale id and shopper id.
ShopperInSale = tuple[str, str]
# The longest log that is counted in one go: about 5 ms of the gate's time.
COUNTED_ENTRIES = 5000
# How long the gate remembers that a sale is archived: past any rebuild or publication that was under way.
TOMBSTONE_SECONDS = 30 * 86400
# A rebuild that dies keeps others waiting for at most this long; one that lives renews it.
LEASE_SECONDS = 10.0


@timed("redis")
async def reserve(client: Redis, sale_id: str, epoch: int, wishes: Sequence[Wish]) -> list[Answer]:
    """Decide `wishes` in order. One answer each; a granted one is pending until confirmed or released."""
    # One argument for all: the client encodes each argument by itself, at more than the script's own cost.
    purchases = orjson.dumps([tuple(wish) for wish in wishes])
    now_ms, version, answers = await run_script(client, "reserve", sale_keys(sale_id), [epoch, purchases])
    reserved_at = from_ms(now_ms)
    found = []
    for wish, answer in zip(wishes, answers, strict=True):
        verdict, held = Verdict(answer[0]), answer[1]
        if verdict is Verdict.GRANTED:
            units, slots, price, currency, entry_id = answer[2:]
            reservation = Reservation(
                sale_id=sale_id,
                order_id=wish.order_id,
                shopper_id=wish.shopper_id,
                units=_numbers(units),
                slots=_numbers(slots),
                price_minor=int(price),
                currency=currency,
                reserved_at=reserved_at,
                epoch=epoch,
                version=version,
                entry_id=entry_id,
                context=wish.context,
            )
            found.append(Answer(verdict, held, reservation))
        elif verdict is Verdict.KNOWN:
            found.append(Answer(verdict, held, entry_id=answer[4]))
        elif verdict is Verdict.OUT_OF_STOCK:
            found.append(Answer(verdict, held, available=answer[2]))
        elif verdict is Verdict.PRICE_CHANGED:
            found.append(Answer(verdict, held, quote=Quote(int(answer[2]), answer[3], version)))
        else:
            found.append(Answer(verdict, held))
    return found


@timed("redis")
async def confirm(client: Redis, sale_id: str, entry_ids: Sequence[str]) -> int:
    """Forget pending entries whose orders are in the ledger. Returns how many this call deleted."""
    deleted = 0
    for part in _runs(entry_ids):
        deleted += await run_script(client, "confirm", [sale_keys(sale_id).pending], part)
    return deleted


@timed("redis")
async def release(client: Redis, sale_id: str, held: Sequence[tuple[str, str]]) -> list[int]:
    """Put the units of `held`, pairs of shopper id and order id, back on sale. Returns how many, for each."""
    args = [part for pair in held for part in pair]
    counts: list[int] = await run_script(client, "release", sale_keys(sale_id), args)
    return counts


@timed("redis")
async def publish(client: Redis, sale: PublishedSale, *, create: bool) -> tuple[Publication, int]:
    """Put `sale` in force if it is newer than what the gate has; `create` loads a sale nobody can have bought from.

    Returns what became of it and the stock now in force, which is above `sale.stock` when higher units are held.
    """
    keys = sale_keys(sale.id)
    (run_id,) = await run_ids(client, [sale.id])
    args = [int(create), sale.epoch, sale.version, *sale.gate_args(), run_id, sale.knows_brake]
    status, stock = await run_script(client, "publish", [keys.sale, keys.returned], args)
    return Publication(status), stock


@timed("redis")
async def fence(client: Redis, sale_id: str, epoch: int) -> bool:
    """Stop a gate of `epoch` or older: it answers NOT_READY until it is rebuilt under a newer one."""
    return bool(await run_script(client, "fence", [sale_keys(sale_id).sale], [epoch]))


@timed("redis")
async def brake(client: Redis, sale_id: str, name: str, by: str, pulled_at: datetime | None = None) -> Brake | None:
    """Stop a sale at once, whatever the ledger does. Pulled again under its `name` it changes nothing.

    Returns the brake that holds, which may be another one; None when settings that know of this one are in force.
    """
    pulled = to_ms(pulled_at) if pulled_at is not None else 0
    text: str = await run_script(client, "brake", [sale_keys(sale_id).sale], [name, by, pulled])
    return Brake.parse(text) if text else None


@timed("redis")
async def held(client: Redis, sale_id: str) -> Held | None:
    """Units taken and units pending, of the same instant; None when the sale is not loaded or its log too long."""
    keys = sale_keys(sale_id)
    issued, pending_units = await run_script(client, "held", [keys.sale, keys.pending], [COUNTED_ENTRIES])
    return Held(issued, pending_units) if issued >= 0 else None


@timed("redis")
async def run_ids(client: Redis, sale_ids: Sequence[str]) -> list[str]:
    """The run of the server that holds each sale's gate now."""
    return await redis_client.run_ids(client, [sale_keys(sale_id).sale for sale_id in sale_ids])


@timed("redis")
async def levels(client: Redis, sale_ids: Sequence[str]) -> tuple[datetime, list[Levels]]:
    """The gate's clock, and the levels of each sale, in one round trip for all of them."""
    async with client.pipeline(transaction=False) as pipe:
        for sale_id in sale_ids:
            keys = sale_keys(sale_id)
            pipe.hmget(keys.sale, LEVELS)
            pipe.xlen(keys.pending)
        now, replies = await asyncio.gather(redis_client.server_time(client), pipe.execute())
    return now, [levels_from(fields, pending) for fields, pending in zip(replies[::2], replies[1::2], strict=True)]


@timed("redis")
async def pending(
    client: Redis, sale_id: str, *, before: datetime | None = None, count: int = 500, after: str = "-"
) -> list[Reservation]:
    """Pending reservations, oldest first, made before `before`; `after` is the entry id to go on from."""
    last = "+" if before is None else f"{int(before.timestamp() * 1000)}"
    first = "-" if after == "-" else f"({after}"
    return await _entries(client, sale_id, first, last, count)


@timed("redis")
async def pending_entry(client: Redis, sale_id: str, entry_id: str) -> Reservation | None:
    """The pending reservation at `entry_id`, None once it is settled."""
    entries = await _entries(client, sale_id, entry_id, entry_id, 1)
    return entries[0] if entries else None


@timed("redis")
async def pending_count(client: Redis, sale_id: str) -> int:
    """Reservations not yet settled."""
    length: int = await client.xlen(sale_keys(sale_id).pending)
    return length


@timed("redis")
async def pending_counts(client: Redis, sale_ids: Sequence[str]) -> list[int]:
    """`pending_count` of each sale, in one round trip for all of them."""
    async with client.pipeline(transaction=False) as pipe:
        for sale_id in sale_ids:
            pipe.xlen(sale_keys(sale_id).pending)
        counts: list[int] = await pipe.execute()
    return counts


@timed("redis")
async def held_by(client: Redis, questions: Sequence[ShopperInSale]) -> list[list[tuple[str, str]]]:
    """What the gate has of each shopper in each sale: pairs of order id and entry id. One round trip for all."""
    async with client.pipeline(transaction=False) as pipe:
        for sale_id, shopper_id in questions:
            pipe.hget(sale_keys(sale_id).shoppers, shopper_id)
        records = await pipe.execute()
    parts = [[part.split(" ") for part in (record or "").split(";") if part] for record in records]
    return [[(order_id, entry_id) for order_id, _, _, entry_id, *_ in mine] for mine in parts]


@timed("redis")
async def pending_of(client: Redis, questions: Sequence[ShopperInSale]) -> list[list[Reservation]]:
    """The reservations of each shopper in each sale that are still in the log. At most two round trips for all."""
    held = await held_by(client, questions)
    wanted = [
        (place, questions[place][0], entry_id)
        for place, mine in enumerate(held)
        for _, entry_id in mine
        if entry_id != SETTLED_ENTRY
    ]
    found: list[list[Reservation]] = [[] for _ in questions]
    if wanted:
        async with client.pipeline(transaction=False) as pipe:
            for _, sale_id, entry_id in wanted:
                pipe.xrange(sale_keys(sale_id).pending, entry_id, entry_id)
            for (place, sale_id, _), entries in zip(wanted, await pipe.execute(), strict=True):
                found[place] += [_from_entry(sale_id, entry_id, fields) for entry_id, fields in entries]
    return found


@timed("redis")
async def load(
    client: Redis,
    sale: PublishedSale,
    held: Iterable[Holding] | AsyncIterable[Holding],
    after_each_part: Callable[[], Awaitable[object]] = nothing_more,
) -> Load:
    """Put a gate in force that holds exactly `held`: shopper id, order id, units and slots of each order.

    Built aside as `held` is read, and swapped in one step, over a gate that was fenced and whose log is settled.
    """
    # Asked for first: if the server restarts while we build, the gate shows an earlier run and is rebuilt.
    (run_id,) = await run_ids(client, [sale.id])
    building = Building(client, sale)
    await building.begin()
    async for part in parts_of(held):
        await building.add(part)
        await after_each_part()
    async for gap in building.gaps():
        await building.return_units(gap)
        await after_each_part()
    noted = str(sale.brake) if sale.brake else ""
    counted = [sale.epoch, building.highest + 1, building.issued, sale.version]
    args = [*counted, *sale.gate_args(), run_id, sale.knows_brake, noted]
    return Load(await run_script(client, "load", [*sale_keys(sale.id), *building.keys], args))


@timed("redis")
async def retire(client: Redis, sale: PublishedSale) -> bool:
    """Let go of an archived sale's gate, unless it was published, rebuilt or reserved from since. Repeating is safe."""
    keys = sale_keys(sale.id)
    return bool(await run_script(client, "retire", keys, [sale.epoch, sale.version, TOMBSTONE_SECONDS]))


@timed("redis")
async def tried(client: Redis, sale_id: str, shopper_ids: Sequence[str], kept_seconds: int) -> None:
    """Count `shopper_ids` among those who tried to buy; about, see `sales/tally.py`. Repeating it changes nothing."""
    for part in _runs(shopper_ids):
        # One argument for all, as in `reserve`.
        await run_script(client, "tried", [tried_key(sale_id)], [orjson.dumps(part), kept_seconds])


def rebuild_lease(client: Redis, sale_id: str) -> Lock:
    """Whoever holds it rebuilds the sale's gate, so that others don't do the same work and outrun each other.

    It saves work and no more: epoch, floor and log are what keeps a wrong gate from being loaded.
    """
    return client.lock(rebuilding_key(sale_id), timeout=LEASE_SECONDS, blocking=False)


def _runs(items: Sequence[T], size: int = 1000) -> list[Sequence[T]]:
    """`items` in runs that fit into one command."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _numbers(joined: str) -> tuple[int, ...]:
    return tuple(map(int, joined.split(",")))


async def _entries(client: Redis, sale_id: str, first: str, last: str, count: int) -> list[Reservation]:
    found: Any = await client.xrange(sale_keys(sale_id).pending, first, last, count)
    return [_from_entry(sale_id, entry_id, fields) for entry_id, fields in found]


def _from_entry(sale_id: str, entry_id: str, fields: dict[str, str]) -> Reservation:
    return Reservation(
        sale_id=sale_id,
        order_id=fields["order"],
        shopper_id=fields["shopper"],
        units=_numbers(fields["units"]),
        slots=_numbers(fields["slots"]),
        price_minor=int(fields["price"]),
        currency=fields["currency"],
        reserved_at=from_ms(int(fields["at"])),
        epoch=int(fields.get("epoch", 0)),
        version=int(fields.get("version", 0)),
        entry_id=entry_id,
        context=fields["context"],
    )
