"""What shoppers were told and how many tried: counted by every process, added up in one place, never in the way."""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import Any

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from conftest import BASE_DIR, Publish, cookie_of, eventually, shopper
from flashdrop.redis_client import redis
from sales import tally
from sales.hub import Viewer, hub
from sales.keys import told_key, tried_key
from sales.published import PublishedSale

NO_WORKER = "no worker is running: orders that a process leaves behind wait for one"


async def buy(client: httpx.AsyncClient, sale: PublishedSale, who: dict[str, str], **headers: str) -> int:
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=who | headers)
    return answer.status_code


async def totals(sale: PublishedSale, expected: dict[str, int]) -> None:
    """Wait until the last second is over and written, then hold the sums against `expected`."""
    found: dict[str, int] = {}
    for _ in range(60):
        outcomes = await tally.outcomes(sale.id, 60)
        found = {name: sum(counts) for name, counts in outcomes.by_outcome.items() if name != tally.RATE_LIMITED}
        if found == expected:
            return
        await asyncio.sleep(0.1)
    assert found == expected


async def test_every_answer_is_counted_once_and_every_shopper_too(publish: Publish, client: httpx.AsyncClient) -> None:
    sale = await publish(stock=2)
    first, second, third = (cookie_of(shopper()) for _ in range(3))
    key = {"Idempotency-Key": "one"}
    told = [
        await buy(client, sale, first, **key),
        await buy(client, sale, first, **key),
        await buy(client, sale, first),
        await buy(client, sale, second),
        await buy(client, sale, third),
        await buy(client, sale, third),
    ]
    assert told == [201, 200, 403, 201, 409, 409]
    await totals(sale, {"completed": 2, "repeated": 1, "limit_exceeded": 1, "out_of_stock": 2})
    assert await tally.demand(sale.id) == 3


async def test_nothing_is_known_of_a_sale_that_nobody_tried_to_buy(publish: Publish) -> None:
    sale = await publish()
    found = await tally.outcomes(sale.id, 300)
    assert set(found.by_outcome) <= {tally.RATE_LIMITED}  # which is the whole shop's
    assert (set(found.viewers), len(found.viewers)) == ({0}, 300)
    assert await tally.demand(sale.id) is None


async def test_a_name_that_somebody_made_up_leaves_nothing_behind(publish: Publish, client: httpx.AsyncClient) -> None:
    sale = await publish()
    before = await redis().dbsize()
    answer = await client.post("/api/orders", json={"sku": secrets.token_hex(8)}, headers=cookie_of(shopper()))
    assert answer.status_code == 404
    await tally.writer().write()
    assert await redis().dbsize() == before
    assert (await tally.outcomes(sale.id, 60)).by_outcome == {}


async def test_sockets_are_counted_while_they_watch(publish: Publish) -> None:
    sale = await publish()

    async def nothing(_: Any) -> None: ...

    viewers = [Viewer(nothing, nothing) for _ in range(3)]
    tally.writer()
    for viewer in viewers:
        hub().join(sale.id, viewer)
    try:
        for _ in range(60):
            found = (await tally.outcomes(sale.id, 10)).viewers
            if found[-1] == 3:
                break
            await asyncio.sleep(0.1)
        assert found[-1] == 3
        assert max(found) == 3
    finally:
        for viewer in viewers:
            hub().leave(sale.id, viewer)


OTHER_PROCESS = """
import asyncio, sys
import django
django.setup()
from flashdrop import loops
from sales import tally
from sales.board import current_board

async def main(sale_id, sku):
    await current_board()
    for number in range(40):
        tally.told(sku, "completed")
        tally.tried(sale_id, [f"shopper-{number}", "both"])
    await tally.writer().write()

loops.run(lambda: main(*sys.argv[1:]))
"""


async def test_the_counts_of_two_processes_add_up(publish: Publish) -> None:
    sale = await publish()
    for number in range(30):
        tally.told(sale.sku, "completed")
        tally.tried(sale.id, [f"ours-{number}", "both"])
    command = (sys.executable, "-c", OTHER_PROCESS, sale.id, sale.sku)
    other = await asyncio.create_subprocess_exec(*command, cwd=BASE_DIR)
    await tally.writer().write()
    assert await other.wait() == 0
    await totals(sale, {"completed": 30 + 40})
    assert await tally.demand(sale.id) == 30 + 40 + 1


async def test_what_could_not_be_written_is_written_later(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    sale = await publish()
    writer = tally.writer()

    async def away(*_: Any) -> None:
        raise RedisConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_send", away)
        tally.told(sale.sku, "sale_not_ready")
        tally.tried(sale.id, ["somebody"])
        await writer.write()
        await writer.write()
    await totals(sale, {"sale_not_ready": 1})
    assert await tally.demand(sale.id) == 1


async def test_writing_goes_on_after_any_error_and_nobody_is_forgotten(
    publish: Publish, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await publish()
    writer = tally.writer()

    async def fails(newcomers: dict[str, set[str]]) -> None:
        raise KeyError(7)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_send", fails)
        assert await buy(client, sale, cookie_of(shopper())) == 201

        async def is_told() -> bool:
            return "background loop tally fails" in (await client.get("/readyz")).text

        await eventually(is_told)
    await totals(sale, {"completed": 1})
    assert await tally.demand(sale.id) == 1
    assert (await client.get("/readyz")).json()["warnings"] in ([], [NO_WORKER])


async def test_names_that_are_made_up_fill_no_memory_while_nothing_is_written() -> None:
    before = len(tally._told)
    try:
        for number in range(tally.MOST_WAITING + 10):
            tally.told(f"made-up-{number}", "product_not_found")
        assert len(tally._told) == tally.MOST_WAITING
    finally:
        tally._told.clear()
    assert before <= tally.MOST_WAITING


async def test_the_figures_leave_by_themselves(publish: Publish, client: httpx.AsyncClient) -> None:
    sale = await publish()
    await buy(client, sale, cookie_of(shopper()))
    await totals(sale, {"completed": 1})
    minute = (await tally.outcomes(sale.id, 1)).ends_at // 60
    kept = [await redis().ttl(told_key(sale.id, minute - back)) for back in (0, 1)]
    assert 0 < max(kept) <= tally.KEPT_SECONDS + 60
    assert 0 < await redis().ttl(tried_key(sale.id)) <= tally.DEMAND_DAYS * 86400
