"""The board follows the stores by itself, and says so when it can't."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

import sales.board
from conftest import Publish, eventually, settings_of
from flashdrop import languages, mongo_client
from flashdrop.config import config
from flashdrop.embedded.process import free_port
from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import new_redis
from sales import publishing, stock
from sales.board import Board, board
from sales.gate import Brake, Levels, Wish
from sales.hub import Viewer, hub
from sales.published import PublishedSale
from sales.showing import Phase, Showing, phase_at

FOLLOWED_SECONDS = 1.0
NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
INSTANT = timedelta(milliseconds=1)


def sale_of(**changes: Any) -> PublishedSale:
    """A sale whose window is the hour from `NOW` on."""
    window = {"opens_at": NOW, "closes_at": NOW + timedelta(hours=1)}
    values = asdict(settings_of(**(window | changes)))
    stock_ = values["stock"]
    return PublishedSale(**values, version=1, epoch=1, available=stock_, highest_limit=1, highest_stock=stock_)


def levels_of(sale: PublishedSale, issued: int = 0) -> Levels:
    return Levels(True, sale.epoch, sale.version, sale.stock, issued, "run", paused=sale.paused)


async def buy(gate: Redis, sale: PublishedSale, shopper: str = "s") -> None:
    """A purchase by another process."""
    await stock.reserve(gate, sale.id, sale.epoch, [Wish(f"o-{shopper}", shopper, 1, False, "[]")])


@pytest.fixture
async def elsewhere() -> AsyncIterator[Redis]:
    client = new_redis(config.redis_url)
    yield client
    await client.aclose()
    await client.connection_pool.disconnect()


@pytest.fixture
async def cut_off(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The board asks a gate at which nobody listens."""
    dead = new_redis(f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setattr(sales.board, "redis", lambda: dead)
    yield
    await dead.aclose()
    await dead.connection_pool.disconnect()


@pytest.mark.parametrize(
    ("at", "phase"),
    [
        (NOW - INSTANT, Phase.UPCOMING),
        (NOW, Phase.ACTIVE),
        (NOW + timedelta(hours=1) - INSTANT, Phase.ACTIVE),
        (NOW + timedelta(hours=1), Phase.ENDED),
    ],
)
def test_the_window_includes_its_first_instant_and_not_its_last(at: datetime, phase: Phase) -> None:
    sale = sale_of()
    assert phase_at(sale, levels_of(sale), at) is phase


def test_within_the_window_paused_comes_before_sold_out() -> None:
    sale = sale_of(stock=1)
    assert phase_at(sale, levels_of(sale, issued=1), NOW) is Phase.SOLD_OUT
    paused = replace(sale, paused=True)
    assert phase_at(paused, levels_of(paused, issued=1), NOW) is Phase.PAUSED
    assert phase_at(paused, levels_of(paused), NOW - INSTANT) is Phase.UPCOMING
    assert phase_at(paused, levels_of(paused), NOW + timedelta(hours=1)) is Phase.ENDED


def test_whether_it_is_paused_is_the_gates_to_say() -> None:
    sale = sale_of()
    assert phase_at(replace(sale, paused=True), levels_of(sale), NOW) is Phase.ACTIVE
    assert phase_at(sale, replace(levels_of(sale), paused=True), NOW) is Phase.PAUSED
    assert phase_at(sale, replace(levels_of(sale), brake=Brake("b", NOW, "alice")), NOW) is Phase.PAUSED
    assert phase_at(sale, replace(levels_of(sale), published=False), NOW) is Phase.NOT_READY


@pytest.mark.parametrize("unknown", [None, Levels(False, 0, 0, 0, 0, ""), Levels(True, 2, 1, 10, 0, "run")])
def test_without_the_gates_word_on_this_epoch_no_phase_is_claimed(unknown: Levels | None) -> None:
    assert phase_at(sale_of(), unknown, NOW) is Phase.NOT_READY


async def test_a_purchase_made_elsewhere_is_seen(publish: Publish, elsewhere: Redis) -> None:
    sale = await publish(stock=5)
    assert board().by_sku[sale.sku].available == 5
    await buy(elsewhere, sale)

    async def seen() -> bool:
        return board().by_sku[sale.sku].available == 4

    await eventually(seen, FOLLOWED_SECONDS)


async def test_selling_out_and_a_unit_given_back_are_seen(publish: Publish, elsewhere: Redis) -> None:
    sale = await publish(stock=1)
    await buy(elsewhere, sale)

    async def sold_out() -> bool:
        return board().by_sku[sale.sku].phase is Phase.SOLD_OUT

    await eventually(sold_out, FOLLOWED_SECONDS)
    await stock.release(elsewhere, sale.id, [("s", "o-s")])

    async def active() -> bool:
        return board().by_sku[sale.sku].phase is Phase.ACTIVE

    await eventually(active, FOLLOWED_SECONDS)


async def test_settings_changed_elsewhere_are_seen(publish: Publish) -> None:
    settings = settings_of()
    sale = await publish(settings)
    await publishing.publish(replace(settings, paused=True, name="Renamed"))

    async def seen() -> bool:
        showing = board().by_sku[sale.sku]
        return (showing.phase, showing.sale.name) == (Phase.PAUSED, "Renamed")

    await eventually(seen, FOLLOWED_SECONDS)


async def test_a_brake_pulled_elsewhere_is_seen_with_the_ledger_away(
    publish: Publish, elsewhere: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await publish()

    async def silent() -> None:
        raise PyMongoError

    monkeypatch.setattr(sales.board.catalogue, "every", silent)
    await stock.brake(elsewhere, sale.id, "b1", "anna")

    async def seen() -> bool:
        return board().by_sku[sale.sku].phase is Phase.PAUSED

    await eventually(seen, FOLLOWED_SECONDS + 0.5)


async def test_a_withdrawn_sale_disappears_and_comes_back(publish: Publish) -> None:
    settings = settings_of()
    sale = await publish(settings)
    await publishing.publish(replace(settings, published=False))

    async def gone() -> bool:
        return sale.sku not in board().by_sku

    await eventually(gone, FOLLOWED_SECONDS)
    await publishing.publish(settings)

    async def back() -> bool:
        return sale.sku in board().by_sku

    await eventually(back, 2 * FOLLOWED_SECONDS)


async def test_the_phase_follows_the_window_by_itself(publish: Publish) -> None:
    opens_at = board().now() + timedelta(seconds=0.7)
    sale = await publish(opens_at=opens_at, closes_at=opens_at + timedelta(seconds=0.7))
    seen: dict[Phase, datetime] = {}

    async def ended() -> bool:
        seen.setdefault(board().by_sku[sale.sku].phase, board().now())
        return Phase.ENDED in seen

    await eventually(ended)
    assert list(seen) == [Phase.UPCOMING, Phase.ACTIVE, Phase.ENDED]
    second = timedelta(seconds=1)
    assert sale.opens_at <= seen[Phase.ACTIVE] < sale.opens_at + second
    assert sale.closes_at <= seen[Phase.ENDED] < sale.closes_at + second


async def test_what_has_not_changed_is_not_rendered_again(publish: Publish) -> None:
    sale = await publish()
    before = board().by_sku[sale.sku]
    await board().refresh()
    await board().refresh()
    assert board().by_sku[sale.sku] is before


async def test_a_gate_that_never_answered_makes_every_sale_not_ready(publish: Publish, cut_off: None) -> None:
    sale = await publish()
    fresh = Board()
    await fresh.refresh()
    assert fresh.is_known
    assert fresh.by_sku[sale.sku].phase is Phase.NOT_READY


async def test_a_gate_that_went_away_makes_a_sale_not_ready_until_it_is_back(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale, fresh = await publish(), Board()
    await fresh.refresh()
    assert fresh.by_sku[sale.sku].phase is Phase.ACTIVE
    dead = new_redis(f"redis://127.0.0.1:{free_port()}/0")
    with monkeypatch.context() as away:
        away.setattr(sales.board, "redis", lambda: dead)
        await fresh.refresh()
        assert fresh.by_sku[sale.sku].phase is Phase.NOT_READY
    await fresh.refresh()
    assert fresh.by_sku[sale.sku].phase is Phase.ACTIVE
    await dead.aclose()


async def test_a_gate_that_has_lost_the_sale_makes_it_not_ready(publish: Publish, elsewhere: Redis) -> None:
    sale = await publish()
    await stock.fence(elsewhere, sale.id, sale.epoch)
    await board().refresh()
    assert board().by_sku[sale.sku].phase is Phase.NOT_READY


async def test_not_ready_is_never_said_as_sold_out(publish: Publish, cut_off: None) -> None:
    sale, fresh = await publish(stock=7), Board()
    await fresh.refresh()
    status = fresh.by_sku[sale.sku].status_data
    assert (status["phase"], status["status"], status["availableStock"]) == ("not_ready", "active", 7)


async def test_a_ledger_that_is_away_leaves_the_sales_on_show(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale, fresh = await publish(), Board()
    await fresh.refresh()
    monkeypatch.setattr(mongo_client, "SELECT_SERVER_MS", 100)
    dead = mongo_client.new_mongo(f"mongodb://127.0.0.1:{free_port()}/flashdrop")
    monkeypatch.setattr(mongo_client, "mongo", lambda: dead)
    fresh.ask_for_settings()
    await fresh.refresh()
    assert fresh.by_sku[sale.sku].phase is Phase.ACTIVE
    await dead.close()


async def test_who_asks_it_to_look_again_sees_what_holds_then(publish: Publish) -> None:
    """Changed elsewhere, just before: the rhythm alone would bring it later."""
    settings = settings_of()
    await publish(settings)
    for price in (199900, 299900):
        await publishing.publish(replace(settings, price_minor=price))
        await board().look_again()
        assert board().by_sku[settings.sku].sale.price_minor == price


async def test_a_board_that_stands_still_is_waited_for_no_longer_than_a_second() -> None:
    began = time.monotonic()
    await Board().look_again()
    assert 0.9 < time.monotonic() - began < 3


async def test_a_stopped_board_asks_no_more() -> None:
    fresh = Board()
    await fresh.wait_for_first()
    await fresh.stop()
    await asyncio.sleep(0.5)
    assert fresh.is_known
    assert fresh.age_seconds >= 0.5


def shown(
    name: str,
    opens_in: float,
    closes_in: float,
    phase: Phase = Phase.ACTIVE,
    *,
    is_settling: bool = False,
    paused: bool = False,
) -> Showing:
    """A sale on show; hours from now."""
    now = datetime.now(UTC)
    window = {"opens_at": now + timedelta(hours=opens_in), "closes_at": now + timedelta(hours=closes_in)}
    sale = sale_of(sku=name, paused=paused, **window)
    return Showing(sale, phase, 10, 0 if phase is Phase.SOLD_OUT else 5, now, is_settling=is_settling)


OVER_LONG_AGO = shown("over-long-ago", -9, -8, Phase.ENDED)
OVER_LATELY = shown("over-lately", -9, -1, Phase.ENDED)
RUNS_TO_NOON = shown("runs-to-noon", -1, 2)
RUNS_ALL_DAY = shown("runs-all-day", -2, 9)
SOLD_OUT_EARLY = shown("sold-out-early", -2, 1, Phase.SOLD_OUT)
COMES_SOON = shown("comes-soon", 1, 9, Phase.UPCOMING)
COMES_LATER = shown("comes-later", 2, 3, Phase.UPCOMING)


@pytest.mark.parametrize(
    ("on_show", "featured"),
    [
        ([], None),
        ([OVER_LONG_AGO, OVER_LATELY], OVER_LATELY),
        ([OVER_LATELY, COMES_LATER, COMES_SOON], COMES_SOON),
        ([OVER_LATELY, COMES_SOON, RUNS_ALL_DAY], RUNS_ALL_DAY),
        ([RUNS_ALL_DAY, RUNS_TO_NOON], RUNS_TO_NOON),
        ([SOLD_OUT_EARLY, RUNS_ALL_DAY], RUNS_ALL_DAY),
        ([SOLD_OUT_EARLY, COMES_SOON], COMES_SOON),
    ],
    ids=["nothing", "the last", "the next", "the running", "closes first", "has something left", "sold out or next"],
)
def test_the_front_page_shows(on_show: list[Showing], featured: Showing | None) -> None:
    fresh = Board()
    for showings in (on_show, on_show[::-1]):
        fresh.by_sku = {showing.sale.sku: showing for showing in showings}
        assert fresh.featured() is featured


async def test_a_refresh_that_fails_in_an_unforeseen_way_shows_nothing_as_on_sale(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the board can't know it must not go on saying."""
    sale = await publish()
    own = Board()
    await own.refresh()
    assert own.by_sku[sale.sku].phase is Phase.ACTIVE

    async def broken() -> None:
        raise ValueError("something nobody thought of")

    monkeypatch.setattr(own, "refresh", broken)
    own.start()
    try:

        async def closed() -> bool:
            return own.by_sku[sale.sku].phase is Phase.NOT_READY

        await eventually(closed)
    finally:
        await own.stop()


async def test_a_stampede_of_not_ready_wakes_the_board_once_in_a_refresh() -> None:
    own = Board()
    own.ask_for_settings()
    assert own._reload.is_set()
    own._reload.clear()
    for _ in range(1000):
        own.ask_for_settings()
    assert not own._reload.is_set()


async def test_a_banner_that_cannot_be_rendered_does_not_keep_requests_from_the_truth(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Viewers hear nothing then; whoever asks is told, and the board goes on."""
    sale = await publish()
    own = Board()
    await own.refresh()

    def broken(name: str, context: Any, language: str) -> str:
        raise ValueError("no such template")

    monkeypatch.setattr(languages, "render", broken)
    viewer = Viewer(lambda text: asyncio.sleep(0), lambda code: asyncio.sleep(0))
    hub().join(sale.id, viewer)
    try:
        own._close()
    finally:
        hub().leave(sale.id, viewer)
    assert own.by_sku[sale.sku].phase is Phase.NOT_READY
