"""The shop floor in a real Chromium against real processes: the page follows by itself, and tells the truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import Publish, follows, settings_of
from orders import ledger
from orders.tests.browser import PHONE, WITHIN_A_SECOND, buy_elsewhere, sign_in, visitor, wait_for_phase
from sales import publishing

pytestmark = pytest.mark.browser


@pytest.fixture
async def page(chromium: Any, shop: str) -> AsyncIterator[Any]:
    async with visitor(chromium, shop) as found:
        yield found


async def test_an_open_page_follows_the_sale_from_upcoming_to_sold_out(page: Any, shop: str, publish: Publish) -> None:
    opens_at = datetime.now(UTC) + timedelta(seconds=5)
    sale = await publish(stock=2, opens_at=opens_at)
    await follows(shop, sale)
    await page.goto(f"/sales/{sale.sku}/")
    await wait_for_phase(page, "upcoming")
    await sign_in(page, "Ada")
    assert await page.get_attribute("#buy", "aria-disabled") == "true"
    await wait_for_phase(page, "active")
    assert datetime.now(UTC) - opens_at < timedelta(seconds=2)
    await buy_elsewhere(shop, sale)
    await page.wait_for_selector('#banner[data-available="1"]', timeout=WITHIN_A_SECOND)
    await page.click("#buy")
    await page.wait_for_selector('#me[data-state="order"]')
    assert "2" in await page.inner_text("#me .ticket-units")
    await wait_for_phase(page, "sold_out", WITHIN_A_SECOND)
    assert await ledger.tally(sale.id) == ledger.Tally(2, 2)


async def test_a_double_click_buys_once(page: Any, shop: str, publish: Publish) -> None:
    sale = await publish(limit_per_shopper=5)
    await follows(shop, sale)
    await page.goto(f"/sales/{sale.sku}/")
    await sign_in(page, "Bob")
    await page.dblclick("#buy")
    await page.wait_for_selector('#me[data-state="order"]')
    await asyncio.sleep(0.5)
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


async def test_who_comes_too_late_is_told_and_may_try_again_when_a_unit_returns(
    page: Any, shop: str, publish: Publish
) -> None:
    settings = settings_of(stock=1)
    sale = await publish(settings)
    await follows(shop, sale)
    await page.goto(f"/sales/{sale.sku}/")
    await sign_in(page, "Cleo")
    await buy_elsewhere(shop, sale)
    await wait_for_phase(page, "sold_out", WITHIN_A_SECOND)
    assert await page.get_attribute("#buy", "aria-disabled") == "true"
    await publishing.publish(settings_of(**{**_fields(settings), "stock": 2}))
    await wait_for_phase(page, "active")
    await page.click("#buy")
    await page.wait_for_selector('#me[data-state="order"]')


async def test_a_pause_is_shown_at_once_and_lifted_again(page: Any, shop: str, publish: Publish) -> None:
    settings = settings_of()
    sale = await publish(settings)
    await follows(shop, sale)
    await page.goto(f"/sales/{sale.sku}/")
    await wait_for_phase(page, "active")
    await publishing.publish(settings_of(**{**_fields(settings), "paused": True}))
    await wait_for_phase(page, "paused", 2000)
    await publishing.publish(settings)
    await wait_for_phase(page, "active", 2000)


async def test_everything_works_without_javascript(chromium: Any, shop: str, publish: Publish) -> None:
    sale = await publish(stock=1)
    await follows(shop, sale)
    context = await chromium.new_context(viewport=PHONE, base_url=shop, java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"/sales/{sale.sku}/")
    await page.click("#me a.button")
    await page.fill('input[name="identifier"]', "Dora")
    await page.press('input[name="identifier"]', "Enter")
    await page.wait_for_selector('#me[data-state="ready"]')
    await page.click("#buy")
    await page.wait_for_selector('#me[data-state="order"]')
    await page.click('#me a[href^="/orders/"]')
    assert "Dora" in await page.inner_text("main")
    await context.close()

    late = await chromium.new_context(viewport=PHONE, base_url=shop, java_script_enabled=False)
    page = await late.new_page()
    await page.goto(f"/sales/{sale.sku}/me")
    await page.fill('input[name="identifier"]', "Emil")
    await page.press('input[name="identifier"]', "Enter")
    await page.wait_for_selector('#me[data-state="ready"]')
    await page.click("#buy")
    await page.wait_for_selector('#me [role="alert"]')
    assert "out of stock" in await page.inner_text("#me")
    await late.close()


async def test_the_page_polls_while_its_socket_is_down(page: Any, shop: str, publish: Publish) -> None:
    sale = await publish()
    await follows(shop, sale)
    await page.route_web_socket("**/ws/**", lambda route: route.close())
    await page.goto(f"/sales/{sale.sku}/")
    await wait_for_phase(page, "active")
    await buy_elsewhere(shop, sale)
    await page.wait_for_selector('#banner[data-available="9"]', timeout=8000)


def _fields(settings: Any) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in type(settings).__dataclass_fields__}
