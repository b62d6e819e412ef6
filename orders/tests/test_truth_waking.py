"""A page that comes back catches up at once: on a phone that wakes, out of the browser's memory, by the back button."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Error as PlaywrightError

from conftest import CHROMIUM, Publish, follows
from orders import ledger
from orders.tests.browser import buy_elsewhere, sign_in, wait_for_panel
from orders.tests.truth import Sockets, bought, is_live, shows, traveller, within
from sales.published import PublishedSale

pytestmark = pytest.mark.browser

A_SECOND = 1.0


@pytest.fixture
async def sale(shop: str, publish: Publish) -> PublishedSale:
    """One that sells up to five to each, so that a second order would be one."""
    found = await publish(limit_per_shopper=5)
    await follows(shop, found)
    return found


async def gone(step: Callable[..., Awaitable[Any]]) -> None:
    """Go back or forward. Right after another such step Chromium may not have the page in hand yet, and says so."""
    for tries_left in reversed(range(20)):
        try:
            # A page out of the memory is not loaded, so nothing says that it has been.
            await step(wait_until="commit")
            return
        except PlaywrightError as error:
            if "Not attached to an active page" not in str(error) or not tries_left:
                raise
            await asyncio.sleep(0.1)


def pretend(hidden: bool) -> str:
    return (
        f"Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {str(hidden).lower()} }});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )


async def test_a_phone_that_wakes_with_a_dead_socket_catches_up_at_once(
    chromium: Any, shop: str, publish: Publish
) -> None:
    sale = await publish()
    await follows(shop, sale)
    sockets = Sockets()
    async with traveller(chromium, shop) as page:
        await page.route_web_socket("**/ws/**", sockets)
        await page.goto(f"/sales/{sale.sku}/")
        await is_live(page)
        await page.evaluate(pretend(hidden=True))
        sockets.deaf = True
        await buy_elsewhere(shop, sale)
        await asyncio.sleep(0.5)
        assert (await page.evaluate("seen.at(-1)"))["available"] == 10
        # As long as the phone was asleep, by its clock.
        await page.evaluate("const real = Date.now; Date.now = () => real() + 60_000")
        sockets.deaf = False
        await page.evaluate(pretend(hidden=False))
        await shows(page, A_SECOND, available=9)
        assert sockets.opened == 2


async def test_a_look_at_another_tab_costs_no_reconnect(chromium: Any, shop: str, publish: Publish) -> None:
    sale = await publish()
    await follows(shop, sale)
    sockets = Sockets()
    async with traveller(chromium, shop) as page:
        await page.route_web_socket("**/ws/**", sockets)
        await page.goto(f"/sales/{sale.sku}/")
        await is_live(page)
        for hidden in (True, False):
            await page.evaluate(pretend(hidden=hidden))
        await asyncio.sleep(0.3)
        assert sockets.opened == 1


async def test_a_page_that_was_frozen_catches_up_when_it_goes_on(chromium: Any, shop: str, publish: Publish) -> None:
    sale = await publish()
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await is_live(page)
        session = await page.context.new_cdp_session(page)
        await session.send("Page.setWebLifecycleState", {"state": "frozen"})
        await buy_elsewhere(shop, sale)
        await asyncio.sleep(A_SECOND)
        await session.send("Page.setWebLifecycleState", {"state": "active"})
        since = time.time()
        await within(A_SECOND, lambda: page.evaluate("document.getElementById('banner').dataset.available === '9'"))
        await is_live(page, 2 * A_SECOND)
        assert time.time() - since < 2 * A_SECOND


@pytest.fixture(scope="module")
async def remembering() -> AsyncIterator[Any]:
    """A Chromium that keeps pages in memory when they are left; the other one is told not to."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--headless", "--no-sandbox", "--disable-background-networking"],
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield browser
        await browser.close()


@pytest.mark.parametrize("keeps_pages", [False, True], ids=["loaded anew", "out of the memory"])
async def test_back_and_forward_after_buying_show_the_order(
    chromium: Any, remembering: Any, shop: str, sale: PublishedSale, keeps_pages: bool
) -> None:
    async with traveller(remembering if keeps_pages else chromium, shop) as page:
        await page.goto("/orders/")
        await page.goto(f"/sales/{sale.sku}/")
        await page.evaluate("window.addEventListener('pageshow', (event) => (window.restored = event.persisted))")
        await sign_in(page, "Cleo")
        await bought(page)
        await page.click('#me a[href^="/orders/"]')
        await page.wait_for_selector(".receipt")
        await gone(page.go_back)
        assert bool(await page.evaluate("window.restored")) is keeps_pages
        await wait_for_panel(page, "order", 3000)
        await is_live(page, 3)
        await gone(page.go_forward)
        await page.wait_for_selector(".receipt")
        await gone(page.go_back)
        await gone(page.go_back)
        await page.wait_for_selector(".orders")
        await gone(page.go_forward)
        await wait_for_panel(page, "order", 3000)
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


@pytest.mark.parametrize("keeps_pages", [False, True], ids=["loaded anew", "out of the memory"])
async def test_a_page_that_is_gone_back_to_is_synced_at_once(
    chromium: Any, remembering: Any, shop: str, publish: Publish, keeps_pages: bool
) -> None:

    sale = await publish()
    await follows(shop, sale)
    async with traveller(remembering if keeps_pages else chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await sign_in(page, "Dora")
        await is_live(page)
        await page.goto("/orders/")
        await buy_elsewhere(shop, sale)
        # In another tab, say.
        await page.request.post("/session/end", form={"sku": sale.sku}, headers={"Origin": shop})
        await gone(page.go_back)
        since = time.time()
        await within(2, lambda: _shows(page, "9", "signed_out"))
        assert time.time() - since < 2


async def test_without_scripts_a_reload_of_the_answer_does_not_buy_again(
    chromium: Any, shop: str, sale: PublishedSale
) -> None:
    async with traveller(chromium, shop, java_script_enabled=False) as page:
        await page.goto(f"/sales/{sale.sku}/me")
        await page.fill('input[name="identifier"]', "Emil")
        await page.press('input[name="identifier"]', "Enter")
        await page.click("#buy")
        await page.wait_for_selector('#me[data-state="order"]')
        await page.reload()
        await page.wait_for_selector('#me[data-state="order"]')
        await gone(page.go_back)
        await gone(page.go_forward)
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


@pytest.mark.parametrize("reloads", [True, False], ids=["as we have it", "by itself"])
async def test_htmx_restoring_its_history_shows_the_whole_page(
    chromium: Any, shop: str, sale: PublishedSale, reloads: bool
) -> None:
    """Where it has no copy it asks the server, which must not mistake it for a panel that asks."""
    async with traveller(chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/me")
        await page.evaluate(f"htmx.config.refreshOnHistoryMiss = {str(reloads).lower()}")
        await page.evaluate("history.replaceState({htmx: true}, ''); history.pushState({htmx: true}, '', '/orders/')")
        await page.evaluate("document.querySelector('.masthead').remove()")
        await gone(page.go_back)
        await page.wait_for_selector(".masthead")
        await page.wait_for_selector("#banner")
        assert await page.locator("#me").count() == 1
        assert await page.get_attribute("#me", "data-state") == "signed_out"


async def _shows(page: Any, available: str, panel: str) -> bool:
    found = await page.evaluate(
        "[document.getElementById('banner')?.dataset.available, document.getElementById('me')?.dataset.state]"
    )
    return bool(found == [available, panel])
