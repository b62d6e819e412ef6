"""Go or no-go: each line, where it is green and where it is not, against the stores where they are its subject."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from conftest import settings_of, shopper
from flashdrop import mongo_client, public_fetch, redis_client
from flashdrop.config import config
from flashdrop.embedded.process import free_port
from flashdrop.envelope import to_ms
from flashdrop.mongo_client import collection
from flashdrop.redis_client import redis
from orders import ledger
from orders.doctor.finding import Area, Finding, Level
from orders.placing import Placed, place_in
from orders.readiness import capacity, in_force
from orders.readiness.capacity import Measured, check_capacity, estimate, measured, web_processes
from orders.readiness.in_force import Row, check_in_force
from orders.readiness.installation import check_installation
from orders.readiness.line import Light, Line, amber, green, red, sorted_by_light, worst
from orders.readiness.offer import check_offer
from orders.readiness.picture import check_picture
from orders.readiness.readiness import Verdict, check
from orders.readiness.rehearsed import check_rehearsed, noted
from orders.rehearsal.record import State
from orders.settlement import forgetting
from orders.tests.desk import get, row, signed_in
from sales import backoffice, publishing, stock
from sales.desk.journal import Change, Entry
from sales.gate import Wish
from sales.keys import WORKER_HEARTBEAT, sale_keys
from sales.models import Sale
from sales.published import PublishedSale, SaleSettings

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATER = {"opens_at": NOW + HOUR, "closes_at": NOW + 2 * HOUR}
GREEN, AMBER, RED = Light.GREEN, Light.AMBER, Light.RED


def line(name: str, lines: list[Line]) -> Line:
    (found,) = [one for one in lines if one.name == name]
    return found


def offered(name: str, others: tuple[SaleSettings, ...] = (), **changes: Any) -> Line:
    return line(name, check_offer(settings_of(**LATER | changes), others, NOW))


# The offer


@pytest.mark.parametrize(
    ("opens", "closes", "light", "said"),
    [
        (HOUR, 2 * HOUR, GREEN, "Opens in 1 h: 23 Nov 2026, 13:00 UTC to 23 Nov 2026, 14:00 UTC, 1 h long."),
        (-HOUR, HOUR, GREEN, "Open now, for another 1 h"),
        (-2 * HOUR, -HOUR, RED, "Over since 1 h"),
        (HOUR, HOUR + timedelta(seconds=30), RED, "Only 30 s long"),
        (HOUR, 31 * 24 * HOUR + HOUR, AMBER, "31 d long"),
        (100 * 24 * HOUR, 101 * 24 * HOUR, AMBER, "Opens in 100 d"),
        (timedelta(seconds=90), HOUR, AMBER, "Opens in 1 min 30 s"),
    ],
)
def test_the_window(opens: timedelta, closes: timedelta, light: Light, said: str) -> None:
    found = offered("Window", opens_at=NOW + opens, closes_at=NOW + closes)
    assert found.light is light
    assert said in found.found
    assert bool(found.todo) is (light is not GREEN)


def test_another_sale_at_the_same_time() -> None:
    other = settings_of(name="Other lamp", opens_at=NOW, closes_at=NOW + 90 * timedelta(minutes=1))
    assert offered("Front page").light is GREEN
    found = offered("Front page", (other,))
    assert found.light is AMBER
    assert "Other lamp" in found.found
    assert found.found.endswith("neither sold out nor paused: Other lamp.")
    assert "neither sold out nor paused: this one." in offered("Front page", (replace(other, paused=True),)).found
    for harmless in (
        replace(other, published=False),
        replace(other, closes_at=NOW + HOUR),
        replace(other, opens_at=NOW + 2 * HOUR, closes_at=NOW + 3 * HOUR),
    ):
        assert offered("Front page", (harmless,)).light is GREEN


@pytest.mark.parametrize(
    ("name", "changes", "light"),
    [
        ("Pause", {}, GREEN),
        ("Pause", {"paused": True}, RED),
        ("Stock and limit", {}, GREEN),
        ("Stock and limit", {"stock": 1}, GREEN),
        ("Stock and limit", {"stock": 0}, RED),
        ("Stock and limit", {"stock": 5, "limit_per_shopper": 5}, AMBER),
        ("Stock and limit", {"guests_allowed": True}, AMBER),
        ("Price", {}, GREEN),
        ("Price", {"price_minor": 0}, AMBER),
        ("Price", {"price_minor": 99}, AMBER),
        ("Price", {"price_minor": 99, "currency": "JPY"}, GREEN),
        ("Price", {"price_minor": 10_000_000}, AMBER),
    ],
)
def test_pause_stock_and_price(name: str, changes: dict[str, Any], light: Light) -> None:
    found = offered(name, **changes)
    assert found.light is light
    assert bool(found.todo) is (light is not GREEN)


# The picture


def test_a_picture_of_the_shop_s_own() -> None:
    assert check_picture("/static/img/demo.svg").light is GREEN
    assert check_picture("/static/img/demo.svg?v=2").light is GREEN
    assert check_picture("/static/img/nothing.png").light is RED
    assert check_picture("/static/../../etc/passwd").light is RED
    assert check_picture("/static/css/desk.css").found.endswith("is no picture but text/css.")
    assert check_picture("/media/lamp.png").light is AMBER
    assert check_picture("").light is AMBER


@pytest.mark.parametrize(
    ("found", "light", "said"),
    [
        (public_fetch.Fetched("image/png", 120_000), GREEN, "image/png, 120 KB"),
        (public_fetch.Fetched("image/png", 900_000), AMBER, "900 KB"),
        (public_fetch.Fetched("text/html", 1_000), RED, "is no picture but text/html"),
        (public_fetch.Fetched("image/png", 0), RED, "is empty"),
    ],
)
def test_what_is_fetched_is_judged(
    monkeypatch: pytest.MonkeyPatch, found: public_fetch.Fetched, light: Light, said: str
) -> None:
    """The fetching itself is tested against a real server in flashdrop/tests/test_public_fetch.py."""
    cache.clear()
    monkeypatch.setattr("orders.readiness.picture.fetch", lambda *args: found)
    judged = check_picture("https://shop.example/lamp.png")
    assert judged.light is light
    assert said in judged.found


def test_a_picture_inside_our_network_is_not_asked_for() -> None:
    cache.clear()
    for host in ("127.0.0.1", "169.254.169.254", "localhost", "[::1]"):
        found = check_picture(f"https://{host}/latest/meta-data.png")
        assert (found.light, found.picture) == (RED, "")
        assert "inside a network" in found.found


# Published, in force


async def in_force_of(sale: SaleSettings, *, needs_publishing: bool = False) -> list[Line]:
    return await check_in_force(Row(sale, needs_publishing))


def soon(**changes: Any) -> SaleSettings:
    now = datetime.now(UTC)
    return settings_of(**{"opens_at": now + HOUR, "closes_at": now + 2 * HOUR, **changes})


async def published(settings: SaleSettings) -> PublishedSale:
    return (await publishing.publish(settings)).sale


async def test_published_alike_everywhere() -> None:
    sale = soon()  # with the microseconds of now, which no store keeps
    await published(sale)
    lines = await in_force_of(sale)
    assert [(one.name, one.light) for one in lines] == [
        ("Published", GREEN),
        ("Nothing sold yet", GREEN),
        ("Orders being confirmed", GREEN),
    ]
    assert "Version 1 is in force" in lines[0].found


async def test_not_published() -> None:
    sale = soon()
    assert "It is a draft" in line("Published", await in_force_of(replace(sale, published=False))).found
    assert "not in the ledger yet" in line("Published", await in_force_of(sale)).found
    await published(sale)
    assert "not in the ledger yet" in line("Published", await in_force_of(sale, needs_publishing=True)).found


async def test_the_ledger_has_other_settings() -> None:
    sale = soon()
    await published(sale)
    found = line("Published", await in_force_of(replace(sale, stock=20, price_minor=5)))
    assert found.light is RED
    assert "Price: €129.00 there, €0.05 here; Stock: 10 there, 20 here" in found.found


async def test_the_gate_has_another_version_or_epoch_or_nothing() -> None:
    sale = soon()
    await published(sale)
    key = sale_keys(sale.id).sale
    for changes, said in (
        ({"version": 7}, "The gate sells by version 7, the ledger has version 1."),
        ({"epoch": 7}, "The gate was restarted"),
        ({"run_id": "another"}, "The gate was restarted"),
    ):
        before = await redis().hgetall(key)
        await redis().hset(key, mapping=changes)
        found = line("Published", await in_force_of(sale))
        assert (found.light, said in found.found) == (RED, True), found
        await redis().hset(key, mapping=before)
    assert line("Published", await in_force_of(sale)).light is GREEN
    await redis().delete(key)
    assert "has not loaded it" in line("Published", await in_force_of(sale)).found


async def test_orders_before_it_opens() -> None:
    sale = settings_of()
    standing = await published(sale)
    assert isinstance(await place_in(standing, shopper(), 1), Placed)
    await forgetting().drain()
    assert "Nothing sold yet" not in [one.name for one in await in_force_of(sale)], "it is open: that is what it is for"
    moved = replace(sale, opens_at=sale.closes_at - timedelta(minutes=1))
    await published(moved)
    found = line("Nothing sold yet", await in_force_of(moved))
    assert found.light is AMBER
    assert found.found.startswith("1 orders are in the ledger already, and 1 units are taken")


async def test_orders_that_wait_for_their_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    sale = settings_of()
    standing = await published(sale)
    await stock.reserve(redis(), sale.id, standing.epoch, [Wish("o-1", "somebody", 1, False, "")])
    assert line("Orders being confirmed", await in_force_of(sale)).light is AMBER
    monkeypatch.setattr(in_force, "GRACE_SECONDS", 0.0)
    await asyncio.sleep(0.01)
    found = line("Orders being confirmed", await in_force_of(sale))
    assert found.light is RED
    assert "1 orders wait" in found.found


# The installation

FINE = [
    *(Finding(area, "thing", Level.OK, "fine") for area in Area),
    Finding(Area.SALES, "worker", Level.OK, "completed a round 0.2 s ago"),
]


def installed(name: str, *findings: Finding, **changes: Any) -> Line:
    return line(name, check_installation([*findings, *FINE], replace(config, **changes)))


def test_an_installation_in_order_is_green() -> None:
    lines = check_installation(FINE, config)
    assert {one.light for one in lines} == {GREEN}
    assert len(lines) == 9


@pytest.mark.parametrize(
    ("area", "name"),
    [
        (Area.REDIS, "Gate (Redis)"),
        (Area.MONGODB, "Ledger (MongoDB)"),
        (Area.INDEXES, "Protection against selling twice"),
        (Area.CLOCKS, "Clocks"),
        (Area.CONFIGURATION, "Settings of the installation"),
    ],
)
def test_what_the_doctor_finds_is_passed_on(area: Area, name: str) -> None:
    bad = Finding(area, "one", Level.AT_RISK, "broken", "`mend it`")
    found = installed(name, bad)
    assert (found.light, found.details) == (RED, ("one: broken. `mend it`.",))
    assert found.found.startswith("One thing is not in order.")
    assert installed(name, replace(bad, level=Level.ADVICE)).light is AMBER
    assert line(name, check_installation([one for one in FINE if one.area is not area], config)).light is RED


@pytest.mark.parametrize(
    ("level", "found", "light"),
    [
        (Level.AT_RISK, "none has completed a round for 10 s (published sales: 1)", RED),
        (Level.ADVICE, "none has completed a round for 10 s; no sale is published yet", RED),
        (Level.ADVICE, "its last round ended 7.0 s ago", AMBER),
        (Level.OK, "completed a round 0.1 s ago", GREEN),
    ],
)
def test_the_worker(level: Level, found: str, light: Light) -> None:
    lines = check_installation([Finding(Area.SALES, "worker", level, found, "start one"), *FINE[:-1]], config)
    assert line("Worker", lines).light is light


def test_settings_that_must_not_be_on() -> None:
    assert installed("Debug mode").light is GREEN
    assert installed("Debug mode", debug=True).light is RED
    assert installed("Who shoppers are").light is GREEN
    assert installed("Who shoppers are", trust_user_id_header=True).light is RED


@pytest.mark.parametrize(
    ("changes", "light", "said"),
    [
        ({"rate_limiter_enabled": False}, GREEN, "Off"),
        ({"rate_limit_max": 100}, GREEN, "So 33 shoppers behind one address"),
        ({"rate_limit_max": 30}, AMBER, "So 10 shoppers"),
        ({"rate_limit_max": 2}, RED, "So 0 shoppers"),
        ({"rate_limit_max": 100, "host": "0.0.0.0"}, AMBER, "No proxy is declared"),
        ({"rate_limit_max": 100, "host": "0.0.0.0", "trusted_proxy_count": 1}, GREEN, "So 33 shoppers"),
    ],
)
def test_the_rate_limit(changes: dict[str, Any], light: Light, said: str) -> None:
    found = installed("Rate limit", **{"rate_limiter_enabled": True, **changes})
    assert found.light is light
    assert said in found.found


# Capacity

FIGURES = Measured("a machine", 2, orders=2000.0, sold_out=8000.0, pages=20_000.0, stores_limit=5000.0)


def test_an_estimate() -> None:
    guess = estimate(10_000, 1000, FIGURES, 2)
    assert guess.sold_out_after == 0.5
    assert guess.answered_after == pytest.approx(0.5 + 9000 / 8000 + 10_000 / 20_000)
    assert estimate(500, 1000, FIGURES, 2).sold_out_after is None
    assert estimate(10_000, 1000, FIGURES, 1).orders_per_second == 1000
    assert estimate(10_000, 1000, FIGURES, 20).orders_per_second == 5000, "the stores' limit"


def test_the_figures_are_those_of_the_benchmark(tmp_path: Path) -> None:
    found = measured()
    kept = json.loads(capacity.FIGURES.read_text())["traffic"]["rows"]
    orders = next(one["runs"] for one in kept if one["name"].startswith("confirmed orders"))
    assert min(orders) <= found.orders <= max(orders)
    assert "cores" in found.machine
    rows = [{"name": name, "runs": [10.0], "unit": "/s", "reach": "", "holds": None, "notes": []} for name in (
        "confirmed orders, 1", "sold-out answers", "full sale page", "the stores' limit")]  # fmt: skip
    file = tmp_path / "benchmarks.json"
    file.write_text(json.dumps({"traffic": {"rows": rows, "curves": []}}))
    assert measured(file) == Measured(capacity.UNNAMED, found.processes, 10.0, 10.0, 10.0, 10.0)


@pytest.mark.parametrize(
    ("shoppers", "light"), [(1, GREEN), (5000, GREEN), (200_000, AMBER), (5_000_000, RED), (None, AMBER)]
)
def test_expected_shoppers(shoppers: int | None, light: Light) -> None:
    assert check_capacity(shoppers, 1000).light is light


def test_without_figures_nothing_is_made_up(tmp_path: Path) -> None:
    for text in ("", "{}", '{"traffic": {"rows": [], "curves": []}}'):
        file = tmp_path / f"{len(text)}.json"
        file.write_text(text)
        found = check_capacity(5000, 1000, file)
        assert found.light is AMBER
        assert "no measurement" in found.found
    assert check_capacity(5000, 1000, tmp_path / "none.json").light is AMBER


def test_web_processes_in_sight() -> None:
    assert web_processes() == 1


# The rehearsal


def entry(action: str, *changes: Change) -> Entry:
    return Entry(NOW, "mia", action, changes, "")


def test_whether_it_was_rehearsed() -> None:
    held, changed = entry(noted(State.HELD, "All.")), entry("Changed", Change("Stock", "1", "2"))
    assert check_rehearsed([]).light is AMBER
    assert check_rehearsed([changed]).light is AMBER
    assert check_rehearsed([held, changed]).light is GREEN
    assert check_rehearsed([entry("Looked at"), held]).light is GREEN
    assert "changed since" in check_rehearsed([changed, held]).found
    assert check_rehearsed([entry(noted(State.FAILED, "No.")), held]).light is RED
    assert check_rehearsed([entry(noted(State.BROKEN_OFF, "No.")), held]).light is RED


# The verdict and the page


def test_the_verdict_is_the_worst_of_its_lines() -> None:
    lines = [green("a", ""), amber("b", "", "do"), red("c", "", "do")]
    assert [worst(lines[:count]) for count in (0, 1, 2, 3)] == [GREEN, GREEN, AMBER, RED]
    assert [one.name for one in sorted_by_light(lines)] == ["c", "b", "a"]
    assert Verdict(lines, NOW).summary == "Put right first: c. Then look at: b."
    assert Verdict(lines[:2], NOW).summary == "It can open. Look at: b."
    assert Verdict(lines[:1], NOW).summary == "All 1 checks are green."


def page_of(sale: Sale, query: str = "") -> str:
    return f"/admin/desk/sales/{sale.pk}/check/{query}"


async def scheduled() -> Sale:
    now = datetime.now(UTC)
    sale = await row(published=True, image_url="/static/img/demo.svg", opens_at=now + HOUR, closes_at=now + 2 * HOUR)
    await asyncio.to_thread(backoffice.save_and_publish, sale)
    return sale


async def test_the_page_of_a_sale_that_may_open() -> None:
    await collection("sales").delete_many({})
    sale = await scheduled()
    await redis().set(WORKER_HEARTBEAT, to_ms(datetime.now(UTC)), ex=10)
    text = await get(await signed_in("viewer"), page_of(sale, "?shoppers=5000"))
    for said in ("Version 1 is in force", "It is there: image/svg+xml", "5,000 shoppers for 10 units", "It is at work"):
        assert said in text
    assert "/check/lines/?shoppers=5000" in text
    # The suite's stores are not run as a shop's would be, and say so.
    assert text.count('class="line"') >= 16
    assert 'value="5000"' in text


async def test_the_page_of_a_draft_says_no_go_and_what_to_do() -> None:
    sale = await row(paused=True)
    for address in (page_of(sale), page_of(sale, "lines/")):
        text = await get(await signed_in("viewer"), address)
        assert '<div class="verdict" data-light="red">' in text
        assert "No-go" in text
        assert "Tick Published in Settings, and save." in text
        assert "Resume it in Control." in text


@contextmanager
def away(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    port = free_port()
    addresses = {
        "gate": {"redis_url": f"redis://127.0.0.1:{port}/0"},
        "ledger": {"mongodb_url": f"mongodb://127.0.0.1:{port}/x"},
    }
    gone = replace(config, **addresses[store])
    for module in (mongo_client, redis_client):
        monkeypatch.setattr(module, "config", gone)
    try:
        yield
    finally:
        monkeypatch.undo()


@pytest.mark.parametrize(("store", "name"), [("gate", "Gate (Redis)"), ("ledger", "Ledger (MongoDB)")])
async def test_with_a_store_away_the_page_says_so(store: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sale = await scheduled()

    def look() -> Verdict:
        return check(Row(sale.settings(), False), [], None)

    with away(store, monkeypatch):
        verdict = await asyncio.to_thread(look)
    assert verdict.light is RED
    assert line(name, verdict.lines).light is RED
    assert line("Published", verdict.lines).found == "It can't be said: a store does not answer."


async def test_a_missing_unique_index_is_a_no_go() -> None:
    sale = await scheduled()
    name = "Protection against selling twice"

    def look() -> Verdict:
        return check(Row(sale.settings(), False), [], None)

    assert line(name, (await asyncio.to_thread(look)).lines).light is GREEN
    await collection("orders").drop_index("unit_sold_once")
    try:
        assert line(name, (await asyncio.to_thread(look)).lines).light is RED
    finally:
        await ledger.ensure_indexes()


@pytest.mark.parametrize("number", ["0", "-5", "many", "1e9", "99999999999", "<b>"])
async def test_a_number_that_is_none_is_left_out(number: str) -> None:
    text = await get(await signed_in("viewer"), page_of(await row(), f"?shoppers={number}"))
    assert "You have not said how many shoppers" in text
    assert "<b>" not in text


async def test_the_page_is_for_staff() -> None:
    sale, clerk = await row(), Client()
    await asyncio.to_thread(clerk.force_login, await User.objects.acreate(username="clerk", is_staff=True))
    for address in (page_of(sale), page_of(sale, "lines/")):
        assert (await asyncio.to_thread(clerk.get, address)).status_code == 403
        assert (await asyncio.to_thread(Client().get, address)).status_code == 302
