"""The offer on an open page: price, name, limit and choice follow the sale, and nobody buys anything else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conftest import Publish, client_of, cookie_of, follows, settings_of, shopper
from orders import ledger
from orders.tests.browser import PHONE, sign_in, wait_for_panel
from orders.tests.stage import Deaf
from orders.tests.truth import change, is_live, traveller, within
from sales.published import PublishedSale, SaleSettings

pytestmark = pytest.mark.browser

A_SECOND = 1.0
# What the machine adds that runs all of it, beside the tests.
LATE = 1.0
BUY_PATTERN = "**/orders?lang=*"


@pytest.fixture
def settings() -> SaleSettings:
    return settings_of(price_minor=99900, limit_per_shopper=5, stock=10)


@pytest.fixture
async def sale(shop: str, publish: Publish, settings: SaleSettings) -> PublishedSale:
    found = await publish(settings)
    await follows(shop, found)
    return found


async def opened(page: Any, sale: PublishedSale) -> None:
    await page.goto(f"/sales/{sale.sku}/")
    await sign_in(page, "Ada")
    await is_live(page)


async def becomes(page: Any, selector: str, text: str, seconds: float = A_SECOND + LATE) -> None:
    async def is_so() -> bool:
        return bool(await page.inner_text(selector) == text)

    await within(seconds, is_so)


async def buys_elsewhere(shop: str, sale: PublishedSale, quantity: int) -> None:
    async with client_of(shop) as client:
        wish = {"sku": sale.sku, "quantity": quantity}
        assert (await client.post("/api/orders", json=wish, headers=cookie_of(shopper()))).status_code == 201


async def choices(page: Any) -> list[str]:
    """What can be chosen."""
    found: list[str] = await page.eval_on_selector_all(
        "#quantity option", "all => all.filter(one => !one.disabled && !one.hidden).map(one => one.textContent)"
    )
    return found


async def test_the_total_follows_the_choice(chromium: Any, shop: str, sale: PublishedSale) -> None:
    async with traveller(chromium, shop) as page:
        await opened(page, sale)
        assert await page.inner_text("#buy") == "Buy now · €999.00"
        await page.select_option("#quantity", "3")
        assert await page.inner_text("#buy") == "Buy now · €2,997.00"
        await page.click("#buy")
        await wait_for_panel(page, "order")
        assert await page.inner_text("#buy") == "Buy more · €999.00"
        assert len(await choices(page)) == 2


async def test_a_change_of_price_name_and_limit_is_on_an_open_page_within_a_second(
    chromium: Any, shop: str, sale: PublishedSale, settings: SaleSettings
) -> None:
    async with traveller(chromium, shop) as page:
        await opened(page, sale)
        await page.select_option("#quantity", "3")
        await page.focus("#quantity")
        settings = await change(settings, price_minor=199900)
        await becomes(page, "#buy", "Buy now · €5,997.00")
        assert await page.inner_text(".price") == "€1,999.00"
        assert await page.evaluate("document.activeElement.id") == "quantity"
        settings = await change(settings, name="Another $& lamp")
        await becomes(page, "h1", "Another $& lamp")
        assert await page.title() == "Another $& lamp | Flashdrop"
        await change(settings, limit_per_shopper=2)
        await becomes(page, ".sale-facts .soft", "Up to 2 per shopper")
        await becomes(page, "#buy", "Buy now · €3,998.00")
        assert await choices(page) == ["1 · €1,999.00", "2 · €3,998.00"]
        await page.wait_for_timeout(600)
        await page.click("#buy")
        await wait_for_panel(page, "order")
        assert "€3,998.00" in await page.inner_text("#me")


async def test_a_change_of_price_comes_without_a_socket(
    chromium: Any, shop: str, sale: PublishedSale, settings: SaleSettings
) -> None:
    async with traveller(chromium, shop) as page:
        await page.route_web_socket("**/ws/**", lambda route: route.close())
        await page.goto(f"/sales/{sale.sku}/")
        await sign_in(page, "Bob")
        await change(settings, price_minor=199900)
        await becomes(page, "#buy", "Buy now · €1,999.00", 6)


async def test_whoever_presses_at_the_old_price_is_told_both_and_asked_again(
    chromium: Any, shop: str, sale: PublishedSale, settings: SaleSettings
) -> None:
    """The news has not reached the page."""
    async with traveller(chromium, shop) as page:
        deaf = await Deaf().sit(page)
        await page.goto(f"/sales/{sale.sku}/")
        await sign_in(page, "Cleo")
        await page.select_option("#quantity", "2")
        await change(settings, price_minor=199900)
        await page.dblclick("#buy")
        await page.wait_for_selector('#me [data-code="PRICE_CHANGED"]')
        told = await page.inner_text('#me [data-code="PRICE_CHANGED"]')
        assert "€999.00" in told and "€1,999.00" in told
        assert await page.inner_text("#buy") == "Buy now · €3,998.00"
        assert await page.inner_text(".price") == "€1,999.00"
        deaf.hear()
        await asyncio.sleep(1)
        assert await page.is_visible('#me [data-code="PRICE_CHANGED"]'), "the news took away what was told"
        assert (await ledger.tally(sale.id)).orders == 0, "the second click was meant for the button before it"
        await page.click("#buy")
        await wait_for_panel(page, "order")
        assert "€3,998.00" in await page.inner_text("#me")


async def test_the_news_does_not_take_the_panel_from_somebody_who_is_buying(
    chromium: Any, shop: str, sale: PublishedSale, settings: SaleSettings
) -> None:
    async with traveller(chromium, shop) as page:
        await opened(page, sale)
        asked: list[str] = []
        under_way = asyncio.Event()

        async def late(route: Any) -> None:
            under_way.set()
            response = await route.fetch()
            await asyncio.sleep(1.5)
            await route.fulfill(response=response)

        await page.route(BUY_PATTERN, late)
        page.on("request", lambda request: asked.append(request.url) if "/me?" in request.url else None)
        await page.click("#buy")
        await under_way.wait()
        await asyncio.sleep(0.3)
        await change(settings, price_minor=199900)
        await becomes(page, ".price", "€1,999.00")
        await wait_for_panel(page, "order")
        assert "€999.00" in await page.inner_text("#me dl")
        await becomes(page, "#buy", "Buy more · €1,999.00", 3)
        assert all("seen=2" in url for url in asked), asked


async def test_the_choice_follows_what_is_left_and_comes_back(
    chromium: Any, shop: str, sale: PublishedSale, settings: SaleSettings
) -> None:
    async with traveller(chromium, shop) as page:
        await opened(page, sale)
        await page.select_option("#quantity", "5")
        await buys_elsewhere(shop, sale, 5)
        await buys_elsewhere(shop, sale, 3)
        await becomes(page, "#buy", "Buy now · €1,998.00")
        assert len(await choices(page)) == 2
        await change(settings, stock=14)
        await becomes(page, "#buy", "Buy now · €4,995.00")
        assert len(await choices(page)) == 5


async def test_fewer_left_than_asked_for_on_a_page_that_has_not_heard(
    chromium: Any, shop: str, sale: PublishedSale
) -> None:
    async with traveller(chromium, shop) as page:
        await Deaf().sit(page)
        await page.goto(f"/sales/{sale.sku}/")
        await sign_in(page, "Dora")
        await page.select_option("#quantity", "4")
        await buys_elsewhere(shop, sale, 5)
        await buys_elsewhere(shop, sale, 3)
        await page.click("#buy")
        await page.wait_for_selector('#me [data-code="OUT_OF_STOCK"]')
        assert await page.inner_text('#me [data-code="OUT_OF_STOCK"]') == "Only 2 are left. Choose 1 or 2."
        assert await page.input_value("#quantity") == "2"


async def test_without_scripts_the_choice_says_its_total_and_a_pause_is_told_once(
    chromium: Any, shop: str, sale: PublishedSale, settings: SaleSettings
) -> None:
    context = await chromium.new_context(viewport=PHONE, base_url=shop, java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"/sales/{sale.sku}/me")
    await page.fill('input[name="identifier"]', "Emil")
    await page.press('input[name="identifier"]', "Enter")
    await wait_for_panel(page, "ready")
    await page.select_option("#quantity", label="3 · €2,997.00")
    settings = await change(settings, paused=True)
    await page.click("#buy")
    await page.wait_for_selector('#me [data-code="SALE_PAUSED"]')
    assert await page.input_value("#quantity") == "3"
    assert page.url.endswith(f"/sales/{sale.sku}/me")
    settings = await change(settings, paused=False)
    await asyncio.sleep(1.2)
    await page.reload()
    assert await page.query_selector("#me [data-code]") is None
    await change(settings, price_minor=199900)
    await page.click("#buy")
    told = await page.inner_text('#me [data-code="PRICE_CHANGED"]')
    assert "€999.00" in told and "€1,999.00" in told
    assert await page.inner_text(".price") == "€1,999.00"
    await page.click("#buy")
    await wait_for_panel(page, "order")
    assert "€1,999.00" in await page.inner_text("#me dl")
    await context.close()
