"""One clock on every page, with its zone: the viewer's own where scripts run, UTC where they don't."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from conftest import Publish, follows, shopper
from orders.tests.browser import buy_elsewhere, visitor, wait_for_panel
from orders.tests.stage import Stage, sign_in_by_cookie
from sales.published import PublishedSale

pytestmark = pytest.mark.browser

# Half an hour off the full hours, and past midnight when the server's day is not over.
ZONE = "Asia/Kolkata"
ZONE_NAMES = {"en": "GMT+5:30", "de": "GMT+5:30", "ar": "غرينتش+5:30"}
CLOCK = r"\d{1,2}:\d\d(?::\d\d)?"
# Every text with a time of day in it, unless it counts down: what it stands in, and all that this says.
TIMES_OF_DAY = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const place = walker.currentNode.parentElement;
    if (!/\\\\d:\\\\d\\\\d/.test(walker.currentNode.data) || place.closest("[data-ticking]")) continue;
    const moment = place.closest("time[data-moment]");
    found.push({ text: place.textContent, datetime: moment?.dateTime ?? null, part: moment?.dataset.moment ?? null });
  }
  return found;
}""".replace("\\\\", "\\")


async def times_of_day(page: Any) -> list[dict[str, str]]:
    found: list[dict[str, str]] = await page.evaluate(TIMES_OF_DAY)
    return found


async def one_clock(page: Any, zone: str, zone_name: str, *, at_least: int = 1) -> None:
    """Each moment on the page is right in `zone`, and says which zone that is."""
    found = await times_of_day(page)
    assert len(found) >= at_least, found
    for one in found:
        assert one["datetime"], f"no moment of the one kind: {one}"
        there = datetime.fromisoformat(one["datetime"]).astimezone(ZoneInfo(zone))
        clock = re.search(CLOCK, one["text"])
        assert clock is not None and clock[0] == f"{there:%H:%M:%S}"[: len(clock[0])], one
        assert one["text"].endswith(zone_name) is (one["part"] != "from"), one
    if zone != "UTC":
        assert "UTC" not in await page.evaluate("document.querySelector('main').textContent")


@pytest.fixture
async def sale(shop: str, publish: Publish) -> PublishedSale:
    # From one day to another there, within one day here.
    opens_at = datetime.now(UTC).replace(hour=0, minute=30, second=0, microsecond=0)
    found = await publish(stock=9, limit_per_shopper=2, opens_at=opens_at, closes_at=opens_at + timedelta(days=2))
    await follows(shop, found)
    return found


@pytest.mark.parametrize("language", ["en", "de", "ar"])
async def test_with_scripts_every_moment_is_in_the_viewers_zone(
    chromium: Any, shop: str, publish: Publish, sale: PublishedSale, language: str
) -> None:
    who, stage, zone_name = shopper(), Stage(chromium, shop, shop), ZONE_NAMES[language]
    async with visitor(chromium, shop, locale=language, timezone_id=ZONE) as page:
        await sign_in_by_cookie(page, shop, who)
        await page.goto(f"/sales/{sale.sku}/")
        await wait_for_panel(page, "ready")
        await one_clock(page, ZONE, zone_name, at_least=2)
        await page.click("#buy")
        await wait_for_panel(page, "order")
        await one_clock(page, ZONE, zone_name, at_least=3)
        # The socket's next banner, and a panel that is asked for again.
        await buy_elsewhere(shop, sale)
        await page.wait_for_selector('#banner[data-available="7"]')
        await one_clock(page, ZONE, zone_name, at_least=3)
        link = await page.get_attribute('#me a[href^="/orders/"]', "href")
        order_id = str(link).split("/")[2].split(".")[0]
        await stage.cancel(order_id)
        await page.evaluate("document.dispatchEvent(new CustomEvent('flashdrop:ask'))")
        await wait_for_panel(page, "given_up")
        await one_clock(page, ZONE, zone_name, at_least=3)
        await stage.buy(sale, who)
        for path in ("/orders/", link, f"/sales/{sale.sku}/me"):
            await page.goto(path)
            await one_clock(page, ZONE, zone_name)


async def test_with_scripts_a_coming_sale_says_one_clock_too(chromium: Any, shop: str, publish: Publish) -> None:
    opens_at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=30)
    sale = await publish(opens_at=opens_at, closes_at=opens_at + timedelta(minutes=5))
    await follows(shop, sale)
    async with visitor(chromium, shop, locale="en", timezone_id=ZONE) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await one_clock(page, ZONE, ZONE_NAMES["en"], at_least=3)
        window = await page.inner_text("#banner [data-window]")
        assert re.search(rf" {CLOCK} – {CLOCK} GMT\+5:30$", window), "one day and one zone, each said once"  # noqa: RUF001


async def test_a_window_over_a_change_of_the_clocks_names_both_zones(
    chromium: Any, shop: str, publish: Publish
) -> None:
    opens_at = datetime(2030, 10, 26, 23, 30, tzinfo=UTC)  # 01:30 in summer time; an hour and a half later 02:00 again
    sale = await publish(opens_at=opens_at, closes_at=opens_at + timedelta(hours=2))
    await follows(shop, sale)
    async with visitor(chromium, shop, locale="en", timezone_id="Europe/Berlin") as page:
        await page.goto(f"/sales/{sale.sku}/")
        said = await page.inner_text("#banner [data-window]")
        assert re.search("01:30 (CEST|GMT\\+2) – 02:30 (CET|GMT\\+1)$", said.strip()), said  # noqa: RUF001


async def test_a_device_that_travels_takes_the_page_along(chromium: Any, shop: str, sale: PublishedSale) -> None:
    async with visitor(chromium, shop, locale="en") as page:
        await page.goto(f"/sales/{sale.sku}/")
        client = await page.context.new_cdp_session(page)
        await client.send("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
        await page.evaluate("document.dispatchEvent(new CustomEvent('flashdrop:wake', { detail: { missed: true } }))")
        await one_clock(page, "Asia/Tokyo", "GMT+9")


async def test_without_scripts_every_moment_is_in_utc_and_says_so(
    chromium: Any, shop: str, publish: Publish, sale: PublishedSale
) -> None:
    coming = await publish(opens_at=datetime.now(UTC) + timedelta(hours=30), closes_at=sale.closes_at + timedelta(9))
    await follows(shop, coming)
    who, stage = shopper(), Stage(chromium, shop, shop)
    order_id = await stage.buy(sale, who)
    async with visitor(chromium, shop, locale="en", timezone_id=ZONE, java_script_enabled=False) as page:
        await sign_in_by_cookie(page, shop, who)

        async def all_in_utc() -> None:
            for path in (f"/sales/{sale.sku}/", f"/sales/{sale.sku}/me", "/orders/", f"/sales/{coming.sku}/"):
                await page.goto(path)
                await one_clock(page, "UTC", "UTC")
            await page.goto("/orders/")
            await page.click('.orders a[href^="/orders/"]')
            await one_clock(page, "UTC", "UTC")

        await all_in_utc()
        await stage.cancel(order_id)
        await all_in_utc()
