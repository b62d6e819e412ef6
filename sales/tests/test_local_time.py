"""Whose clock is right: a browser and a server with different rules for a zone, and times that nobody has touched."""

from __future__ import annotations

import asyncio
import html
import re
import struct
import zoneinfo
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.test import Client

from conftest import BASE_DIR, eventually
from flashdrop import zone_rules
from sales.desk import local_time
from sales.desk.local_time import BadTime, Entered, Reading
from sales.models import Sale
from sales.tests.desk import ADD, account, created, form, get, page_of, post, seen_now

pytestmark = pytest.mark.django_db(transaction=True)
SIX = datetime(2031, 12, 1, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)
TOKYO = "Asia/Tokyo"
ORIGIN = "http://localhost"


def always(hours: int) -> bytes:
    """A zone file (TZif) of a clock that is always so far ahead."""
    return (
        b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">iBB", hours * 3600, 0, 0) + b"XST\0"
    )


@pytest.fixture
def other_rules(tmp_path: Path) -> Iterator[None]:
    """This server takes Tokyo to be ten hours ahead; everybody else knows nine."""
    (tmp_path / "Asia").mkdir()
    (tmp_path / TOKYO).write_bytes(always(10))
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zone_rules.pin()


@pytest.fixture
def merchandiser(transactional_db: None) -> Client:
    return account("merchandiser")


def times(opens_at: datetime, closes_at: datetime) -> dict[str, str]:
    """Both on the clock of Tokyo, as a browser sends them that knows nine hours."""
    found = {"time_zone": TOKYO}
    for name, at in (("opens_at", opens_at), ("closes_at", closes_at)):
        wall = f"{at + timedelta(hours=9):%Y-%m-%dT%H:%M}"
        found |= {name: wall, f"{name}_reading": f"{at:%Y-%m-%dT%H:%M:%S}.000Z|{TOKYO}|{wall}"}
    return found


def test_the_pinned_rules_are_the_only_ones() -> None:
    assert zoneinfo.TZPATH == ()
    pinned = re.search(r"^tzdata==(\S+)", (BASE_DIR / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned and zone_rules.version() == pinned[1]
    assert 0 <= zone_rules.at_least_as_new_as().year - int(zone_rules.version()[:4]) + 1 <= 1
    assert "Europe/Berlin" in zoneinfo.available_timezones()


def test_what_was_not_edited_stays_even_where_the_rules_differ(other_rules: None) -> None:
    wall = datetime(2031, 12, 2, 3)
    left_alone = Entered(wall, Reading(SIX, TOKYO, wall))
    assert local_time.instant(wall, TOKYO) == SIX - HOUR  # what would be read otherwise
    assert local_time.settle(left_alone, TOKYO, SIX) == SIX
    assert local_time.settle(left_alone, TOKYO, SIX.replace(microsecond=250000)) == SIX.replace(microsecond=250000)


def test_what_is_read_in_two_ways_is_refused_with_both(other_rules: None) -> None:
    wall = datetime(2031, 12, 2, 3)
    with pytest.raises(BadTime) as said:
        local_time.settle(Entered(wall, Reading(SIX, TOKYO, wall)), TOKYO, SIX + HOUR)
    assert "03:00 on 2 December 2031 there is 18:00 UTC on 1 December 2031 by your browser's, 17:00 UTC" in str(
        said.value
    )


def test_a_zone_changed_without_scripts_does_not_move_a_time_that_was_left_alone() -> None:
    wall = datetime(2031, 12, 1, 18)
    entered = Entered(wall, Reading(SIX, "UTC", wall))
    with pytest.raises(BadTime, match=r"18:00 UTC on 1 December 2031, as it was shown, or 09:00 UTC on 1 December"):
        local_time.settle(entered, TOKYO, SIX)
    assert local_time.settle(Entered(datetime(2031, 12, 2, 3), entered.reading), TOKYO, SIX) == SIX


@pytest.mark.parametrize(
    "text", ["", "||", "x|UTC|2031-12-01T18:00", "2031-12-01T18:00:00Z|Mars/Olympus|2031-12-01T18:00"]
)
def test_what_a_page_can_not_have_said_is_no_reading(text: str) -> None:
    assert local_time.reading(text) is None


@pytest.mark.parametrize("text", ["2031-12-01", "2031-12-01T18:00+02:00", "2031-W49-1T18:00", "18:00"])
def test_a_time_with_a_zone_of_its_own_or_without_an_hour_is_not_guessed(text: str) -> None:
    with pytest.raises(BadTime):
        local_time.typed(text)


async def test_saving_a_description_moves_nothing(merchandiser: Client, other_rules: None) -> None:
    sale = await created(merchandiser, opens_at=SIX, closes_at=SIX + HOUR)
    sent = form(sale, description="Brushed steel", seen=await seen_now(sale)) | times(SIX, SIX + HOUR)
    assert "was changed successfully" in await post(merchandiser, page_of(sale), sent)
    after = await Sale.objects.aget(pk=sale.pk)
    assert (after.description, after.opens_at, after.closes_at) == ("Brushed steel", SIX, SIX + HOUR)


async def test_a_new_time_that_both_read_differently_is_not_saved(merchandiser: Client, other_rules: None) -> None:
    sent = form(published=False) | times(SIX, SIX + HOUR)
    text = await post(merchandiser, ADD, sent)
    assert "18:00 UTC on 1 December 2031 by your browser's, 17:00 UTC on 1 December 2031 by ours" in text
    assert not await Sale.objects.filter(sku=sent["sku"]).aexists()


async def test_the_end_is_not_moved_to_a_time_that_both_read_differently(
    merchandiser: Client, other_rules: None
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    sale = await created(merchandiser, opens_at=now - HOUR, closes_at=now + HOUR)
    sent = times(SIX, SIX)
    ask = {"do": "end-at", "at": sent["opens_at"], "at_reading": sent["opens_at_reading"], "time_zone": TOKYO}
    address = f"/admin/desk/sales/{sale.pk}/control/"
    answer: Any = await asyncio.to_thread(lambda: merchandiser.get(address, ask, follow=True))
    said = html.unescape(answer.content.decode())
    assert "Nothing was done." in said
    assert "18:00 UTC on 1 December 2031 by your browser's, 17:00 UTC on 1 December 2031 by ours" in said


async def test_a_page_says_beside_each_time_which_instant_it_is(merchandiser: Client) -> None:
    sale = await created(merchandiser, opens_at=SIX, closes_at=SIX + HOUR)
    merchandiser.cookies[local_time.COOKIE] = TOKYO
    text = await get(merchandiser, page_of(sale))
    assert f'name="opens_at_reading" value="2031-12-01T18:00:00Z|{TOKYO}|2031-12-02T03:00:00"' in text
    control = await get(merchandiser, f"/admin/desk/sales/{sale.pk}/control/")
    assert f'name="at_reading" value="2031-12-01T19:00:00Z|{TOKYO}|2031-12-02T04:00:00"' in control


@asynccontextmanager
async def browser_of(who: Client, client: httpx.AsyncClient, chromium: Any) -> AsyncIterator[Any]:
    """A page of a real browser in Tokyo, in which `who` is signed in; answered by the application in this process."""

    async def answer(route: Any) -> None:
        asked = route.request
        headers = {name: value for name, value in (await asked.all_headers()).items() if not name.startswith(":")}
        headers |= {"host": "localhost"}
        response = await client.request(
            asked.method, asked.url.removeprefix(ORIGIN), headers=headers, content=asked.post_data_buffer
        )
        kept = [(name, value) for name, value in response.headers.multi_items() if name != "content-encoding"]
        joined: dict[str, str] = {}
        for name, value in kept:
            joined[name] = f"{joined[name]}\n{value}" if name in joined else value
        await route.fulfill(status=response.status_code, headers=joined, body=response.content)

    context = await chromium.new_context(timezone_id=TOKYO, base_url=ORIGIN)
    await context.add_cookies([{"name": "sessionid", "value": who.cookies["sessionid"].value, "url": ORIGIN}])
    await context.route(f"{ORIGIN}/**", answer)
    try:
        page = await context.new_page()
        page.set_default_timeout(8000)
        yield page
    finally:
        await context.close()


@pytest.mark.browser
async def test_in_a_real_browser_with_other_rules(
    merchandiser: Client, other_rules: None, chromium: Any, client: httpx.AsyncClient
) -> None:
    sale = await created(merchandiser, opens_at=SIX, closes_at=SIX + HOUR)
    async with browser_of(merchandiser, client, chromium) as page:
        await page.goto(page_of(sale))
        # The first visit: shown on the browser's clock, by the browser's rules.
        assert await page.input_value("#id_opens_at") == "2031-12-02T03:00"
        await page.fill("#id_description", "Brushed steel")
        await page.click("input[name=_continue] >> nth=0")
        await page.wait_for_selector(".success")
        after = await Sale.objects.aget(pk=sale.pk)
        assert (after.description, after.opens_at, after.closes_at) == ("Brushed steel", SIX, SIX + HOUR)

        # Now the server shows it by its own rules; a new time is one that both must read alike.
        assert await page.input_value("#id_opens_at") == "2031-12-02T04:00"
        await page.fill("#id_opens_at", "2031-12-02T03:30")
        await page.click("input[name=_continue] >> nth=0")
        await page.wait_for_selector(".errorlist")
        assert re.search("18:30 UTC .* by your browser's, 17:30 UTC", await page.inner_text(".field-opens_at"))

        # The way out that the message names.
        await page.select_option("#id_time_zone", "UTC")
        await page.fill("#id_opens_at", "2031-12-01T18:30")
        await page.click("input[name=_continue] >> nth=0")
        assert "opens at 1 Dec 2031, 18:30 UTC instead of" in await page.inner_text(".desk-question")
        await page.check("input[name=confirmed]")
        await page.click(".desk-question button")
        await page.wait_for_selector(".success")

        async def moved() -> bool:
            return (await Sale.objects.aget(pk=sale.pk)).opens_at == SIX + HOUR / 2

        await eventually(moved)
        assert (await Sale.objects.aget(pk=sale.pk)).closes_at == SIX + HOUR
