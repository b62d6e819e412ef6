"""A page whose network fails: it notices, says so, keeps true as well as it can, and comes back by itself."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import httpx
import pytest

from conftest import Processes, Publish, eventually, fetch, follows, settings_of
from flashdrop.embedded.process import free_port
from flashdrop.faults.proxy import Weather
from orders import ledger
from orders.tests.browser import buy_elsewhere, sign_in
from orders.tests.truth import Sockets, address_of, is_live, is_not_noted, is_noted, network, shows, traveller

pytestmark = pytest.mark.browser

A_SECOND = 1.0
# Two beats and some: static/js/socket.js.
SILENCE = 6.0
GRACE = 3.0
POLL = 2.5
FIRST_RETRY = 2.0


async def test_a_socket_that_is_open_but_deaf_is_found_out_and_replaced(
    chromium: Any, shop: str, publish: Publish
) -> None:
    sale = await publish()
    await follows(shop, sale)
    sockets = Sockets()
    async with traveller(chromium, shop) as page:
        await page.add_init_script(
            "window.sockets = []; const Real = WebSocket;"
            "window.WebSocket = class extends Real { constructor(...a) { super(...a); sockets.push(this); } }"
        )
        await page.route_web_socket("**/ws/**", sockets)
        await page.goto(f"/sales/{sale.sku}/")
        await is_live(page)
        sockets.deaf = True
        since = time.time()
        await buy_elsewhere(shop, sale)
        bought = time.time() - since
        assert await page.evaluate("sockets[0].readyState") == 1, "the canary: to the browser it is as good as ever"
        await shows(page, SILENCE + A_SECOND + bought, since, connection="polling")
        await shows(page, SILENCE + 2 * A_SECOND + bought, since, available=9)
        await is_noted(page, "Live updates are off", A_SECOND)
        sockets.deaf = False
        since = time.time()
        await shows(page, SILENCE + FIRST_RETRY * 2 + A_SECOND, since, connection="live")
        await is_not_noted(page, A_SECOND)
        since = time.time()
        await buy_elsewhere(shop, sale)
        await shows(page, A_SECOND + time.time() - since, since, available=8)


async def test_a_network_that_hangs_is_noticed_and_the_page_comes_back(
    chromium: Any, shop: str, publish: Publish
) -> None:
    """No connection is lost, and nothing passes: what a phone sees that leaves the house."""
    sale = await publish()
    await follows(shop, sale)
    async with network(shop) as between, traveller(chromium, address_of(between)) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await is_live(page)
        between.change(Weather.HANGING)
        since = time.time()
        await shows(page, SILENCE + A_SECOND, since, connection="polling")
        # The look at the banner that nobody answers.
        await shows(page, SILENCE + 5 + 2 * A_SECOND, since, connection="lost")
        await is_noted(page, "Connection lost", A_SECOND)
        await buy_elsewhere(shop, sale)
        between.change(Weather.FAIR)
        since = time.time()
        await shows(page, 15, since, available=9, connection="live")
        await is_not_noted(page, A_SECOND)


async def test_a_connection_that_is_cut_is_told_and_mended(chromium: Any, shop: str, publish: Publish) -> None:
    sale = await publish()
    await follows(shop, sale)
    async with network(shop) as between, traveller(chromium, address_of(between)) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await is_live(page)
        between.change(Weather.RESETTING)
        since = time.time()
        await shows(page, GRACE + A_SECOND, since, connection="lost")
        early = [one for one in await page.evaluate("seen") if since < one["at"] < since + GRACE - 0.5]
        assert {one["connection"] for one in early} <= {"live"}, "a quick reconnect is nobody's news"
        await buy_elsewhere(shop, sale)
        between.change(Weather.FAIR)
        since = time.time()
        await shows(page, 10, since, available=9)
        await shows(page, 10, since, connection="live")
        await is_not_noted(page, A_SECOND)


async def test_polls_keep_the_page_true_while_only_sockets_fail(chromium: Any, shop: str, publish: Publish) -> None:
    sale = await publish()
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.route_web_socket("**/ws/**", lambda route: route.close(code=1011))
        await page.goto(f"/sales/{sale.sku}/")
        await is_noted(page, "Live updates are off", GRACE + 2 * A_SECOND)
        since = time.time()
        await buy_elsewhere(shop, sale)
        await shows(page, POLL + A_SECOND + time.time() - since, since, available=9)


async def test_ten_thousand_pages_do_not_reconnect_in_the_same_instant(
    chromium: Any, shop: str, publish: Publish
) -> None:
    sale = await publish()
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/")
        delays = await page.evaluate(
            "[0, 1, 2, 9].map((failed) => Array.from({ length: 10_000 }, () => flashdrop.reconnectDelay(failed)))"
        )
    for delay, most_ms in zip(delays, (2000, 4000, 8000, 10_000), strict=True):
        assert 0 <= min(delay) <= max(delay) < most_ms
        tenths = [0] * 10
        for value in delay:
            tenths[int(value * 10 / most_ms)] += 1
        # Even: the tenths of so many are within a sixth of each other, but once in a million times.
        assert 830 < min(tenths) <= max(tenths) < 1170


async def test_an_answer_that_the_socket_has_overtaken_is_not_shown(chromium: Any, shop: str, publish: Publish) -> None:
    """A poll's answer that comes late is older than what the socket has brought meanwhile."""
    sale = await publish()
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await is_live(page)
        async with httpx.AsyncClient(base_url=shop) as client:
            old = (await client.get(f"/sales/{sale.sku}/banner?lang=en")).text
        assert 'data-available="10"' in old
        await page.route("**/banner?*", lambda route: route.fulfill(status=200, content_type="text/html", body=old))
        since = time.time()
        await buy_elsewhere(shop, sale)
        await shows(page, A_SECOND + time.time() - since, since, available=9)
        async with page.expect_response("**/banner?*"):
            await page.evaluate("document.getElementById('banner').dispatchEvent(new CustomEvent('poll'))")
        await asyncio.sleep(0.3)
        left = [one["available"] for one in await page.evaluate("seen") if one["at"] > since]
        assert left == sorted(left, reverse=True)
        # The canary: where the socket has said nothing for a second, the same answer is shown.
        await asyncio.sleep(A_SECOND)
        await page.evaluate("document.getElementById('banner').dispatchEvent(new CustomEvent('poll'))")
        await shows(page, A_SECOND, available=10)


async def test_offline_is_said_at_once_and_online_is_caught_up_with(chromium: Any, shop: str, publish: Publish) -> None:
    sale = await publish()
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        # The browser's own way of being offline leaves open sockets alone; a train in a tunnel doesn't.
        sockets = Sockets()
        await page.route_web_socket("**/ws/**", sockets)
        await page.goto(f"/sales/{sale.sku}/")
        await is_live(page)
        sockets.deaf = True
        await page.context.set_offline(True)
        await shows(page, A_SECOND, connection="lost")
        await is_noted(page, "Connection lost", A_SECOND)
        await buy_elsewhere(shop, sale)
        sockets.deaf = False
        await page.context.set_offline(False)
        since = time.time()
        await shows(page, A_SECOND, since, available=9)
        await shows(page, 2 * A_SECOND, since, connection="live")


async def restarted(processes: Processes, port: int) -> Any:
    """The shop on `port`, started; returns once it answers."""
    process = processes.start("serve", "--port", str(port), "--workers", "1")

    async def answers() -> bool:
        try:
            return (await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/healthz", 1)).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(answers, 30)
    return process


@pytest.fixture
def own_port() -> int:
    return free_port()


async def test_a_shop_that_restarts_is_bought_from_once_by_a_shopper_who_pressed_twice(
    chromium: Any, publish: Publish, processes: Processes, own_port: int, migrated: None
) -> None:
    """Gone in the middle of a purchase: the page says so, comes back by itself, and a second press is the same try."""
    url = f"http://127.0.0.1:{own_port}"
    sale = await publish(settings_of(limit_per_shopper=5))
    first = await restarted(processes, own_port)
    await follows(url, sale)
    async with traveller(chromium, url) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await sign_in(page, "Gus")
        await is_live(page)

        async def answer_lost(route: Any) -> None:
            """The shop takes the order, and its answer never comes."""
            await route.fetch()
            first.send_signal(signal.SIGTERM)
            await asyncio.to_thread(first.wait, 20)
            await route.abort("connectionreset")

        await page.route("**/orders?*", answer_lost, times=1)
        # The panel would say what became of it before anybody could press again.
        await page.route("**/me?*", lambda route: route.abort())
        await page.click("#buy")
        await page.wait_for_selector('#me [role="alert"]:has-text("counts as the same try")', timeout=20_000)
        await page.click("#buy")
        await is_noted(page, "Connection lost", GRACE + 5)
        assert await page.inner_text("#me [data-note]") != ""
        await restarted(processes, own_port)
        await is_live(page, 16)
        await is_not_noted(page, A_SECOND)
        await page.click("#buy")
        await page.wait_for_selector('#me[data-state="order"]', timeout=8000)
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


async def test_a_purchase_whose_answer_was_lost_is_shown_all_the_same(
    chromium: Any, shop: str, publish: Publish
) -> None:
    """The last unit is sold, and nobody hears of it: the page must not go on saying that it did not get through."""
    sale = await publish(stock=1)
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await sign_in(page, "Ada")

        async def lose(route: Any) -> None:
            assert (await route.fetch()).status == 201
            await route.abort("connectionreset")

        await page.route("**/orders*", lose)
        await page.click("#buy")
        await page.wait_for_selector('#me [role="alert"]')
        assert "It may have gone through: looking for your order" in await page.inner_text('#me [role="alert"]')
        since = time.time()
        await page.wait_for_selector('#me[data-state="order"]', timeout=5000)
        assert time.time() - since < FIRST_RETRY + A_SECOND
        assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


async def test_a_page_that_gets_no_socket_polls_until_there_is_room(
    chromium: Any, shop: str, processes: Processes, publish: Publish
) -> None:
    """More viewers behind one address than it may hold sockets: an office, whose last ones are told by polls."""
    sale = await publish()
    port = free_port()
    office = f"http://127.0.0.1:{port}"
    processes.start("serve", "--port", str(port), "--workers", "1", SOCKETS_PER_ADDRESS="1")

    async def shows_it() -> bool:
        try:
            return (await asyncio.to_thread(fetch, f"{office}/api/products/{sale.sku}")).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(shows_it, 30)
    async with traveller(chromium, office) as second:
        async with traveller(chromium, office) as first:
            await first.goto(f"/sales/{sale.sku}/")
            await is_live(first)
            await second.goto(f"/sales/{sale.sku}/")
            since = time.time()
            await shows(second, SILENCE + 2 * A_SECOND, since, connection="polling")
            await buy_elsewhere(office, sale)
            since = time.time()
            await shows(first, A_SECOND, since, available=9)
            await shows(second, POLL + 2 * A_SECOND, since, available=9)
        await shows(second, 15, time.time(), connection="live")
