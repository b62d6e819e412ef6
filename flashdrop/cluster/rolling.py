"""A rolling restart of the web tier under steady traffic: what clients and viewers of nginx saw of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import websockets
from django.urls import reverse

from flashdrop.cluster.installation import Installation
from flashdrop.faults.http import request
from flashdrop.faults.processes import Process, until
from sales.published import PublishedSale

CLIENTS = 24
VIEWERS = 20
# Some answers before the first restart and after the last.
AROUND_SECONDS = 2.0
REQUEST_SECONDS = 15.0
VIEWERS_SECONDS = 20.0
PAUSE_SECONDS = 0.01
SERVER_ERRORS = 500


@dataclass(slots=True)
class Restarted:
    """What was seen. Everything in `failures` is a request that got no answer, or one of 500 and above."""

    answers: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    confirmed: set[str] = field(default_factory=set)
    """The ids of the orders that clients were told are confirmed."""
    slowest_seconds: float = 0.0
    connects: int = 0
    """Websockets opened: one for each viewer, and one more for each time that one was sent away."""
    blind_viewers: int = 0
    """Viewers who never saw the banner as it was at the end."""
    took_seconds: float = 0.0

    def __str__(self) -> str:
        by_status = ", ".join(f"{count:,} x {status}" for status, count in sorted(self.answers.items()))
        return (
            f"{sum(self.answers.values()):,} answers in {self.took_seconds:.0f} s ({by_status}), "
            f"{sum(self.failures.values())} failures; {len(self.confirmed):,} orders confirmed; "
            f"slowest {self.slowest_seconds:.2f} s; {self.connects} websockets, {self.blind_viewers} of them blind"
        )


class Traffic:
    """Clients who buy and look, each request on a connection of its own, without an idempotency key."""

    def __init__(self, cluster: Installation, sale: PublishedSale, rng: random.Random) -> None:
        self._cluster = cluster
        self._sale = sale
        self._rng = rng
        self._count = 0
        self._stopping = False
        self._newest: dict[int, str] = {}
        self.seen = Restarted()

    def stop(self) -> None:
        self._stopping = True

    async def one_client(self) -> None:
        """Ask until told to stop."""
        sku = self._sale.sku
        pages = (f"/sales/{sku}/", f"/sales/{sku}/banner", f"/api/products/{sku}/sale-status")
        looks = ("/", *pages, reverse("admin:login"))
        while not self._stopping:
            if self._rng.random() < 0.5:
                await self._ask("POST", "/api/orders", self._new_shopper(), {"sku": sku})
            else:
                await self._ask("GET", self._rng.choice(looks), {}, None)
            await asyncio.sleep(PAUSE_SECONDS)

    async def one_viewer(self, number: int) -> None:
        """Hold a websocket until cancelled, and come back as the page does whenever it is sent away."""
        address = f"ws://127.0.0.1:{self._cluster.nginx.port}/ws/sales/{self._sale.sku}/"
        while True:
            with contextlib.suppress(OSError, TimeoutError, websockets.WebSocketException):
                async with websockets.connect(address, origin=self._cluster.url) as socket:  # type: ignore[arg-type]
                    self.seen.connects += 1
                    async for banner in socket:
                        self._newest[number] = str(banner)
            await asyncio.sleep(self._rng.uniform(0.1, 0.5))

    async def viewers_see(self, available: int) -> None:
        """Count the viewers who don't come to see that many units left."""
        shown = f'data-available="{available}"'

        async def all_see() -> bool:
            self.seen.blind_viewers = sum(shown not in self._newest.get(number, "") for number in range(VIEWERS))
            return self.seen.blind_viewers == 0

        with contextlib.suppress(TimeoutError):
            await until(all_see, VIEWERS_SECONDS, "the viewers")

    async def _ask(self, method: str, path: str, headers: dict[str, str], body: dict[str, str] | None) -> None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                reply = await request(self._cluster.nginx.port, method, path, headers, body=body)
        except (OSError, TimeoutError, ValueError, IndexError) as error:
            self.seen.failures[f"{method} {path}: {error!r}"] += 1
            return
        self.seen.slowest_seconds = max(self.seen.slowest_seconds, time.monotonic() - started)
        self.seen.answers[reply.status] += 1
        if reply.status >= SERVER_ERRORS:
            self.seen.failures[f"{method} {path}: {reply.status} {reply.code}"] += 1
        if reply.status == 201:
            self.seen.confirmed.add(reply.data["_id"])

    def _new_shopper(self) -> dict[str, str]:
        from orders.identity import COOKIE, cookie_value, sign_in

        self._count += 1
        return {"Cookie": f"{COOKIE}={cookie_value(sign_in(f'rolling shopper {self._count}'))}"}


async def roll(
    cluster: Installation,
    sale: PublishedSale,
    hosts: Sequence[Process],
    restart: Callable[[Process], Awaitable[None]],
    seed: int,
) -> Restarted:
    """`restart` each of `hosts` in turn while clients ask and viewers watch."""
    traffic = Traffic(cluster, sale, random.Random(seed))
    started = time.monotonic()
    clients = [asyncio.create_task(traffic.one_client()) for _ in range(CLIENTS)]
    viewers = [asyncio.create_task(traffic.one_viewer(number)) for number in range(VIEWERS)]
    try:
        await asyncio.sleep(AROUND_SECONDS)
        for host in hosts:
            await restart(host)
        await asyncio.sleep(AROUND_SECONDS)
        traffic.stop()
        await asyncio.gather(*clients)
        traffic.seen.took_seconds = time.monotonic() - started
        await traffic.viewers_see(sale.stock - len(traffic.seen.confirmed))
    finally:
        for task in (*clients, *viewers):
            task.cancel()
        await asyncio.gather(*clients, *viewers, return_exceptions=True)
    return traffic.seen
