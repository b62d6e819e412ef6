"""Two tabs, impatient fingers and slow networks: one order, and no panel that is not true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conftest import Publish, client_of, follows
from orders import ledger
from orders.tests.browser import sign_in, wait_for_panel
from orders.tests.truth import bought, is_live, slow_down, traveller, within
from sales.published import PublishedSale

pytestmark = pytest.mark.browser

A_SECOND = 1.0


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


async def test_what_was_asked_before_a_purchase_does_not_take_its_answer_away(
    page: Any, shop: str, sale: PublishedSale
) -> None:
    """The one is on its way while the other is: whoever has pressed the button waits for what it says."""
    async with client_of(shop) as stranger:
        old = (await stranger.get(f"/sales/{sale.sku}/me?lang=en", headers={"HX-Request": "true"})).text
    asks, buys = asyncio.Event(), asyncio.Event()

    async def answer_old(route: Any) -> None:
        await asks.wait()
        await route.fulfill(status=200, content_type="text/html", body=old)

    async def answer_late(route: Any) -> None:
        await buys.wait()
        await route.continue_()

    await page.route("**/me?*", answer_old)
    await page.route("**/orders?*", answer_late)
    async with page.expect_request("**/me?*"):
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    async with page.expect_request("**/orders?*"):
        await page.click("#buy")
    async with page.expect_response("**/me?*"):
        asks.set()
    await asyncio.sleep(0.3)
    assert await page.get_attribute("#me", "data-state") == "ready"
    buys.set()
    await wait_for_panel(page, "order")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await wait_for_panel(page, "signed_out")  # the canary: such an answer is shown where it is the newest


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
