"""Shoppers who want one unit each, whatever it takes, and write down every answer they get.

A shopper repeats with the same idempotency key after anything that is not a definite answer: network errors, timeouts,
5xx, a pause, a 429. One who was told "pending" asks for the order until it is settled, as the page does. Some press the
button several times at once; some leave in the middle of a request, and most of those come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from flashdrop.faults.http import ClientLeft, Leave, Reply, request

REQUEST_SECONDS = 9.0
PAUSE_SECONDS = (0.15, 0.5)
CONCURRENCY = 60
RUSH_SECONDS = 0.1
# A shopper told "pending" who then hears "no such order" this often presses the button again.
PATIENCE = 6
DONE = "completed"
GIVEN_UP = ("released", "cancelled")
AGAIN_LATER = {"SALE_PAUSED", "FLASH_SALE_NOT_STARTED", "FLASH_SALE_ENDED", "RATE_LIMITED", "PRODUCT_NOT_FOUND"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, or the lack of one: then `status` is 0 and `code` says why. Times are monotonic seconds."""

    shopper: str
    sent_at: float
    answered_at: float
    status: int
    code: str
    order_id: str | None
    units: tuple[int, ...]
    order_status: str | None
    is_purchase: bool

    @property
    def is_success(self) -> bool:
        """The shopper was told that the order is theirs."""
        return self.status in (200, 201) and self.order_status == DONE


@dataclass(frozen=True, slots=True)
class Plan:
    """How one shopper behaves."""

    shopper: str
    cookie: str
    key: str
    arrives_after: float
    copies: int
    leaves: Leave | None
    comes_back: bool


Ports = Callable[[], list[int]]


class Crowd:
    """All shoppers of one sale and what they were told."""

    def __init__(self, sku: str, ports: Ports, rng: random.Random) -> None:
        self.answers: list[Answer] = []
        self.plans: dict[str, Plan] = {}
        self.deadline = float("inf")
        self.unfinished: set[str] = set()
        self.in_flight = 0
        self._sku = sku
        self._ports = ports
        self._rng = rng
        self._places = asyncio.Semaphore(CONCURRENCY)

    async def storm(self, plans: list[Plan]) -> None:
        """Let them all buy; returns when each has a definite answer or has given up at `deadline`."""
        self.plans |= {plan.shopper: plan for plan in plans}
        await asyncio.gather(*(self._shop(plan) for plan in plans))

    async def try_again(self, plan: Plan) -> Answer:
        """The same purchase once more."""
        return await self._ask(plan)

    async def _shop(self, plan: Plan) -> None:
        await asyncio.sleep(plan.arrives_after)
        if plan.leaves is not None:
            await self._ask(plan, plan.leaves)
            if not plan.comes_back:
                return
        copies = [self._insist(plan) for _ in range(plan.copies)]
        await asyncio.gather(*copies)

    async def _insist(self, plan: Plan) -> None:
        while time.monotonic() < self.deadline:
            answer = await self._ask(plan)
            if answer.status == 202 and not await self._follow(plan):
                continue
            if answer.status and answer.status < 500 and answer.code not in AGAIN_LATER:
                return
            await self._pause()
        self.unfinished.add(plan.shopper)

    async def _follow(self, plan: Plan) -> bool:
        """Ask for a pending order until it is settled. False when it is to be bought again."""
        missing = 0
        while time.monotonic() < self.deadline and missing < PATIENCE:
            await self._pause()
            answer = await self._ask(plan, is_purchase=False)
            if answer.order_status == DONE or answer.order_status in GIVEN_UP:
                return True
            missing += answer.status == 404
        return False

    async def _pause(self) -> None:
        await asyncio.sleep(self._rng.uniform(*PAUSE_SECONDS))

    async def _ask(self, plan: Plan, leave: Leave | None = None, is_purchase: bool = True) -> Answer:
        headers = {"Cookie": plan.cookie, "Idempotency-Key": plan.key}
        async with self._places:
            sent_at = time.monotonic()
            self.in_flight += 1
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    reply = await self._send(headers, leave, is_purchase)
            except ClientLeft:
                reply = Reply(0, "left")
            except TimeoutError:
                reply = Reply(0, "no answer")
            except (OSError, ValueError, IndexError):
                reply = Reply(0, "connection")
            finally:
                self.in_flight -= 1
        answer = _answer(plan.shopper, sent_at, reply, is_purchase)
        self.answers.append(answer)
        return answer

    async def _send(self, headers: dict[str, str], leave: Leave | None, is_purchase: bool) -> Reply:
        ports = self._ports()
        if not ports:
            raise ConnectionRefusedError
        port = self._rng.choice(ports)
        if is_purchase:
            return await request(port, "POST", "/api/orders", headers, body={"sku": self._sku}, leave=leave)
        return await request(port, "GET", f"/api/orders/{self._sku}", headers)


def plans_for(
    names: list[str],
    cookie_of: Callable[[str], str],
    rng: random.Random,
    over_seconds: float,
    *,
    leavers: float = 0.08,
    duplicates: float = 0.15,
    rush_at: float = 0.0,
) -> list[Plan]:
    """Shoppers who arrive over a time; shares of them leave midway or press the button several times.

    A quarter comes before `rush_at`, another quarter all at once at that moment, the rest evenly until the end.
    """
    quarter = len(names) // 4 if rush_at else 0
    arrivals = [
        *(rush_at * place / quarter for place in range(quarter)),
        *(rush_at + rng.uniform(0, RUSH_SECONDS) for _ in range(quarter)),
        *(rush_at + (over_seconds - rush_at) * rng.random() for _ in range(len(names) - 2 * quarter)),
    ]
    return [
        Plan(
            shopper=name,
            cookie=cookie_of(name),
            key=f"key-{rng.getrandbits(64):x}",
            arrives_after=arrives_after,
            copies=rng.randint(2, 4) if rng.random() < duplicates else 1,
            leaves=rng.choice(list(Leave)) if rng.random() < leavers else None,
            comes_back=rng.random() < 0.8,
        )
        for name, arrives_after in zip(names, arrivals, strict=True)
    ]


def _answer(shopper: str, sent_at: float, reply: Reply, is_purchase: bool) -> Answer:
    units: tuple[int, ...] = ()
    with contextlib.suppress(TypeError, ValueError):
        units = tuple(int(unit) for unit in reply.data.get("units", ()))
    return Answer(
        shopper=shopper,
        sent_at=sent_at,
        answered_at=time.monotonic(),
        status=reply.status,
        code=reply.code or str(reply.status),
        order_id=reply.data.get("_id"),
        units=units,
        order_status=reply.data.get("status"),
        is_purchase=is_purchase,
    )
