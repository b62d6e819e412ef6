"""What is said where an answer was lost: that nobody knows, until the shop was asked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from conftest import BASE_DIR, Publish, follows
from orders import ledger
from orders.tests.browser import sign_in, wait_for_panel
from orders.tests.truth import traveller

browser = pytest.mark.browser
NO_ANSWERS = {"none": None, "a gateway's page": 502, "a gateway's time-out": 504}


@browser
@pytest.mark.parametrize("status", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_got_no_clear_answer_is_said_to_be_unknown_until_the_shop_was_asked(
    chromium: Any, shop: str, publish: Publish, status: int | None
) -> None:
    """Nothing is claimed about a purchase that never arrived, either; and the second press is the same try."""
    sale = await publish()
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await sign_in(page, "Ada")

        async def swallow(route: Any) -> None:
            if status is None:
                await route.abort("connectionreset")
            else:
                await route.fulfill(status=status, content_type="text/html", body="<h1>Bad gateway</h1>")

        await page.route("**/orders?*", swallow, times=1)
        await page.click("#buy")
        note = page.locator("#me [data-note]")
        await expect(note).to_contain_text("No clear answer came back. It may have gone through")
        attempt = await page.input_value('#me input[name="attempt"]')
        await expect(note).to_contain_text("No order has turned up so far", timeout=8000)
        assert await page.input_value('#me input[name="attempt"]') == attempt
        await page.click("#buy")
        await page.wait_for_selector('#me[data-state="order"]')
    assert await ledger.tally(sale.id) == ledger.Tally(1, 1)


@browser
async def test_signing_in_and_out_claim_no_more_than_is_known(chromium: Any, shop: str, publish: Publish) -> None:
    sale = await publish()
    await follows(shop, sale)
    async with traveller(chromium, shop) as page:
        await page.goto(f"/sales/{sale.sku}/")
        note = page.locator("#me [data-note]")

        async def pressed_in_vain(address: str, button: str) -> None:
            await page.route(address, lambda route: route.abort("connectionreset"), times=1)
            await page.click(button)
            await expect(note).to_contain_text("It may have worked")
            await expect(note).to_contain_text("Nothing has changed so far", timeout=8000)
            await page.click(button)

        await page.fill("#identifier", "Ada")
        await pressed_in_vain("**/session?*", '#me form:has(#identifier) [type="submit"]')
        await wait_for_panel(page, "ready")
        await pressed_in_vain("**/session/end?*", "#me .who button")
        await wait_for_panel(page, "signed_out")


def test_nothing_says_of_a_lost_answer_that_it_was_none() -> None:
    """The words for what failed, wherever a script or a page has them."""
    claims = re.compile(
        r"did not get through|nothing is lost|was not (?:saved|done|bought|sent)|left is still open", re.I
    )
    told = ("static/js/*.js", "templates/**/*.html", "orders/*.py", "orders/desk/*.py", "sales/*.py", "sales/desk/*.py")
    places = [path for pattern in told for path in BASE_DIR.glob(pattern)]
    assert len(places) > 150
    assert [str(path) for path in places if claims.search(path.read_text(encoding="utf-8"))] == []
