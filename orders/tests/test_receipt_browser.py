"""Receipts and what else is a shopper's own, in a real Chromium: language, secret, and width."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Publish, client_of, cookie_of, follows, settings_of, shopper
from orders.identity import Shopper
from orders.tests.browser import visitor
from orders.tests.stage import sign_in_by_cookie
from sales.published import PublishedSale

pytestmark = pytest.mark.browser

LONG = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# What stands out of the page to the right, or is cut off by what it stands in.
# What stands out of the page, or of what it stands in.
STICKS_OUT = """() => [...document.querySelectorAll("main *, footer *, header *")]
  .filter((one) => one.checkVisibility({visibilityProperty: true}) && !one.closest(".sr-only, svg"))
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1
    || one.scrollWidth > (one.clientWidth || Infinity) + 1)
  .map((one) => one.outerHTML.slice(0, 120))"""


async def buy(shop: str, sale: PublishedSale, who: Shopper, quantity: int = 1) -> str:
    """The address of the receipt."""
    async with client_of(shop) as client:
        wish = {"sku": sale.sku, "quantity": quantity}
        answer = await client.post("/api/orders", json=wish, headers=cookie_of(who))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["receiptUrl"])


async def test_on_plain_http_a_receipt_changes_its_language_and_keeps_its_secret(
    chromium: Any, shop: str, publish: Publish
) -> None:
    """Off loopback and without TLS a browser sends no `Sec-Fetch-Site`: where a form comes from, `Origin` says."""
    sale = await publish()
    await follows(shop, sale)
    link = await buy(shop, sale, shopper())
    heard: list[dict[str, str]] = []
    # Not a `visitor`: Chromium prints that it ignores a header that counts on TLS only.
    context = await chromium.new_context(base_url=shop.replace("127.0.0.1", "shop.test"), locale="en")
    try:
        page = await context.new_page()

        async def listen(route: Any) -> None:
            heard.append(await route.request.all_headers())
            await route.continue_()

        await page.route("**/*", listen)
        await page.goto(link)
        await page.click('button[name="lang"][value="de"]')
        await page.wait_for_selector('html[lang="de"]')
        assert page.url.endswith(link)
        assert await page.inner_text("h1") == "Beleg"
        await page.click("header a.brand")
        await page.wait_for_selector("#banner")
    finally:
        await context.close()
    assert any("origin" in headers for headers in heard)
    assert not [headers for headers in heard if link in headers.get("referer", "")]
    assert not [headers for headers in heard if "sec-fetch-site" in headers], "the canary: this is plain HTTP"


@pytest.mark.parametrize("width", [320, 360])
@pytest.mark.parametrize("has_scripts", [True, False])
async def test_one_long_word_stays_on_the_page(
    chromium: Any, shop: str, publish: Publish, width: int, has_scripts: bool
) -> None:
    named = {"name": LONG, "description": LONG, "sku": f"long-{width}-{has_scripts}-".lower() + "x" * 40}
    sale = await publish(
        settings_of(stock=500, limit_per_shopper=100, guests_allowed=True, price_minor=99_999_999_999, **named)
    )
    await follows(shop, sale)
    who = shopper(LONG * 3)
    options = {"viewport": {"width": width, "height": 700}, "java_script_enabled": has_scripts}
    pages = [f"/sales/{sale.sku}/", f"/sales/{sale.sku}/me", "/orders/", "/nothing/" + LONG]

    async def all_fit(page: Any, *paths: str) -> None:
        for path in paths:
            await page.goto(path)
            if has_scripts and "/sales/" in path:
                await page.wait_for_selector("#me:not([data-state=loading])")
            assert await page.evaluate(OVERFLOW) <= 0, (path, await page.evaluate(STICKS_OUT))
            assert not await page.evaluate(STICKS_OUT), path

    async with visitor(chromium, shop, **options) as page:
        await all_fit(page, *pages)
        await sign_in_by_cookie(page, shop, who)
        await all_fit(page, *pages)
        await buy(shop, sale, who)
        link = await buy(shop, sale, who, quantity=20)
        await all_fit(page, *pages, link)
        await page.context.clear_cookies()
        await sign_in_by_cookie(page, shop, shopper(LONG * 3))
        await all_fit(page, f"/sales/{sale.sku}/me")
