"""The trial of one fault."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import replace

from flashdrop.faults.back_office import change, open_sale
from flashdrop.faults.cluster import Cluster
from flashdrop.faults.faults import Fault, Scene
from flashdrop.faults.history import sell_before
from flashdrop.faults.http import Reply, request
from flashdrop.faults.processes import until
from flashdrop.faults.ready import shows_active
from flashdrop.faults.row import Row
from flashdrop.faults.shoppers import Crowd, plans_for
from flashdrop.faults.suite import Options
from flashdrop.faults.verdict import Balance, Record, balance, judge
from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import RedisError
from orders.identity import cookie_value, sign_in
from sales import catalogue
from sales.published import PublishedSale

RUSH_AT_SECONDS = 1.5
SHOWN_SECONDS = 15.0
# A worker finishes what a dead process left behind after three seconds.
GRACE_SECONDS = 4.5
PROBE_SECONDS = 8.0
PROBES_PER_SECOND = 100
SPARE_PROBES = 5
# Each lands on one of the web workers.
ASKED = 6
log = logging.getLogger(__name__)


class Trial:
    """A fresh sale, a storm with `fault` in its middle, and the verdict."""

    def __init__(self, cluster: Cluster, fault: Fault, options: Options) -> None:
        self._cluster = cluster
        self._fault = fault
        self._options = options
        self._rng = random.Random(f"{options.seed}/{fault.name}")
        self._ids: dict[str, str] = {}

    async def run(self) -> Row:
        """Try it. Takes the storm, the fault, and what settling needs."""
        fault, cluster = self._fault, self._cluster
        sale = await self._open_sale()
        if fault.sold_before:
            sale = await sell_before(cluster, sale, fault.sold_before)
        crowd = Crowd(sale.sku, lambda: [web.port for web in cluster.webs], self._rng)
        names = [f"{fault.name} shopper {number}" for number in range(fault.shoppers)]
        rush_at = RUSH_AT_SECONDS if fault.is_rush else 0
        plans = plans_for(names, self._cookie, self._rng, fault.spread, leavers=fault.leavers, rush_at=rush_at)
        scene = Scene(cluster, sale, self._rng, self._options.is_quick, lambda: crowd.in_flight)
        storm = asyncio.create_task(crowd.storm(plans))
        await asyncio.sleep(RUSH_AT_SECONDS)
        await scene.busy()
        await fault.strike(scene)
        ended_at = time.monotonic()
        limit = ended_at + (self._options.settle_seconds or fault.settles_in)
        crowd.deadline = max(limit, ended_at + fault.spread)
        await storm
        balanced_after = await self._settle(sale, ended_at, max(limit, time.monotonic() + GRACE_SECONDS))

        probed_at = time.monotonic()
        bought = {answer.shopper for answer in crowd.answers if answer.is_success}
        crowd.deadline = probed_at + PROBE_SECONDS + len(bought) / PROBES_PER_SECOND
        await asyncio.gather(*(crowd.try_again(crowd.plans[name]) for name in sorted(bought)))
        false_boards = await self._false_boards(sale)
        await self._buy_what_is_left(crowd, sale)
        if balanced_after is not None and await self._settle(sale, ended_at, time.monotonic() + GRACE_SECONDS) is None:
            scene.notes.append("out of balance again after the probes")
            balanced_after = None
        record = Record(
            fault=fault,
            sale=sale,
            answers=crowd.answers,
            ids=self._ids,
            ended_at=ended_at,
            probed_at=probed_at,
            balanced_after=balanced_after,
            false_boards=false_boards,
            window_moves=fault.moves_window,
            notes=[*scene.notes, *(f"never answered: {name}" for name in sorted(crowd.unfinished)[:3])],
        )
        row = replace(await judge(record), failures=scene.failures)
        await change(sale.id, published=False)
        return row

    def _cookie(self, name: str) -> str:
        from orders.identity import COOKIE

        shopper = sign_in(name)
        self._ids[name] = shopper.id
        return f"{COOKIE}={cookie_value(shopper)}"

    async def _open_sale(self) -> PublishedSale:
        """Publish a sale as the admin does, and wait until every web worker shows it."""
        sale = await open_sale(self._fault.name, self._fault.stock)
        for web in self._cluster.webs:
            port = web.port
            await until(lambda port=port: shows_active(port, sale.sku), SHOWN_SECONDS, f"{web.name} shows the sale")  # type: ignore[misc]
        await asyncio.sleep(1.1)  # the other worker's turn
        return sale

    async def _settle(self, sale: PublishedSale, since: float, limit: float) -> float | None:
        """Seconds since `since` until all was in balance, seen twice; None when that was not before `limit`."""
        first: float | None = None
        while True:
            found = await self._balance(sale)
            now = time.monotonic()
            if found is None or not found.holds or found.pending:
                first = None
            elif first is None:
                first = now
            else:
                return round(first - since, 1)
            if now > limit:
                return None
            await asyncio.sleep(0.5)

    async def _balance(self, sale: PublishedSale) -> Balance | None:
        try:
            return await balance(sale.id)
        except (PyMongoError, RedisError) as error:
            log.info("a store can't be asked yet: %r", error)
            return None

    async def _false_boards(self, sale: PublishedSale) -> int:
        """Pages that say "sold out" although units are free."""
        found = await self._balance(sale)
        if found is None or found.available <= 0:
            return 0
        path = f"/api/products/{sale.sku}/sale-status"
        asked = [request(web.port, "GET", path, {}) for web in self._cluster.webs for _ in range(ASKED)]
        replies = await asyncio.gather(*asked, return_exceptions=True)
        return sum(isinstance(reply, Reply) and reply.data.get("phase") == "sold_out" for reply in replies)

    async def _buy_what_is_left(self, crowd: Crowd, sale: PublishedSale) -> None:
        """New shoppers for every free unit and a few more: the last of them must be told "sold out", nobody before."""
        found = await self._balance(sale)
        current = await catalogue.get(sale.id)
        free = (current.stock - found.confirmed) if found and current else 0
        names = [f"{self._fault.name} probe {number}" for number in range(max(0, free) + SPARE_PROBES)]
        await crowd.storm(plans_for(names, self._cookie, self._rng, 0.5, leavers=0, duplicates=0))
