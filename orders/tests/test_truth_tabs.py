"""Two tabs, impatient fingers, the back button and slow networks: one order, and no panel that is not true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conftest import CHROMIUM, Publish, follows
from orders import ledger
from orders.tests.browser import buy_elsewhere, sign_in, wait_for_panel
from orders.tests.truth import is_live, slow_down, traveller, within
from sales.published import PublishedSale

pytestmark = pytest.mark.browser

A_SECOND = 1.0
# A page out of the memory is not loaded, so nothing says that it has been.
COMMIT = "commit"


@pytest.fixture
async def sale(shop: str, publish: Publish) -> PublishedSale:
    """One that sells up to five to each, so that a second order would be one."""
    found = await publish(limit_per_shopper=5)
    await follows(shop, found)
    return found


@pytest.fixture
async def page(chromium: Any, shop: str, sale: PublishedSale) -> AsyncIterator[Any]:
    """The sale's page, with somebody signed in."""
    async with traveller(chromium, shop) as found:
        await found.goto(f"/sales/{sale.sku}/")
        await sign_in(found, "Ada")
        yield found


async def beside(page: Any, sale: PublishedSale) -> Any:
    """Another tab of the same browser, on the same sale."""
    tab = await page.context.new_page()
    await tab.goto(f"/sales/{sale.sku}/")
    await wait_for_panel(tab, "ready")
    return tab


async def bought(page: Any) -> None:
    await page.click("#buy")
    await wait_for_panel(page, "order")


# Tabs


async def test_what_is_bought_in_one_tab_is_shown_in_the_other(page: Any, sale: PublishedSale) -> None:
    tab = await beside(page, sale)
    await bought(page)
    await wait_for_panel(tab, "order", 2000)
    number = await page.inner_text("#me .ticket-units")
    assert await tab.inner_text("#me .ticket-units") == number


async def test_signing_out_in_one_tab_signs_the_other_out(page: Any, sale: PublishedSale) -> None:
    """And whoever signs in then is who the other tab buys for, and says so."""
    tab = await beside(page, sale)
    await page.click("#me .who button")
    await wait_for_panel(tab, "signed_out", 2000)
    await sign_in(page, "Bea")
    await wait_for_panel(tab, "ready", 2000)
    assert "Bea" in await tab.inner_text("#me .who")


async def test_a_tab_that_heard_nothing_is_told_when_it_buys(page: Any, sale: PublishedSale) -> None:
    tab = await beside(page, sale)
    await tab.evaluate("BroadcastChannel.prototype.postMessage = () => {}")
    await page.evaluate("BroadcastChannel.prototype.postMessage = () => {}")
    await page.click("#me .who button")
    await wait_for_panel(page, "signed_out")
    assert await tab.get_attribute("#me", "data-state") == "ready"
    await tab.click("#buy")
    await wait_for_panel(tab, "signed_out")
    assert "sign in" in (await tab.inner_text("#me [role=alert]")).lower()
    assert await ledger.tally(sale.id) == ledger.Tally(0, 0)


async def test_a_tab_that_is_shown_again_asks_what_it_missed(page: Any, sale: PublishedSale) -> None:
    tab = await beside(page, sale)
    await page.evaluate("BroadcastChannel.prototype.postMessage = () => {}")
    await bought(page)
    assert await tab.get_attribute("#me", "data-state") == "ready"
    await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await wait_for_panel(tab, "order", 2000)


async def test_being_shown_again_disturbs_nobody_who_is_typing(chromium: Any, shop: str, sale: PublishedSale) -> None:
    async with traveller(chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await page.fill('#me input[name="identifier"]', "half a na")
        async with page.expect_response("**/me?*"):
            await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await asyncio.sleep(0.2)
        assert await page.input_value('#me input[name="identifier"]') == "half a na"
        assert await page.evaluate("document.activeElement.name") == "identifier"


async def test_a_language_chosen_in_one_tab_leaves_the_other_whole(page: Any, sale: PublishedSale) -> None:
    tab = await beside(page, sale)
    await page.click('.languages button[value="de"]')
    await page.wait_for_selector('html[lang="de"]')
    await wait_for_panel(page, "ready")
    await bought(tab)
    assert "It's yours" in await tab.inner_text("#me")
    assert await tab.inner_text("#banner h2") == "On sale now"
    assert "Jetzt" in await page.inner_text("#banner")


# Impatience


async def test_impatient_clicks_and_enters_on_a_slow_network_buy_once(page: Any, sale: PublishedSale) -> None:
    await slow_down(page, latency_ms=2000, kilobits=400)
    await page.focus("#buy")
    for _ in range(3):
        await page.keyboard.press("Enter")
    for _ in range(4):
        await page.click("#buy", force=True, no_wait_after=True)
        await asyncio.sleep(0.1)
    await wait_for_panel(page, "order", 12_000)
    await asyncio.sleep(A_SECOND)
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


async def test_a_click_that_was_on_its_way_when_the_answer_came_buys_nothing_more(
    page: Any, sale: PublishedSale
) -> None:
    """The answer brings a button to buy more; half a second later it means it."""
    await page.evaluate(
        """document.addEventListener("htmx:afterSettle", (event) => {
          if (event.target.dataset.state === "order") document.getElementById("buy").click();
        })"""
    )
    await bought(page)
    await asyncio.sleep(A_SECOND)
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)
    async with page.expect_response("**/orders?*"):
        await page.click("#buy")
    await within(3, lambda: _has(sale, 2))


async def test_what_was_asked_before_a_purchase_does_not_take_its_answer_away(page: Any, sale: PublishedSale) -> None:
    release = asyncio.Event()

    async def late(route: Any) -> None:
        response = await route.fetch()
        await release.wait()
        await route.fulfill(response=response)

    await page.route("**/me?*", late, times=1)
    async with page.expect_request("**/me?*"):
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await bought(page)
    release.set()
    await asyncio.sleep(0.5)
    assert await page.get_attribute("#me", "data-state") == "order"


# Back and forward


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
        await page.go_back(wait_until=COMMIT)
        assert bool(await page.evaluate("window.restored")) is keeps_pages
        await wait_for_panel(page, "order", 3000)
        await is_live(page, 3)
        await page.go_forward(wait_until=COMMIT)
        await page.wait_for_selector(".receipt")
        await page.go_back(wait_until=COMMIT)
        await page.go_back(wait_until=COMMIT)
        await page.wait_for_selector(".orders")
        await page.go_forward(wait_until=COMMIT)
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
        await page.go_back(wait_until=COMMIT)
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
        await page.go_back(wait_until=COMMIT)
        await page.go_forward(wait_until=COMMIT)
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


@pytest.mark.parametrize("reloads", [True, False], ids=["as we have it", "by itself"])
async def test_htmx_restoring_its_history_shows_the_whole_page(page: Any, sale: PublishedSale, reloads: bool) -> None:
    """Where it has no copy it asks the server, which must not mistake it for a panel that asks."""
    await page.goto(f"/sales/{sale.sku}/me")
    await page.evaluate(f"htmx.config.refreshOnHistoryMiss = {str(reloads).lower()}")
    await page.evaluate("history.replaceState({htmx: true}, ''); history.pushState({htmx: true}, '', '/orders/')")
    await page.evaluate("document.querySelector('.masthead').remove()")
    await page.go_back(wait_until=COMMIT)
    await page.wait_for_selector(".masthead")
    await page.wait_for_selector("#banner")
    assert await page.locator("#me").count() == 1
    assert await page.get_attribute("#me", "data-state") == "ready"


# Slow networks


async def test_all_works_on_a_slow_network(chromium: Any, shop: str, sale: PublishedSale) -> None:
    """400 ms there and back, 400 kbit/s."""
    async with traveller(chromium, shop) as page:
        await slow_down(page, latency_ms=400, kilobits=400)
        await page.goto(f"/sales/{sale.sku}/", wait_until="commit")
        await page.wait_for_selector('#me[data-state="loading"] a.button')
        await wait_for_panel(page, "signed_out", 12_000)
        await sign_in(page, "Finn")
        await is_live(page)
        await bought(page)
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


async def test_a_panel_that_does_not_come_says_so_and_is_asked_for_again(
    chromium: Any, shop: str, sale: PublishedSale
) -> None:
    async with traveller(chromium, shop) as page:
        await page.route("**/me?*", lambda route: route.abort(), times=1)
        await page.goto(f"/sales/{sale.sku}/")
        await page.wait_for_selector('#me[data-state="loading"] [role="alert"]:has-text("Trying again")')
        await wait_for_panel(page, "signed_out", 4000)


async def test_a_panel_that_hangs_is_asked_for_again(chromium: Any, shop: str, sale: PublishedSale) -> None:
    async def impatient(route: Any) -> None:
        """The same page, only that it waits for a second where it waits for eight."""
        response = await route.fetch()
        text = await response.text()
        assert '"timeout":8000' in text
        await route.fulfill(response=response, body=text.replace('"timeout":8000', '"timeout":1000'))

    async with traveller(chromium, shop) as page:
        await page.route("**/me?*", lambda route: None, times=1)
        await page.route(f"**/sales/{sale.sku}/", impatient)
        await page.goto(f"/sales/{sale.sku}/")
        await page.wait_for_selector('#me [role="alert"]:has-text("Trying again")', timeout=3000)
        await wait_for_panel(page, "signed_out", 4000)


async def _has(sale: PublishedSale, orders: int) -> bool:
    return await ledger.tally(sale.id) == ledger.Tally(orders, orders)


async def _shows(page: Any, available: str, panel: str) -> bool:
    found = await page.evaluate(
        "[document.getElementById('banner')?.dataset.available, document.getElementById('me')?.dataset.state]"
    )
    return bool(found == [available, panel])
