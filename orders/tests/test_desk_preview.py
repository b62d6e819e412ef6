"""The preview: what shoppers will see, for staff only, and nothing in it that could be bought."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from conftest import Publish
from flashdrop.headers import SECURITY_HEADERS
from orders.desk.scenes import SCENES, VIEWERS
from orders.tests.desk import get, row, signed_in
from sales import catalogue
from sales.models import Sale

pytestmark = pytest.mark.django_db(transaction=True)
BUYABLE = re.compile(r"<(?:script[^>]+(?:htmx|connection)|[^>]+ws-connect)")


def page_of(sale: Sale, phase: str = "active", viewer: str = "signed_in") -> str:
    return f"/admin/desk/sales/{sale.pk}/preview/page/?phase={phase}&viewer={viewer}"


SAYS = {
    "upcoming": "100 units, first come, first served.",
    "active": "<b>67</b> <small>of 100 left</small>",
    "low": "Only <b>5</b> left",
    "sold_out": "All 100 units are taken.",
    "paused": "The shop has paused this sale; 67 of 100 units are left.",
    "ended": "90 of 100 taken",
    "not_ready": "We can't reach the stock right now.",
}
SHOWS = {
    "signed_out": "Who is buying?",
    "signed_in": 'Signed in as <strong dir="auto">Alex Example</strong>',
    "refused": "You have already bought as many as one shopper may.",
    "pending": "Reserved for you",
    "bought": "It's yours",
    "cancelled": "went back on sale.",
    "taken": "has already bought here, in another browser",
}


@pytest.mark.parametrize("phase", [scene.name for scene in SCENES])
async def test_each_phase_is_shown_as_shoppers_will_see_it(phase: str) -> None:
    sale = await row(stock=100)
    text = await get(await signed_in("viewer"), page_of(sale, phase))
    assert SAYS[phase] in text
    assert "Preview: only staff see this." in text
    assert await catalogue.get(sale.pk) is None, "a draft stays one"


async def test_each_viewer_is_shown_what_the_page_will_say_to_them() -> None:
    sale, viewer = await row(stock=100), await signed_in("viewer")
    for one in VIEWERS:
        assert SHOWS[one.name] in await get(viewer, page_of(sale, "active", one.name)), one.name
    assert "The sale has not started yet." in await get(viewer, page_of(sale, "upcoming", "refused"))


async def test_the_preview_is_the_page_that_shoppers_get(publish: Publish, client: httpx.AsyncClient) -> None:
    """The same templates: but for its scripts, its panel and its clock, the article is byte for byte the live one."""
    published = await publish(stock=90, description="A lamp.\n\nFor tests.")
    names = [field.name for field in Sale._meta.fields if hasattr(published, field.name) and field.name != "version"]
    sale = await Sale.objects.acreate(**{name: getattr(published, name) for name in names})
    live = (await client.get(f"/sales/{published.sku}/")).text
    answer = await asyncio.to_thread((await signed_in("viewer")).get, page_of(sale))
    shown = answer.content.decode()

    def bare(text: str) -> str:
        article = text[text.index('<article class="sale"') : text.index("</article>")]
        article = re.sub(r'<section id="me".*?</section>', "", article, flags=re.DOTALL)
        article = re.sub(r'data-version="\d+"', "", article)
        # A third is taken in the scene, nothing yet in the shop.
        return re.sub(r"\s+", " ", re.sub(r"\b(?:90|60|30|33|0)%?(?=\D)", "N", article))

    assert bare(shown) == bare(live)


@pytest.mark.parametrize("viewer", [viewer.name for viewer in VIEWERS])
async def test_nothing_in_it_can_be_bought(viewer: str) -> None:
    sale, staff = await row(), await signed_in("merchandiser")
    answer = await asyncio.to_thread(staff.get, page_of(sale, "active", viewer))
    text = answer.content.decode()
    assert not BUYABLE.search(re.sub(r'<article class="sale"[^>]*>', "", text))
    stage = text[text.index("<fieldset") : text.index("</fieldset>")]
    assert re.match(r'<fieldset class="preview-stage" disabled>', stage)
    for control in ("<form", "<button", "<input", "<select"):
        assert stage.count(control) == text.count(control), "every control is on the stage, where it is disabled"
    policy = answer.headers["Content-Security-Policy"]
    assert "form-action 'none'" in policy
    assert "connect-src 'none'" in policy


async def test_only_the_page_in_the_frame_may_be_framed_and_by_the_desk_alone() -> None:
    sale, staff = await row(), await signed_in("viewer")
    inner = await asyncio.to_thread(staff.get, page_of(sale))
    assert "frame-ancestors 'self'" in inner.headers["Content-Security-Policy"]
    assert inner.headers["X-Frame-Options"] == "SAMEORIGIN"
    outer = await asyncio.to_thread(staff.get, f"/admin/desk/sales/{sale.pk}/preview/")
    for name, value in SECURITY_HEADERS.items():
        assert outer.headers[name] == value
    for answer in (inner, outer):
        assert "no-store" in answer.headers["Cache-Control"]
        assert "private" in answer.headers["Cache-Control"]


async def test_the_frame_offers_every_phase_and_viewer() -> None:
    sale, staff = await row(), await signed_in("viewer")
    text = await get(staff, f"/admin/desk/sales/{sale.pk}/preview/?phase=low&viewer=bought")
    for one in (*SCENES, *VIEWERS):
        assert one.label in text
    assert text.count('aria-current="true"') == 3
    assert text.count("<iframe") == 2
    assert 'src="/admin/desk/sales/' in text
    assert "phase=low&viewer=bought" in text


async def test_a_phase_that_does_not_exist_shows_the_first() -> None:
    sale, staff = await row(stock=100), await signed_in("viewer")
    assert SAYS["upcoming"] in await get(staff, page_of(sale, "<script>", "<script>"))


async def test_the_preview_is_for_staff() -> None:
    sale = await row()
    nobody = await User.objects.acreate(username="clerk", is_staff=True)
    clerk, stranger = Client(), Client()
    await asyncio.to_thread(clerk.force_login, nobody)
    for address in (page_of(sale), f"/admin/desk/sales/{sale.pk}/preview/"):
        assert (await asyncio.to_thread(clerk.get, address)).status_code == 403
        answer = await asyncio.to_thread(stranger.get, address)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/admin/login/")
    staff = await signed_in("viewer")
    assert (await asyncio.to_thread(staff.get, "/admin/desk/sales/nothing/preview/page/")).status_code == 404
    assert (await asyncio.to_thread(staff.post, page_of(sale))).status_code == 405


async def test_a_shop_page_says_nothing_of_a_preview(publish: Publish, client: httpx.AsyncClient) -> None:
    sale = await publish()
    text = (await client.get(f"/sales/{sale.sku}/")).text
    assert "review" not in text
    assert "data-still-at" not in text
    for script in ("htmx-2", "htmx-ext-ws", "js/shop"):
        assert f"/{script}" in text
