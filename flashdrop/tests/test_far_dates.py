"""A sale whose stored times are out of any plausible range: every page of it is there, and it can be stopped."""

from __future__ import annotations

import asyncio
import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.test import Client
from django.urls import reverse

from conftest import Publish, settings_of
from flashdrop.mongo_client import collection
from flashdrop.urls import desk_urlpatterns
from sales import catalogue
from sales.desk import local_time
from sales.models import OUT_OF_RANGE, Sale
from sales.tests.desk import ADD, LIST, account, buy, form, post

pytestmark = pytest.mark.django_db(transaction=True)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(microsecond=0)
WINDOWS = {
    "as far as it goes": (FIRST, LAST),
    "the year 26": (datetime(26, 11, 1, tzinfo=UTC), NOW + HOUR),
    "the last minute": (NOW - HOUR, datetime(9999, 12, 31, 23, 59, tzinfo=UTC)),
    "to come": (datetime(9999, 12, 31, 23, 58, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)),
    "long over": (FIRST, FIRST + HOUR),
}
# The farthest ahead of UTC, and the farthest behind.
ZONES = ("UTC", "Pacific/Kiritimati", "Pacific/Midway")


@pytest.fixture
def admin(transactional_db: None) -> Client:
    return account(None, is_superuser=True)


async def stored(publish: Publish, window: str) -> Sale:
    """In the back office, the ledger and the gate; no form would take it."""
    opens_at, closes_at = WINDOWS[window]
    settings = settings_of(opens_at=opens_at, closes_at=closes_at)
    await publish(settings)
    values = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    return await Sale.objects.acreate(**values, version=1)


def pages_of(sale: Sale) -> list[str]:
    desk = [
        reverse(f"desk:{pattern.name}", args=[sale.pk])
        for pattern in desk_urlpatterns
        if "sale_id" in str(pattern.pattern)
    ]
    own = [f"{LIST}{sale.pk}/{page}/" for page in ("change", "history")]
    others = [LIST, f"{LIST}?when=running", f"{LIST}?o=3", f"{ADD}?copy={sale.pk}", "/admin/", "/admin/desk/orders/"]
    control = reverse("desk:control", args=[sale.pk])
    actions = ("pause", "close", "extend&minutes=60", "raise&units=1", "set-stock&units=12", "withdraw")
    asked = [f"{control}?do={action}" for action in (*actions, "end-at&at=2031-01-01T10:00&time_zone=Asia/Tokyo")]
    export = [f"{reverse('desk:export', args=[sale.pk])}?format={form}" for form in ("csv", "json", "ndjson")]
    return [*desk, *own, *others, *asked, *export, f"{reverse('desk:report', args=[sale.pk])}?download=1"]


@pytest.mark.parametrize("window", WINDOWS)
async def test_every_page_of_the_back_office_is_there(admin: Client, publish: Publish, window: str) -> None:
    sale = await stored(publish, window)
    for zone in ZONES:
        admin.cookies[local_time.COOKIE] = zone
        # Only forms for a time are on somebody's clock.
        on_a_clock = [reverse("desk:control", args=[sale.pk]), f"{LIST}{sale.pk}/change/", f"{ADD}?copy={sale.pk}"]
        for address in pages_of(sale) if zone == "UTC" else on_a_clock:
            answer: Any = await asyncio.to_thread(lambda address=address: admin.get(address, follow=True))
            assert answer.status_code in (200, 400), (zone, address, answer.status_code)


@pytest.mark.parametrize("window", WINDOWS)
async def test_every_page_of_the_shop_is_there(client: httpx.AsyncClient, publish: Publish, window: str) -> None:
    opens_at, closes_at = WINDOWS[window]
    sale = await publish(opens_at=opens_at, closes_at=closes_at)
    for language in ("en", "de", "ar"):
        for address in (
            "/", f"/sales/{sale.sku}/", f"/sales/{sale.sku}/banner", f"/sales/{sale.sku}/reminder.ics",
            f"/sales/{sale.sku}/me", "/api/products", f"/api/products/{sale.sku}",
            f"/api/products/{sale.sku}/sale-status", f"/api/products/{sale.sku}/stock", "/readyz", "/metrics",
        ):  # fmt: skip
            answer = await client.get(address, headers={"Accept-Language": language})
            assert answer.status_code in (200, 404, 503) and b"Traceback" not in answer.content, (address, language)
            assert answer.status_code == 200 or address.endswith((".ics", "/readyz")), (address, answer.status_code)


@pytest.mark.parametrize("window", ["as far as it goes", "the year 26", "the last minute"])
async def test_it_can_be_paused_and_withdrawn(
    admin: Client, client: httpx.AsyncClient, publish: Publish, window: str
) -> None:
    sale = await stored(publish, window)
    admin.cookies[local_time.COOKIE] = "Pacific/Kiritimati"
    control = reverse("desk:control", args=[sale.pk])
    assert await buy(client, sale) == (201, None)
    await post(admin, control, {"do": "pause", "token": "a", "reason": ""})
    assert await buy(client, sale) == (423, "SALE_PAUSED")
    await post(admin, control, {"do": "resume", "token": "b", "reason": ""})
    await post(admin, control, {"do": "withdraw", "token": "c", "reason": "The year is wrong"})
    assert await buy(client, sale) == (404, "PRODUCT_NOT_FOUND")


YEARS = ("0026-12-01T18:00", "1999-12-31T12:59", "2100-01-01T14:00", "9999-12-31T23:59", "0001-01-01T00:00")


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("wall", YEARS)
async def test_no_form_takes_such_a_time(admin: Client, wall: str, zone: str) -> None:
    data = form(closes_at=wall, time_zone=zone) if wall > "2050" else form(opens_at=wall, time_zone=zone)
    text = await post(admin, ADD, data, means_it=False)
    assert OUT_OF_RANGE in text or "out of range" in text
    assert not await Sale.objects.filter(sku=data["sku"]).aexists()


async def test_the_end_is_not_moved_out_of_the_range(admin: Client, publish: Publish) -> None:
    sale = await stored(publish, "the last minute")
    control = reverse("desk:control", args=[sale.pk])
    for ask, said in (
        ("do=end-at&at=9999-12-31T23:59&time_zone=UTC", "The sale ends then already"),
        ("do=end-at&at=2100-01-01T00:00&time_zone=UTC", OUT_OF_RANGE),
        ("do=end-at&at=0026-01-01T00:00&time_zone=UTC", OUT_OF_RANGE),
        ("do=extend&minutes=60", "Choose an end of your own"),
    ):
        answer: Any = await asyncio.to_thread(lambda ask=ask: admin.get(f"{control}?{ask}", follow=True))
        assert said in html.unescape(answer.content.decode()), ask


@pytest.mark.parametrize(
    "query", ["opens_at__year=9999", "opens_at__year=0", "opens_at__year=x", "opens_at__year=1&opens_at__month=13"]
)
async def test_the_list_survives_any_year_in_its_address(admin: Client, query: str) -> None:
    answer: Any = await asyncio.to_thread(lambda: admin.get(f"{LIST}?{query}", follow=True))
    assert answer.status_code == 200


async def test_an_end_that_no_calendar_of_ours_has_does_not_close_the_shop(publish: Publish) -> None:
    sale, other = await publish(), await publish()
    beyond = 300_000_000_000_000  # milliseconds: the year 11476
    await collection("sales").update_one({"_id": sale.id}, [{"$set": {"closes_at": {"$toDate": {"$toLong": beyond}}}}])
    found = {one.id: one for one in await catalogue.every()}
    assert other.id in found and found[sale.id].closes_at.year == 9998
    await collection("sales").delete_one({"_id": sale.id})


def test_words_for_any_instant() -> None:
    from sales.desk import words

    assert words.moment(LAST) == "31 Dec 9999, 23:59:59 UTC"
    assert words.moment(FIRST) == "1 Jan 0001, 00:00 UTC"
    for zone in ZONES:
        for at in (FIRST, LAST):
            assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", local_time.shown(at, zone))
