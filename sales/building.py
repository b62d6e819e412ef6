"""Building a gate aside, while what it shall hold is read.

However many orders there are, this holds one part of them and a bit for each unit: 1.25 MB for ten million. A shopper
with several orders is put together at the gate, since nothing says that they come one after another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import TypeVar

from flashdrop.metrics import timed
from flashdrop.redis_client import Gate
from sales.keys import aside, sale_keys
from sales.published import PublishedSale

T = TypeVar("T")
# Shopper id, order id, units and slots.
Holding = tuple[str, str, tuple[int, ...], tuple[int, ...]]
# In a shopper's record, the entry id of an order that is in the ledger already.
SETTLED_ENTRY = "0-0"
# What a rebuild that died half-way leaves behind goes away by itself.
ASIDE_SECONDS = 600
AT_ONCE = 1000


class Building:
    """The gate of `sale` under its new epoch, until it is swapped in."""

    def __init__(self, client: Gate, sale: PublishedSale) -> None:
        self._client = client
        self.keys = aside(sale_keys(sale.id), sale.epoch)
        self._taken = Units()

    @property
    def highest(self) -> int:
        """The highest unit held, 0 when none is."""
        return self._taken.highest

    @property
    def issued(self) -> int:
        """How many units are held."""
        return self._taken.count

    async def begin(self) -> None:
        """With nothing, whatever an earlier try has left."""
        await self._client.delete(*self.keys)

    @timed("redis")
    async def add(self, part: Sequence[Holding]) -> None:
        """Add orders. A try that failed half-way is not to be repeated: begin again."""
        records: defaultdict[str, list[str]] = defaultdict(list)
        for shopper_id, order_id, units, slots in part:
            records[shopper_id].append(f"{order_id} {_joined(units)} {_joined(slots)} {SETTLED_ENTRY}")
            self._taken.add(units)
        shoppers, _ = self.keys
        before = await self._client.hmget(shoppers, list(records))
        for mine, earlier in zip(records.values(), before, strict=True):
            if earlier:
                mine.append(str(earlier))
        await self._client.hset(shoppers, mapping={shopper_id: ";".join(mine) for shopper_id, mine in records.items()})
        await self._client.expire(shoppers, ASIDE_SECONDS)

    def gaps(self) -> AsyncIterator[list[int]]:
        """The units below the highest that nobody holds, in parts. Once all orders were added."""
        return parts_of(self._taken.free())

    @timed("redis")
    async def return_units(self, gap: Sequence[int]) -> None:
        """Note units that are free. Repeating it changes nothing."""
        shoppers, returned = self.keys
        await self._client.zadd(returned, {str(unit): unit for unit in gap})
        await self._client.expire(returned, ASIDE_SECONDS)
        await self._client.expire(shoppers, ASIDE_SECONDS)


class Units:
    """A set of unit numbers, a bit for each."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self.count = 0
        self.highest = 0

    def add(self, units: Iterable[int]) -> None:
        """Adding one again changes nothing."""
        for unit in units:
            place, bit = unit >> 3, 1 << (unit & 7)
            if place >= len(self._bits):
                self._bits.extend(bytes(place + 1 - len(self._bits)))
            if not self._bits[place] & bit:
                self._bits[place] |= bit
                self.count += 1
                self.highest = max(self.highest, unit)

    def free(self) -> Iterator[int]:
        """Those from 1 up to the highest that are not in it, in order."""
        for place, byte in enumerate(self._bits):
            if byte != 0xFF:
                for unit in range(place << 3, (place + 1) << 3):
                    if 0 < unit < self.highest and not byte & (1 << (unit & 7)):
                        yield unit


async def parts_of(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[list[T]]:
    """`items` in parts that fit into one command."""
    part: list[T] = []
    async for one in items if isinstance(items, AsyncIterable) else _each(items):
        part.append(one)
        if len(part) == AT_ONCE:
            yield part
            part = []
    if part:
        yield part


async def nothing_more() -> None:
    """For whoever has nothing to do between two parts."""


async def _each(items: Iterable[T]) -> AsyncIterator[T]:
    for one in items:
        yield one


def _joined(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
