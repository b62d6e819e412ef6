"""Names that are not on the board: what is there is found, what is not is 404, and one doubt is about one name."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from conftest import Publish, settings_of, show
from flashdrop import loops
from flashdrop.mongo_client import collection, mongo
from sales import archive, catalogue, publishing
from sales.archive import Unheard, sale_named, shown
from sales.board import Board, board, current_board


async def queries() -> int:
    """Reads that the ledger has been asked for, by its own count."""
    return int((await mongo().admin.command("serverStatus"))["opcounters"]["query"])


def hears_of_nothing_new(found: Board) -> None:
    """For a second, as between two looks at the ledger."""
    found._settings_at = time.monotonic()


async def test_a_sale_that_the_board_has_not_heard_of_casts_doubt_on_itself_alone(
    publish: Publish, client: httpx.AsyncClient
) -> None:
    await publish()
    hears_of_nothing_new(board())
    new = await catalogue.save(settings_of())
    paths = (f"/api/products/{new.sku}", "/api/products/no-such-sale", "/sales/no-such-sale/")
    found = await asyncio.gather(*(client.get(path) for path in paths))
    assert [answer.status_code for answer in found] == [503, 404, 404]
    assert "Retry-After" in found[0].headers
    await show()
    assert (await client.get(paths[0])).status_code == 200


async def test_a_name_is_404_until_its_sale_is_published_and_when_it_is_withdrawn(
    publish: Publish, client: httpx.AsyncClient
) -> None:
    settings = settings_of(published=False)
    hears_of_nothing_new(await current_board())
    await catalogue.save(settings)
    path = f"/api/products/{settings.sku}/sale-status"
    assert (await client.get(path)).status_code == 404
    await publish(settings)
    assert (await client.get(path)).status_code == 404
    await publish(settings, published=True)
    assert (await client.get(path)).status_code == 200


async def test_one_that_cannot_be_read_casts_doubt_on_itself_alone(publish: Publish, client: httpx.AsyncClient) -> None:
    sale = await publish()
    await collection("sales").update_one({"_id": sale.id}, {"$unset": {"price_minor": ""}})
    await show()
    try:
        paths = (f"/api/products/{sale.sku}", "/api/products/no-such-sale")
        found = await asyncio.gather(*(client.get(path) for path in paths))
        assert [answer.status_code for answer in found] == [503, 404]
    finally:
        await collection("sales").update_one({"_id": sale.id}, {"$set": {"price_minor": sale.price_minor}})
        await show()


async def test_a_flood_of_made_up_names_is_404_and_costs_few_questions_and_little_memory(publish: Publish) -> None:
    old = await publish()
    await collection("sales").update_one({"_id": old.id}, {"$set": {"archived_at": old.closes_at}})
    await show()
    assert await shown(old.sku) is not None
    before, names = await queries(), [f"made-up-{number}" for number in range(1000)]
    assert set(await asyncio.gather(*map(shown, names))) == {None}
    assert await queries() - before < 40
    # More than may wait: those that nobody can answer for are told so, and nobody else is.
    flood = await asyncio.gather(
        *(shown(f"more-{number}") for number in range(2 * archive.WAITING)), shown(old.sku), return_exceptions=True
    )
    assert {type(answer) for answer in flood[:-1]} <= {type(None), Unheard}
    assert type(None) in {type(answer) for answer in flood[:-1]}
    assert flood[-1] is not None
    assert await shown("after-the-flood") is None
    kept = archive.archive()
    assert len(kept._absent) <= archive.KEPT
    assert old.sku in kept._found


async def test_with_the_ledger_away_nobody_says_that_there_is_no_sale(publish: Publish) -> None:
    old, withdrawn = await publish(), await publish()
    await collection("sales").update_one({"_id": old.id}, {"$set": {"archived_at": old.closes_at}})
    await publishing.publish(settings_of(id=withdrawn.id, sku=withdrawn.sku, published=False))

    async def work() -> None:
        await current_board()
        kept = await shown(old.sku)
        assert kept is not None
        assert await shown("never-was") is None
        assert await shown(withdrawn.sku) is None
        await board().stop()
        await mongo().close()
        board()._read_at -= 10
        for sku in ("never-asked-for", withdrawn.sku):
            with pytest.raises(Unheard):
                await shown(sku)
        with pytest.raises(Unheard):
            await sale_named("never-asked-for")
        # What was found before is shown on.
        asked_at, showing = archive.archive()._found[old.sku]
        archive.archive()._found[old.sku] = asked_at - 60, showing
        assert await shown(old.sku) is kept

    await asyncio.to_thread(loops.run, work)
