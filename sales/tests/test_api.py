"""The contract of `docs/reference/api.md` about products: exact fields, phases, and what caches are told."""

from __future__ import annotations

import asyncio
import gzip
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from conftest import Publish, cookie_of, eventually, settings_of, shopper, show, withdraw_all
from flashdrop.redis_client import redis
from sales import stock
from sales.published import PublishedSale

ENVELOPE = {"status", "data", "error", "code", "timestamp"}
PRODUCT = {
    *("sku", "name", "description", "price", "currency", "imageUrl", "totalStock", "availableStock"),
    *("startDate", "endDate", "limit"),
}
STATUS = {
    *("status", "phase", "startDate", "endDate", "availableStock", "totalStock", "limitPerUser", "price", "currency"),
    *("sku", "serverTime"),
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)
FORMS = ["", "/sale-status", "/stock"]


def told(answer: httpx.Response) -> Any:
    body = answer.json()
    assert (answer.status_code, body["status"], body["error"], body["code"]) == (200, "ok", None, None), answer.text
    assert set(body) == ENVELOPE
    assert TIME.fullmatch(body["timestamp"])
    return body["data"]


def refused(answer: httpx.Response, status: int, code: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"], body["status"], body["data"]) == (status, code, "error", None)
    assert set(body) == ENVELOPE
    assert isinstance(body["error"], str)


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


async def status_of(client: httpx.AsyncClient, sale: PublishedSale) -> Any:
    return told(await client.get(f"/api/products/{sale.sku}/sale-status"))


async def buy(client: httpx.AsyncClient, sale: PublishedSale) -> None:
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))
    assert answer.status_code == 201, answer.text
    await show()


@pytest.mark.parametrize("prefix", ["/api", "/api/v1"])
async def test_a_product_has_exactly_the_fields_of_the_contract(
    client: httpx.AsyncClient, publish: Publish, prefix: str
) -> None:
    sale = await publish(limit_per_shopper=3, image_url="https://images.example/lamp.jpg", description='"Bright" & <b>')
    data = told(await client.get(f"{prefix}/products/{sale.sku}"))
    assert set(data) == PRODUCT
    assert data == {
        "sku": sale.sku,
        "name": "Test lamp",
        "description": '"Bright" & <b>',
        "price": 12900,
        "currency": "EUR",
        "imageUrl": "https://images.example/lamp.jpg",
        "totalStock": 10,
        "availableStock": 10,
        "startDate": iso(sale.opens_at),
        "endDate": iso(sale.closes_at),
        "limit": {"perUser": 3},
    }


async def test_products_lists_what_is_published(client: httpx.AsyncClient, publish: Publish) -> None:
    await withdraw_all()
    assert told(await client.get("/api/products")) == []
    shown, hidden = [await publish(), await publish()], await publish(published=False)
    listed = told(await client.get("/api/products"))
    assert {product["sku"] for product in listed} == {sale.sku for sale in shown}
    assert hidden.sku not in str(listed)
    assert listed[0] == told(await client.get(f"/api/products/{listed[0]['sku']}"))


@pytest.mark.parametrize("prefix", ["/api", "/api/v1"])
async def test_a_status_has_exactly_the_fields_of_the_contract(
    client: httpx.AsyncClient, publish: Publish, prefix: str
) -> None:
    sale = await publish(limit_per_shopper=2)
    data = told(await client.get(f"{prefix}/products/{sale.sku}/sale-status"))
    assert set(data) == STATUS
    server_time = data.pop("serverTime")
    assert TIME.fullmatch(server_time)
    assert abs(datetime.fromisoformat(server_time) - datetime.now(UTC)) < timedelta(seconds=2)
    assert data == {
        "status": "active",
        "phase": "active",
        "startDate": iso(sale.opens_at),
        "endDate": iso(sale.closes_at),
        "availableStock": 10,
        "totalStock": 10,
        "limitPerUser": 2,
        "price": 12900,
        "currency": "EUR",
        "sku": sale.sku,
    }


async def test_the_server_time_of_a_status_goes_on(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    first = (await status_of(client, sale))["serverTime"]
    await asyncio.sleep(0.06)
    assert (await status_of(client, sale))["serverTime"] > first


@pytest.mark.parametrize("prefix", ["/api", "/api/v1"])
async def test_the_stock_follows_what_is_sold(client: httpx.AsyncClient, publish: Publish, prefix: str) -> None:
    sale = await publish(stock=5)
    assert told(await client.get(f"{prefix}/products/{sale.sku}/stock")) == {"availableStock": 5, "totalStock": 5}
    await buy(client, sale)
    assert told(await client.get(f"{prefix}/products/{sale.sku}/stock")) == {"availableStock": 4, "totalStock": 5}


@pytest.mark.parametrize(
    ("changes", "phase", "status"),
    [
        ({"opens_at": NOW + 10 * MINUTE, "closes_at": NOW + 20 * MINUTE}, "upcoming", "upcoming"),
        ({"opens_at": NOW + 10 * MINUTE, "closes_at": NOW + 20 * MINUTE, "paused": True}, "upcoming", "upcoming"),
        ({}, "active", "active"),
        ({"paused": True}, "paused", "active"),
        ({"opens_at": NOW - 20 * MINUTE, "closes_at": NOW - MINUTE}, "ended", "ended"),
        ({"opens_at": NOW - 20 * MINUTE, "closes_at": NOW - MINUTE, "paused": True}, "ended", "ended"),
    ],
)
async def test_phases_and_the_words_of_older_clients(
    client: httpx.AsyncClient, publish: Publish, changes: dict[str, Any], phase: str, status: str
) -> None:
    data = await status_of(client, await publish(**changes))
    assert (data["phase"], data["status"]) == (phase, status)


async def test_a_sold_out_sale_is_ended_for_older_clients(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(stock=1)
    await buy(client, sale)
    data = await status_of(client, sale)
    assert (data["phase"], data["status"], data["availableStock"], data["totalStock"]) == ("sold_out", "ended", 0, 1)


async def test_a_gate_that_is_not_loaded_is_not_ready_and_never_sold_out(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale = await publish()
    assert await stock.fence(redis(), sale.id, sale.epoch)
    await show()
    data = await status_of(client, sale)
    assert (data["phase"], data["status"], data["availableStock"]) == ("not_ready", "active", 10)


async def test_a_sale_opens_and_closes_by_itself(client: httpx.AsyncClient, publish: Publish) -> None:
    opens = datetime.now(UTC) + timedelta(seconds=0.4)
    sale = await publish(opens_at=opens, closes_at=opens + timedelta(seconds=0.4))
    seen = []

    async def is_over() -> bool:
        data = await status_of(client, sale)
        if data["phase"] not in seen:
            seen.append(data["phase"])
        return bool(data["phase"] == "ended")

    await eventually(is_over, seconds=3)
    assert seen == ["upcoming", "active", "ended"]


async def test_a_change_in_the_settings_shows(client: httpx.AsyncClient, publish: Publish) -> None:
    settings = settings_of()
    sale = await publish(settings)
    await publish(settings, stock=25, price_minor=500, paused=True)
    data = await status_of(client, sale)
    assert (data["totalStock"], data["price"], data["phase"]) == (25, 500, "paused")


@pytest.mark.parametrize("sku", ["no-such-sale", "%00", "%2e%2e", "x" * 3000, "%F0%9F%92%A5", "%FF", "'%22<script>"])
@pytest.mark.parametrize("form", FORMS)
async def test_an_unknown_sku_is_not_found(client: httpx.AsyncClient, form: str, sku: str) -> None:
    refused(await client.get(f"/api/products/{sku}{form}"), 404, "NOT_FOUND")


async def test_a_withdrawn_sale_is_not_found(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(published=False)
    for form in FORMS:
        refused(await client.get(f"/api/products/{sale.sku}{form}"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "path",
    ["/api/", "/api/nothing", "/api/v1/nothing", "/api/products/x/nothing", "/api/v2/products", "/api/products/"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_path_of_the_api_is_not_found_in_the_envelope(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    refused(await client.request(method, path), 404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api/products", *(f"/api/products/x{form}" for form in FORMS)])
async def test_the_wrong_method_names_the_right_ones(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, HEAD"


# Caches


@pytest.mark.parametrize("form", FORMS)
async def test_an_answer_says_how_to_be_kept(client: httpx.AsyncClient, publish: Publish, form: str) -> None:
    sale = await publish()
    answer = await client.get(f"/api/products/{sale.sku}{form}")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Vary"] == "Accept-Encoding"
    # Weak: the body has the time of day in it.
    assert re.fullmatch(r'W/"[0-9a-f]+"', answer.headers["ETag"])


@pytest.mark.parametrize("form", FORMS)
async def test_what_has_not_changed_is_not_sent_again(client: httpx.AsyncClient, publish: Publish, form: str) -> None:
    sale = await publish()
    path = f"/api/products/{sale.sku}{form}"
    etag = (await client.get(path)).headers["ETag"]
    for match in (etag, etag.removeprefix("W/"), f'"other", {etag}', f'W/"x",{etag},"y"', "*"):
        answer = await client.get(path, headers={"If-None-Match": match})
        assert (answer.status_code, answer.content) == (304, b""), match
        assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (etag, "no-cache")
    for match in ('"other"', "", etag.strip('W/"'), 'W/""'):
        assert (await client.get(path, headers={"If-None-Match": match})).status_code == 200, match


@pytest.mark.parametrize("form", FORMS)
async def test_what_has_changed_is_sent_again(client: httpx.AsyncClient, publish: Publish, form: str) -> None:
    sale = await publish()
    path = f"/api/products/{sale.sku}{form}"
    etag = (await client.get(path)).headers["ETag"]
    await buy(client, sale)
    answer = await client.get(path, headers={"If-None-Match": etag})
    assert answer.status_code == 200
    assert answer.headers["ETag"] != etag


async def test_two_products_of_one_state_have_etags_of_their_own_addresses(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    """An ETag is only compared under its own address; the list's is over all of them."""
    await withdraw_all()
    await publish()
    first = (await client.get("/api/products")).headers["ETag"]
    await withdraw_all()
    await publish()
    assert (await client.get("/api/products", headers={"If-None-Match": first})).status_code == 200


async def test_a_large_answer_travels_packed_for_whoever_takes_that(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale = await publish(description="Bright. " * 200)
    path = f"/api/products/{sale.sku}"
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    async with client.stream("GET", path, headers={"Accept-Encoding": "br, gzip"}) as packed:
        raw = b"".join([chunk async for chunk in packed.aiter_raw()])
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Length"] == str(len(raw))
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content)


@pytest.mark.parametrize("form", FORMS)
async def test_head_is_answered_like_get_without_a_body(client: httpx.AsyncClient, publish: Publish, form: str) -> None:
    sale = await publish()
    path = f"/api/products/{sale.sku}{form}"
    get, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["ETag"] == get.headers["ETag"]
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
