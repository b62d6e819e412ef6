"""The pages about a sale: what they show, and that they are the same bytes for everyone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from conftest import Publish, cookie_of, settings_of, shopper, show, withdraw_all
from flashdrop.redis_client import redis
from sales import stock
from sales.published import PublishedSale

NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)
COMING = {"opens_at": NOW + 10 * MINUTE, "closes_at": NOW + 20 * MINUTE}
OVER = {"opens_at": NOW - 20 * MINUTE, "closes_at": NOW - 10 * MINUTE}
HOSTILE = """<script>alert('x')</script>" onload="x & 'y'"""


def attribute(html: str, name: str) -> str:
    found = re.search(rf'id="banner"[^>]*\sdata-{name}="([^"]*)"', html)
    assert found, f"no data-{name} on the banner"
    return found[1]


async def on_show(client: httpx.AsyncClient) -> str:
    answer = await client.get("/")
    assert answer.status_code == 200
    return attribute(answer.text, "sku")


async def buy(client: httpx.AsyncClient, sale: PublishedSale) -> None:
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))
    assert answer.status_code == 201, answer.text
    await show()


# The front page


async def test_without_a_sale_the_front_page_says_so(client: httpx.AsyncClient) -> None:
    await withdraw_all()
    answer = await client.get("/")
    assert answer.status_code == 200
    assert "Nothing on sale yet" in answer.text
    assert 'id="banner"' not in answer.text
    assert answer.headers["Cache-Control"] == "no-cache"


async def test_the_running_sale_is_on_show_before_the_next_and_the_last(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    await withdraw_all()
    over = await publish(**OVER)
    assert await on_show(client) == over.sku
    coming = await publish(**COMING)
    assert await on_show(client) == coming.sku
    running = await publish()
    assert await on_show(client) == running.sku


async def test_of_the_coming_sales_the_first_to_open_is_on_show(client: httpx.AsyncClient, publish: Publish) -> None:
    await withdraw_all()
    later = await publish(opens_at=NOW + 30 * MINUTE, closes_at=NOW + 31 * MINUTE)
    sooner = await publish(opens_at=NOW + 5 * MINUTE, closes_at=NOW + 90 * MINUTE)
    assert await on_show(client) == sooner.sku != later.sku


async def test_of_the_past_sales_the_last_to_close_is_on_show(client: httpx.AsyncClient, publish: Publish) -> None:
    await withdraw_all()
    last = await publish(opens_at=NOW - 90 * MINUTE, closes_at=NOW - 2 * MINUTE)
    await publish(opens_at=NOW - 30 * MINUTE, closes_at=NOW - 20 * MINUTE)
    assert await on_show(client) == last.sku


async def test_of_the_running_sales_one_with_something_left_is_on_show(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    await withdraw_all()
    sold_out = await publish(stock=1, closes_at=NOW + 10 * MINUTE)
    running = await publish(closes_at=NOW + 60 * MINUTE)
    assert await on_show(client) == sold_out.sku
    await buy(client, sold_out)
    assert await on_show(client) == running.sku


async def test_the_front_page_is_the_page_of_the_sale_on_show(client: httpx.AsyncClient, publish: Publish) -> None:
    await withdraw_all()
    sale = await publish()
    front, own = await client.get("/"), await client.get(f"/sales/{sale.sku}/")
    assert (front.content, front.headers["ETag"]) == (own.content, own.headers["ETag"])


# A sale's page and its banner


async def test_a_page_shows_the_product_and_where_to_buy(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(
        name="Brass lamp", description="Warm light.", image_url="https://images.example/lamp.jpg", limit_per_shopper=3
    )
    answer = await client.get(f"/sales/{sale.sku}/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    html = answer.text
    for essential in ("Brass lamp", "Warm light.", "€129.00", "https://images.example/lamp.jpg", "Up to 3 per shopper"):
        assert essential in html
    assert html.count('id="banner"') == html.count('id="me"') == 1
    assert f'ws-connect="/ws/sales/{sale.sku}/?lang=en&amp;beat=1"' in html
    assert f'hx-get="/sales/{sale.sku}/me?lang=en"' in html
    # Without JavaScript the viewer's own panel is a link away.
    assert f'href="/sales/{sale.sku}/me"' in html
    assert "<title>Brass lamp" in html


async def test_a_page_is_the_same_for_everyone(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, someone = await publish(), shopper("Somebody Particular")
    path = f"/sales/{sale.sku}/"
    theirs = await client.get(path, headers=cookie_of(someone))
    assert theirs.content == (await client.get(path)).content
    assert "Somebody" not in theirs.text
    assert "csrf" not in theirs.text.lower()
    assert "Set-Cookie" not in theirs.headers


@pytest.mark.parametrize(
    ("changes", "phase"),
    [(COMING, "upcoming"), ({}, "active"), ({"paused": True}, "paused"), (OVER, "ended")],
)
async def test_the_banner_tells_the_phase(
    client: httpx.AsyncClient, publish: Publish, changes: dict[str, Any], phase: str
) -> None:
    sale = await publish(**changes)
    answer = await client.get(f"/sales/{sale.sku}/banner")
    assert answer.status_code == 200
    assert attribute(answer.text, "phase") == phase
    assert (attribute(answer.text, "available"), attribute(answer.text, "total")) == ("10", "10")
    assert datetime.fromisoformat(attribute(answer.text, "opens")) == sale.opens_at
    assert datetime.fromisoformat(attribute(answer.text, "closes")) == sale.closes_at
    assert answer.text in (await client.get(f"/sales/{sale.sku}/")).text


async def test_the_banner_tells_that_all_is_sold(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(stock=2)
    await buy(client, sale)
    html = (await client.get(f"/sales/{sale.sku}/banner")).text
    assert (attribute(html, "phase"), attribute(html, "available"), attribute(html, "low")) == ("active", "1", "true")
    await buy(client, sale)
    html = (await client.get(f"/sales/{sale.sku}/banner")).text
    assert (attribute(html, "phase"), attribute(html, "available")) == ("sold_out", "0")
    assert "Sold out" in html


async def test_a_gate_that_is_not_loaded_is_never_sold_out(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    assert await stock.fence(redis(), sale.id, sale.epoch)
    await show()
    html = (await client.get(f"/sales/{sale.sku}/banner")).text
    assert attribute(html, "phase") == "not_ready"
    assert "Sold out" not in html


async def test_a_change_in_the_settings_shows(client: httpx.AsyncClient, publish: Publish) -> None:
    settings = settings_of()
    sale = await publish(settings)
    path = f"/sales/{sale.sku}/"
    etag = (await client.get(path)).headers["ETag"]
    await publish(settings, name="Renamed lamp")
    answer = await client.get(path, headers={"If-None-Match": etag})
    assert answer.status_code == 200
    assert "Renamed lamp" in answer.text


async def test_what_a_merchandiser_wrote_is_text_and_never_markup(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(name=HOSTILE, description=HOSTILE, image_url=f"https://images.example/{HOSTILE}")
    for path in (f"/sales/{sale.sku}/", f"/sales/{sale.sku}/banner", f"/sales/{sale.sku}/me"):
        html = (await client.get(path)).text
        assert "<script>alert" not in html
        assert 'onload="x' not in html
    assert "&lt;script&gt;" in (await client.get(f"/sales/{sale.sku}/")).text


# Caches and refusals


@pytest.mark.parametrize("part", ["", "banner"])
async def test_pages_say_how_to_be_kept_and_are_not_sent_twice(
    client: httpx.AsyncClient, publish: Publish, part: str
) -> None:
    sale = await publish()
    path = f"/sales/{sale.sku}/{part}"
    packed = await client.get(path, headers={"Accept-Encoding": "gzip"})
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    assert packed.content == plain.content  # httpx unpacks
    assert (packed.headers["Content-Encoding"], plain.headers.get("Content-Encoding")) == ("gzip", None)
    # Strong ETags stand for bytes: the packed form has one of its own.
    assert packed.headers["ETag"] != plain.headers["ETag"]
    for answer in (packed, plain):
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Vary"] == "Accept-Encoding, Accept-Language, Cookie"
        assert re.fullmatch(r'"[0-9a-f]+(-gz)?"', answer.headers["ETag"])
        for match in (answer.headers["ETag"], f"W/{answer.headers['ETag']}", f'"x", {answer.headers["ETag"]}', "*"):
            again = await client.get(path, headers={"If-None-Match": match})
            assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("part", ["", "banner"])
async def test_head_is_answered_like_get_without_a_body(client: httpx.AsyncClient, publish: Publish, part: str) -> None:
    sale = await publish()
    get, head = [await client.request(method, f"/sales/{sale.sku}/{part}") for method in ("GET", "HEAD")]
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["ETag"], head.headers["Content-Length"]) == (
        get.headers["ETag"],
        get.headers["Content-Length"],
    )


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/sales/",
        "/sales/nothing/",
        "/sales/nothing/banner",
        "/sales/nothing/me",
        "/sales/%00/",
        "/orders/x/",
    ],
)
async def test_an_unknown_path_is_a_page(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, follow_redirects=True)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Not found" in answer.text
    assert 'href="/"' in answer.text
    assert "Traceback" not in answer.text


async def test_a_withdrawn_sale_is_not_found(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(published=False)
    for path in (f"/sales/{sale.sku}/", f"/sales/{sale.sku}/banner", f"/sales/{sale.sku}/me"):
        assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/sales/x/", "/sales/x/banner", "/sales/x/me", "/orders/", "/orders/x/"])
async def test_the_wrong_method_names_the_right_ones(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", ["/sales/x/orders", "/session"])
async def test_what_changes_something_takes_post_only(client: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "HEAD", "PUT"):
        answer = await client.request(method, path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
