"""The server's time on the page: whatever the device's clock says, whatever happens to it, however slow the network."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import Publish, follows, settings_of
from orders.tests.browser import buy_elsewhere, sign_in
from orders.tests.truth import (
    DEVICE,
    change,
    countdown_error,
    is_live,
    seconds_left,
    shows,
    slow_down,
    traveller,
    within,
)

pytestmark = pytest.mark.browser

HOUR_MS = 3_600_000
A_SECOND = 1.0


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def counting(page: Any) -> None:
    await page.wait_for_selector("#banner [data-countdown][data-ticking]", state="attached", timeout=8000)


async def opens_in_time(page: Any, opens_at: datetime) -> None:
    """Wait for the button to open, which is in the second after the opening."""
    await shows(page, A_SECOND, opens_at.timestamp(), closed="false")
    seen = await page.evaluate("seen")
    assert not [one for one in seen if one["closed"] == "false" and one["at"] < opens_at.timestamp()]


async def test_a_device_whose_clock_is_wrong_shows_the_servers_time(chromium: Any, shop: str, publish: Publish) -> None:
    opens_at = soon(6)
    sale = await publish(opens_at=opens_at)
    await follows(shop, sale)

    async def with_a_clock_off_by(hours: int) -> None:
        async with traveller(chromium, shop, timezone_id="UTC") as page:
            await page.add_init_script(DEVICE % (hours * HOUR_MS))
            await page.goto(f"/sales/{sale.sku}/")
            await sign_in(page, "Ada")
            await counting(page)
            opens, now = await page.evaluate("[document.getElementById('banner').dataset.opens, Date.now() / 1000]")
            naive = datetime.fromisoformat(opens).timestamp() - now
            left = (opens_at - datetime.now(UTC)).total_seconds()
            assert abs(left - naive - hours * 3600) < 5, "the canary: by the device's clock it would be an hour off"
            assert await countdown_error(page, opens_at) < A_SECOND
            assert f"{opens_at:%H:%M}" in await page.inner_text("#banner [data-window]")
            await opens_in_time(page, opens_at)

    await asyncio.gather(with_a_clock_off_by(1), with_a_clock_off_by(-1))


async def test_a_clock_that_is_set_while_the_page_is_open_changes_nothing(
    chromium: Any, shop: str, publish: Publish
) -> None:
    opens_at = soon(600)
    sale = await publish(opens_at=opens_at)
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.add_init_script(DEVICE % 0)
        await page.goto(f"/sales/{sale.sku}/")
        await counting(page)
        for skew_ms in (HOUR_MS, -HOUR_MS, 700):
            await page.evaluate(f"device.skewMs = {skew_ms}")
            until = time.monotonic() + 1.2
            while time.monotonic() < until:
                assert await countdown_error(page, opens_at) < A_SECOND
                await asyncio.sleep(0.05)
        shown = [one["countdown"] for one in await page.evaluate("seen") if one["countdown"].startswith("00:")]
        assert shown == sorted(shown, reverse=True), "it only ever counts down"
        assert len(shown) >= 3


async def test_after_a_sleep_the_countdown_is_right_at_once(chromium: Any, shop: str, publish: Publish) -> None:
    """While a device sleeps, the clock that nobody can set may stand still, and no event may tell."""
    opens_at = soon(600)
    sale = await publish(opens_at=opens_at)
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.add_init_script(DEVICE % 0)
        await page.goto(f"/sales/{sale.sku}/")
        await counting(page)
        await page.evaluate("window.naive = flashdrop.now() - performance.now()")
        await page.evaluate("device.sleptMs = 60_000")
        carried_on = await page.evaluate("naive + performance.now()") / 1000
        assert carried_on - time.time() < -55, "the canary: carried on by that clock alone it is a minute off"
        await asyncio.sleep(A_SECOND)
        assert await countdown_error(page, opens_at) < A_SECOND


async def test_a_slow_first_answer_gives_way_to_a_quicker_one(chromium: Any, shop: str, publish: Publish) -> None:
    """All of it on one way: the middle of it is wrong by half."""
    opens_at = soon(600)
    sale = await publish(opens_at=opens_at)
    await follows(shop, sale)
    answers = 0

    async def late_once(route: Any) -> None:
        nonlocal answers
        answers += 1
        response = await route.fetch()
        if answers == 1:
            await asyncio.sleep(2.5)
        await route.fulfill(response=response)

    async with traveller(chromium, shop) as page:
        await page.route("**/sale-status", late_once)
        await page.goto(f"/sales/{sale.sku}/")
        await counting(page)
        first = await page.evaluate("flashdrop.now()") / 1000 - time.time()
        assert first < -1, "the canary: by the first answer alone it is late by half of its way"

        async def is_right() -> bool:
            return abs(await page.evaluate("flashdrop.now()") / 1000 - time.time()) < 0.5

        await within(5, is_right)
        assert await countdown_error(page, opens_at) < A_SECOND


async def test_a_server_whose_clock_is_set_is_followed(chromium: Any, shop: str, publish: Publish) -> None:
    """Another gate has taken over, say: what was measured of the last one is worth nothing, however sharp it was."""
    opens_at = soon(600)
    sale = await publish(opens_at=opens_at)
    await follows(shop, sale)

    async def five_seconds_on(route: Any) -> None:
        answer = await (await route.fetch()).json()
        moved = datetime.fromisoformat(answer["data"]["serverTime"]) + timedelta(seconds=5)
        answer["data"]["serverTime"] = moved.isoformat()
        await route.fulfill(json=answer)

    async with traveller(chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await counting(page)
        await page.route("**/sale-status", five_seconds_on)
        async with page.expect_response("**/sale-status"):
            await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await asyncio.sleep(A_SECOND)
        assert await countdown_error(page, opens_at - timedelta(seconds=5)) < A_SECOND


async def test_a_network_that_is_slow_on_one_way_opens_in_time(chromium: Any, shop: str, publish: Publish) -> None:
    opens_at = soon(15)
    sale = await publish(opens_at=opens_at)
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await slow_down(page, latency_ms=800, kilobits=400)
        await page.goto(f"/sales/{sale.sku}/")
        await sign_in(page, "Bob")
        await counting(page)
        assert await countdown_error(page, opens_at) < A_SECOND
        await opens_in_time(page, opens_at)


async def test_at_the_opening_second_the_button_is_ready_where_the_shopper_waits(
    chromium: Any, shop: str, publish: Publish
) -> None:
    """No reload, the focus where it was, and never a clock that stands at zero without a word, or goes below it."""
    opens_at = soon(5)
    sale = await publish(opens_at=opens_at)
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await sign_in(page, "Cleo")
        await counting(page)
        await page.evaluate("window.notReloaded = true")
        await page.focus("#buy")
        await opens_in_time(page, opens_at)
        assert await page.evaluate("document.activeElement.id") == "buy"
        assert await page.evaluate("notReloaded")
        seen = await page.evaluate("seen")
        assert not [one for one in seen if "-" in one["countdown"]]
        at_zero = [one for one in seen if one["phase"] == "upcoming" and one["countdown"] == "00:00:00"]
        assert {one["words"] for one in at_zero} <= {"Opening…"}
        opened = next(one["at"] for one in seen if one["phase"] == "active")
        assert not at_zero or opened - at_zero[0]["at"] < A_SECOND
        await page.keyboard.press("Enter")
        await shows(page, 5, panel="order")


async def test_the_opening_comes_in_time_without_a_socket(chromium: Any, shop: str, publish: Publish) -> None:
    opens_at = soon(5)
    sale = await publish(opens_at=opens_at)
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.route_web_socket("**/ws/**", lambda route: route.close())
        await page.goto(f"/sales/{sale.sku}/")
        await sign_in(page, "Dora")
        await counting(page)
        await opens_in_time(page, opens_at)


async def test_a_page_with_a_live_socket_asks_for_nothing(chromium: Any, shop: str, publish: Publish) -> None:
    """Not while nothing is new, which beats tell it; nor in the opening second, when thousands of polls would be."""
    opens_at = soon(7)
    sale = await publish(opens_at=opens_at)
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/banner" in request.url else None)
        await page.goto(f"/sales/{sale.sku}/")
        await counting(page)
        await is_live(page)
        asked.clear()
        await shows(page, A_SECOND, opens_at.timestamp(), phase="active")
        assert asked == []


async def test_a_change_is_on_a_connected_page_within_a_second(chromium: Any, shop: str, publish: Publish) -> None:
    settings = settings_of(stock=10)
    sale = await publish(settings)
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await is_live(page)
        began = time.time()
        await buy_elsewhere(shop, sale)
        # In force since some moment between our asking and its answer.
        await shows(page, A_SECOND + time.time() - began, began, available=9)
        settings = await change(settings, paused=True)
        await shows(page, A_SECOND, phase="paused")
        settings = await change(settings, paused=False, stock=20)
        await shows(page, A_SECOND, phase="active", available=19)
        moved = datetime.now(UTC) + timedelta(minutes=7)
        await change(settings, opens_at=moved)
        await shows(page, A_SECOND, phase="upcoming")
        await counting(page)
        assert await countdown_error(page, moved) < A_SECOND


async def test_until_the_servers_time_is_known_the_page_shows_the_date(
    chromium: Any, shop: str, publish: Publish
) -> None:
    """A countdown from the device's clock would be a guess."""
    opens_at = soon(600)
    sale = await publish(opens_at=opens_at)
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.route("**/sale-status", lambda route: route.abort())
        await page.goto(f"/sales/{sale.sku}/")
        await is_live(page)
        assert await seconds_left(page) is None
        await page.unroute("**/sale-status")
        await counting(page)
        assert await countdown_error(page, opens_at) < A_SECOND
