"""What a rehearsal does, step by step: test shoppers on the path that real ones take, from the reservation on."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from flashdrop.redis_client import redis, server_time
from orders.audit import audit
from orders.identity import Shopper
from orders.order import OrderStatus
from orders.placing import Placed, Placement, Refusal, Refused, place_in
from orders.rehearsal.copy import HiddenCopy
from orders.rehearsal.record import Plan, Step
from sales import catalogue

OPENS_IN = timedelta(seconds=4)
LASTS = timedelta(minutes=2)
EARLY_EVERY_SECONDS = 0.02
# All steps together; a step that is under way ends by the stores' own limits.
LIMIT_SECONDS = 25.0
AT_THE_SECOND_MS = 500
TRIES_WHILE_PAUSED = 20
AUDITED = {
    "1": "never oversold",
    "2": "nobody over the limit",
    "3": "every confirmed order is in the ledger",
    "4": "no unit stranded",
}
Tell = Callable[[Step], Awaitable[None]]


class TookTooLong(Exception):
    """The steps so far have used up the time; the rest is left out."""


@dataclass(slots=True)
class Answered:
    """One test shopper's answer, and how long it took."""

    shopper: Shopper
    placement: Placement
    seconds: float

    @property
    def is_confirmed(self) -> bool:
        return isinstance(self.placement, Placed) and self.placement.order.status is OrderStatus.COMPLETED

    @property
    def refusal(self) -> Refusal | None:
        return self.placement.refusal if isinstance(self.placement, Refused) else None


class Performance:
    """The steps, in their order. `tell` hears of each step when it begins and when it is judged."""

    def __init__(self, copy: HiddenCopy, plan: Plan, tell: Tell) -> None:
        self._copy = copy
        self._plan = plan
        self._tell = tell
        self._line = [stand_in(number) for number in range(1, plan.shoppers + 1)]
        self._answers: list[Answered] = []
        self._deadline = time.monotonic() + LIMIT_SECONDS
        self.selling_seconds = 0.0

    async def run(self) -> None:
        """Every step, one after another.

        Raises:
            TookTooLong: some are left out.
            NotInForce: the gate has lost the copy.
            pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store is away.
        """
        for name, step in (
            ("Kept from shoppers", self._hidden),
            ("Opens at the second", self._opening),
            ("Pause and resume", self._pausing),
            ("Sells exactly the stock", self._selling),
            ("Nobody gets more than the limit", self._limit),
            ("A retry gets the same order", self._retry),
            ("Closes when told", self._closing),
            ("The promises, audited", self._audit),
            ("How quickly shoppers were answered", self._latency),
        ):
            if time.monotonic() > self._deadline:
                raise TookTooLong
            judged = Step(name)
            await self._tell(judged)
            judged.holds, judged.found = await step()
            await self._tell(judged)

    async def _hidden(self) -> tuple[bool, str]:
        listed = any(sale.id == self._copy.id for sale in await catalogue.every())
        if listed or self._copy.sale.published:
            return False, "The copy is among the sales that the shop shows. Call whoever runs the shop."
        return True, "The shop's pages, product list and front page don't know the copy, and nobody can order from it."

    async def _opening(self) -> tuple[bool, str]:
        first, early = self._line[0], 0
        while True:
            answer = await self._try(first, key="first")
            if answer.refusal is not Refusal.NOT_STARTED:
                break
            early += 1
            await asyncio.sleep(EARLY_EVERY_SECONDS)
        self._answers.append(answer)
        if not isinstance(answer.placement, Placed):
            return False, f"The first try after the opening was refused: {_words(answer.refusal)}."
        late = round((answer.placement.order.reserved_at - self._copy.sale.opens_at) / timedelta(milliseconds=1))
        said = f"{early} early tries were refused. The first unit went {late} ms after the opening."
        return early > 0 and 0 <= late <= AT_THE_SECOND_MS, said

    async def _pausing(self) -> tuple[bool, str]:
        began = time.monotonic()
        half = max(1, min(self._plan.units, self._plan.shoppers) // 2)
        await self._rush(self._line[1:half])
        self.selling_seconds += time.monotonic() - began
        sold = self._sold
        await self._copy.publish(paused=True)
        waiting = self._line[half : half + TRIES_WHILE_PAUSED]
        paused = await asyncio.gather(*(self._try(one) for one in waiting))
        await self._copy.publish(paused=False)
        refused = sum(answer.refusal is Refusal.PAUSED for answer in paused)
        after = await self._try(waiting[0])
        self._answers.append(after)
        said = (
            f"Paused with {sold} of {self._plan.units} sold: {refused} of {len(paused)} tries were refused as paused. "
            f"After resuming, the next try {'was sold a unit' if after.is_confirmed else 'was refused'}."
        )
        return refused == len(paused) and after.is_confirmed, said

    async def _selling(self) -> tuple[bool, str]:
        began = time.monotonic()
        served = {answer.shopper.id for answer in self._answers}
        await self._rush([one for one in self._line if one.id not in served])
        self.selling_seconds += time.monotonic() - began
        units = sorted(
            unit for one in self._answers if isinstance(one.placement, Placed) for unit in one.placement.order.units
        )
        told = Counter(answer.refusal for answer in self._answers if answer.refusal)
        pending = sum(isinstance(one.placement, Placed) and not one.is_confirmed for one in self._answers)
        said = f"{len(self._answers)} shoppers for {self._plan.units} units: {self._sold} orders confirmed"
        if units == list(range(1, self._plan.units + 1)):
            said += f", units 1 to {self._plan.units}, each once"
        said += f"; {told[Refusal.OUT_OF_STOCK]} were told that it is sold out."
        if pending:
            said += f" {pending} were still being confirmed: the ledger is slow."
        others = sum(told.values()) - told[Refusal.OUT_OF_STOCK]
        if others:
            reasons = ", ".join(_words(refusal) for refusal in told if refusal is not Refusal.OUT_OF_STOCK)
            said += f" {others} were refused for another reason: {reasons}."
        exactly = units == list(range(1, self._plan.units + 1)) and self._sold == self._plan.units
        return exactly and not others, said

    async def _limit(self) -> tuple[bool, str]:
        limit = self._copy.sale.limit_per_shopper
        answer = await self._try(self._line[0], quantity=limit)
        held = "1 unit" if limit == 1 else f"1 unit of {limit} allowed"
        return (
            answer.refusal is Refusal.LIMIT_EXCEEDED,
            f"A shopper with {held} asked for {limit} more: {_words(answer.refusal)}.",
        )

    async def _retry(self) -> tuple[bool, str]:
        before = self._answers[0].placement
        answer = await self._try(self._line[0], key="first")
        same = (
            isinstance(before, Placed)
            and isinstance(answer.placement, Placed)
            and answer.placement.order.id == before.order.id
            and not answer.placement.is_new
        )
        return (
            same,
            "The first shopper pressed again: the same order, no second one." if same else "It got another answer.",
        )

    async def _closing(self) -> tuple[bool, str]:
        await self._copy.publish(closes_at=await server_time(redis()))
        answer = await self._try(stand_in(self._plan.shoppers + 1))
        return answer.refusal is Refusal.ENDED, f"Closed, then one more try: {_words(answer.refusal)}."

    async def _audit(self) -> tuple[bool, str]:
        await self._copy.settle()
        found = await audit(self._copy.sale)
        if found.holds:
            return True, f"Both stores were counted: {', '.join(AUDITED.values())}."
        broken = "; ".join(f"{one.promise}: {one.figures}" for one in found.findings if not one.holds)
        return False, f"Broken: {broken}. Don't open; call whoever runs the shop."

    async def _latency(self) -> tuple[bool, str]:
        took = sorted(answer.seconds * 1000 for answer in self._answers)
        middle, slow = took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)]
        return True, (
            f"{len(took)} tries: half within {middle:.0f} ms, 99 of 100 within {slow:.0f} ms, the slowest "
            f"{took[-1]:.0f} ms. All at once, in one process, without the way through the internet."
        )

    @property
    def _sold(self) -> int:
        return sum(answer.is_confirmed for answer in self._answers)

    async def _rush(self, shoppers: Sequence[Shopper]) -> None:
        self._answers += await asyncio.gather(*(self._try(one) for one in shoppers))
        await self._copy.let_expire()

    async def _try(self, shopper: Shopper, quantity: int = 1, key: str | None = None) -> Answered:
        began = time.perf_counter()
        placement = await place_in(self._copy.sale, shopper, quantity, key)
        return Answered(shopper, placement, time.perf_counter() - began)


def stand_in(number: int) -> Shopper:
    """Somebody who is nobody: an id that no real shopper has."""
    return Shopper(f"rehearsal-{secrets.token_hex(8)}", f"Test shopper {number}", "rehearsal")


def _words(refusal: Refusal | None) -> str:
    said = {
        None: "it was sold a unit",
        Refusal.LIMIT_EXCEEDED: "refused, has all that is allowed",
        Refusal.ENDED: "refused, the sale is over",
        Refusal.OUT_OF_STOCK: "refused, sold out",
        Refusal.PRICE_CHANGED: "refused, the price had changed",
        Refusal.PAUSED: "refused, paused",
        Refusal.NOT_STARTED: "refused, not started yet",
        Refusal.NOT_READY: "refused, the stores did not answer",
        Refusal.OVERLOADED: "refused, too many at once",
    }
    return said.get(refusal, f"refused, {refusal.value}" if refusal else "")
