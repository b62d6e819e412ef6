"""The contract of `docs/reference/api.md` about orders and identity, each row and each refusal provoked for real."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from conftest import Publish, Stores, cookie_of, eventually, settings_of, shopper
from flashdrop.batching import Batcher
from flashdrop.mongo_client import collection
from flashdrop.redis_client import redis
from orders.identity import COOKIE, Shopper, sign_in_guest
from orders.settlement import confirmations
from sales import stock
from sales.published import PublishedSale

ENVELOPE = {"status", "data", "error", "code", "timestamp"}
ORDER = {
    *("_id", "productSKU", "userId", "units", "quantity", "price", "totalPrice", "currency", "status"),
    *("purchasedAt", "createdAt", "receiptUrl"),
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
JSON = {"Content-Type": "application/json"}
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)


def told(answer: httpx.Response, status: int) -> Any:
    """The data of a successful answer."""
    body = answer.json()
    assert (answer.status_code, body["status"]) == (status, "ok"), answer.text
    assert set(body) == ENVELOPE
    assert (body["error"], body["code"]) == (None, None)
    assert TIME.fullmatch(body["timestamp"])
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    return body["data"]


def refused(answer: httpx.Response, status: int, code: str, data: Any = None) -> Any:
    """The error of a refusal."""
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert set(body) == ENVELOPE
    assert (body["status"], body["data"]) == ("error", data)
    assert TIME.fullmatch(body["timestamp"])
    assert body["error"]
    return body["error"]


def paths(error: Any) -> list[list[str]]:
    assert all(set(issue) == {"path", "message"} for issue in error["issues"])
    return [issue["path"] for issue in error["issues"]]


async def order(
    client: httpx.AsyncClient, who: Shopper | None, body: Any, key: str | bytes | None = None, **headers: str
) -> httpx.Response:
    sent: dict[str | bytes, str | bytes] = {**headers}
    if who is not None:
        sent.update(cookie_of(who))
    if key is not None:
        sent[b"Idempotency-Key"] = key if isinstance(key, bytes) else key.encode()
    return await client.post("/api/orders", json=body, headers=list(sent.items()))  # type: ignore[arg-type]


async def issued(sale: PublishedSale) -> int:
    return (await stock.levels(redis(), [sale.id]))[1][0].issued


async def documents(sale: PublishedSale) -> int:
    return await collection("orders").count_documents({"sale": sale.id})


# Signing in and out


@pytest.mark.parametrize("prefix", ["/api", "/api/v1"])
async def test_login_tells_who_it_is_and_sets_the_cookie(client: httpx.AsyncClient, prefix: str) -> None:
    answer = await client.post(f"{prefix}/auth/login", json={"identifier": "  Alice "})
    data = told(answer, 200)
    assert set(data) == {"userId", "identifier"}
    assert data["identifier"] == "Alice"
    assert answer.cookies[COOKIE]
    assert told(await client.get(f"{prefix}/orders"), 200) is not None


@pytest.mark.parametrize("identifier", ["", "   ", "x" * 256, "a\0b", "a\nb", None, 7, 1.5, True, [], {}])
async def test_login_refuses_what_is_no_name(client: httpx.AsyncClient, identifier: Any) -> None:
    answer = await client.post("/api/auth/login", json={"identifier": identifier})
    assert paths(refused(answer, 400, "VALIDATION_ERROR")) == [["identifier"]]
    assert "Set-Cookie" not in answer.headers


async def test_login_takes_names_of_1_to_255_characters(client: httpx.AsyncClient) -> None:
    for name in ("x", "x" * 255):
        told(await client.post("/api/auth/login", json={"identifier": name}), 200)


async def test_logout_clears_the_cookie(client: httpx.AsyncClient) -> None:
    told(await client.post("/api/auth/login", json={"identifier": "leaving"}), 200)
    answer = await client.post("/api/auth/logout")
    told(answer, 200)
    assert COOKIE not in client.cookies
    refused(await client.get("/api/orders"), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("path", ["/api/auth/login", "/api/auth/logout", "/api/orders"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver.evil.example"},
        {"Referer": "https://evil.example/http://testserver/"},
    ],
)
async def test_a_request_from_another_site_is_refused(
    client: httpx.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    answer = await client.post(path, json={"identifier": "x", "sku": "x"}, headers=headers | cookie_of(shopper()))
    refused(answer, 403, "CROSS_SITE")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://testserver"}, {"Referer": "http://testserver/sales/x/"}],
)
async def test_a_request_of_our_own_pages_is_taken(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    told(await client.post("/api/auth/login", json={"identifier": "x"}, headers=headers), 200)


# Buying


async def test_an_order_is_created_with_exactly_the_fields_of_the_contract(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, who = await publish(stock=9, limit_per_shopper=3), shopper()
    data = told(await order(client, who, {"sku": sale.sku, "quantity": 2}), 201)
    assert set(data) == ORDER
    assert data | {"_id": "", "receiptUrl": "", "purchasedAt": "", "createdAt": ""} == {
        "_id": "",
        "productSKU": sale.sku,
        "userId": who.id,
        "units": [1, 2],
        "quantity": 2,
        "price": 12900,
        "totalPrice": 25800,
        "currency": "EUR",
        "status": "completed",
        "purchasedAt": "",
        "createdAt": "",
        "receiptUrl": "",
    }
    assert TIME.fullmatch(data["purchasedAt"])
    assert TIME.fullmatch(data["createdAt"])
    assert (await client.get(data["receiptUrl"])).status_code == 200
    assert await documents(sale) == 1


@pytest.mark.parametrize("path", ["/api/orders", "/api/v1/orders"])
@pytest.mark.parametrize("field", ["sku", "productSKU"])
async def test_both_names_of_the_sku_and_both_prefixes_are_taken(
    client: httpx.AsyncClient, publish: Publish, path: str, field: str
) -> None:
    sale, who = await publish(), shopper()
    data = told(await client.post(path, json={field: sale.sku}, headers=cookie_of(who)), 201)
    assert (data["productSKU"], data["quantity"]) == (sale.sku, 1)
    assert told(await client.get(f"{path}/{sale.sku}", headers=cookie_of(who)), 200) == data
    assert told(await client.get(path, headers=cookie_of(who)), 200) == [data]


async def test_the_same_key_finds_the_same_order(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(limit_per_shopper=5), shopper()
    first = told(await order(client, who, {"sku": sale.sku}, key="once"), 201)
    assert told(await order(client, who, {"sku": sale.sku}, key="once"), 200) == first
    assert (await issued(sale), await documents(sale)) == (1, 1)
    assert told(await order(client, who, {"sku": sale.sku}, key="twice"), 201)["_id"] != first["_id"]


async def test_the_same_key_finds_the_order_after_the_sale_is_over(client: httpx.AsyncClient, publish: Publish) -> None:
    settings, who = settings_of(), shopper()
    sale = await publish(settings)
    first = told(await order(client, who, {"sku": sale.sku}, key="k"), 201)
    await publish(settings, opens_at=NOW - 2 * MINUTE, closes_at=NOW - MINUTE)
    assert told(await order(client, who, {"sku": sale.sku}, key="k"), 200) == first


async def test_one_key_is_two_orders_for_two_shoppers(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    ids = {told(await order(client, shopper(), {"sku": sale.sku}, key="shared"), 201)["_id"] for _ in range(2)}
    assert len(ids) == 2


async def test_many_at_once_with_one_key_are_one_order(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(limit_per_shopper=5), shopper()
    answers = await asyncio.gather(*(order(client, who, {"sku": sale.sku}, key="k") for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["data"]["_id"] for answer in answers}) == 1
    assert {answer.json()["data"]["status"] for answer in answers} == {"completed"}
    assert (await issued(sale), await documents(sale)) == (1, 1)


async def test_canary_without_a_key_many_at_once_are_many_orders(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(limit_per_shopper=5), shopper()
    answers = await asyncio.gather(*(order(client, who, {"sku": sale.sku}) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [403] * 15
    assert await documents(sale) == 5


@pytest.mark.parametrize("body", [{"quantity": 2}, {"quantity": 3}])
async def test_the_same_key_with_another_quantity_is_refused(
    client: httpx.AsyncClient, publish: Publish, body: dict[str, int]
) -> None:
    sale, who = await publish(limit_per_shopper=2), shopper()
    told(await order(client, who, {"sku": sale.sku}, key="k"), 201)
    refused(await order(client, who, {"sku": sale.sku} | body, key="k"), 422, "IDEMPOTENCY_KEY_REUSED")
    assert await issued(sale) == 1


async def test_the_same_key_in_another_sale_is_refused_and_takes_nothing(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    first, second, who = await publish(), await publish(), shopper()
    told(await order(client, who, {"sku": first.sku}, key="k"), 201)
    for _ in range(2):
        refused(await order(client, who, {"sku": second.sku}, key="k"), 422, "IDEMPOTENCY_KEY_REUSED")
    assert (await issued(second), await documents(second)) == (0, 0)
    told(await order(client, who, {"sku": second.sku}, key="another"), 201)


@pytest.mark.parametrize(
    ("window", "status", "code"),
    [
        ({"opens_at": NOW + 30 * MINUTE, "closes_at": NOW + 60 * MINUTE}, 400, "FLASH_SALE_NOT_STARTED"),
        ({"opens_at": NOW - 30 * MINUTE, "closes_at": NOW - MINUTE}, 400, "FLASH_SALE_ENDED"),
        ({"paused": True}, 423, "SALE_PAUSED"),
        ({"published": False}, 404, "PRODUCT_NOT_FOUND"),
    ],
)
async def test_a_sale_that_is_not_open_says_why(
    client: httpx.AsyncClient, publish: Publish, window: dict[str, Any], status: int, code: str
) -> None:
    sale = await publish(**window)
    refused(await order(client, shopper(), {"sku": sale.sku}), status, code)
    assert await documents(sale) == 0


async def test_an_unknown_sku_is_not_found(client: httpx.AsyncClient) -> None:
    refused(await order(client, shopper(), {"sku": "no-such-thing"}), 404, "PRODUCT_NOT_FOUND")


async def test_out_of_stock(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(stock=1)
    told(await order(client, shopper(), {"sku": sale.sku}), 201)
    error = refused(await order(client, shopper(), {"sku": sale.sku}), 409, "OUT_OF_STOCK", {"available": 0})
    assert error == "This item is out of stock."


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (1, "Only 1 is left. Choose 1."),
        (2, "Only 2 are left. Choose 1 or 2."),
        (4, "Only 4 are left. Choose 1 to 4."),
    ],
)
async def test_fewer_left_than_asked_for_says_how_many(
    client: httpx.AsyncClient, publish: Publish, left: int, words: str
) -> None:
    sale = await publish(stock=left, limit_per_shopper=5)
    wish = {"sku": sale.sku, "quantity": 5}
    assert refused(await order(client, shopper(), wish), 409, "OUT_OF_STOCK", {"available": left}) == words
    told(await order(client, shopper(), wish | {"quantity": left}), 201)


async def changed_price(publish: Publish) -> PublishedSale:
    """A sale whose price has just gone from 129 to 1999."""
    settings = settings_of()
    await publish(settings)
    return await publish(settings, price_minor=199900)


@pytest.mark.parametrize(
    "shown", [{"price": 12900}, {"price": 0}, {"price": 12900, "currency": "EUR"}, {"currency": "USD"}]
)
async def test_at_another_price_than_the_one_shown_nothing_is_sold(
    client: httpx.AsyncClient, publish: Publish, shown: dict[str, Any]
) -> None:
    sale, who = await changed_price(publish), shopper()
    holds = {"price": 199900, "currency": "EUR"}
    refused(await order(client, who, {"sku": sale.sku} | shown), 409, "PRICE_CHANGED", holds)
    assert (await stock.levels(redis(), [sale.id]))[1][0].issued == 0
    data = told(await order(client, who, {"sku": sale.sku} | holds), 201)
    assert (data["price"], data["totalPrice"], data["currency"]) == (199900, 199900, "EUR")


@pytest.mark.parametrize("shown", [{}, {"price": 199900}, {"currency": "EUR"}])
async def test_what_is_not_stated_is_not_compared(
    client: httpx.AsyncClient, publish: Publish, shown: dict[str, Any]
) -> None:
    sale = await changed_price(publish)
    assert told(await order(client, shopper(), {"sku": sale.sku} | shown), 201)["price"] == 199900


async def test_a_retry_finds_its_order_whatever_the_price_is_by_then(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    settings, who = settings_of(), shopper()
    sale = await publish(settings)
    wish = {"sku": sale.sku, "price": 12900, "currency": "EUR"}
    first = told(await order(client, who, wish, key="k"), 201)
    await publish(settings, price_minor=199900)
    assert told(await order(client, who, wish, key="k"), 200) == first


@pytest.mark.parametrize(
    "shown",
    [
        *({"price": price} for price in (True, -1, 2**53, 10**30, "12900", 129.0, None, [], {})),
        *({"currency": currency} for currency in ("eur", "EURO", "", "E\u0000R", 978, None, ["EUR"])),
    ],
)
async def test_a_price_that_is_none_is_told_by_its_field(
    client: httpx.AsyncClient, publish: Publish, shown: dict[str, Any]
) -> None:
    sale = await publish()
    error = refused(await order(client, shopper(), {"sku": sale.sku} | shown), 400, "VALIDATION_ERROR")
    assert paths(error) == [[next(iter(shown))]]


@pytest.mark.parametrize("quantity", [2, 100])
async def test_more_than_the_limit_is_refused(client: httpx.AsyncClient, publish: Publish, quantity: int) -> None:
    sale = await publish()
    refused(await order(client, shopper(), {"sku": sale.sku, "quantity": quantity}), 403, "LIMIT_EXCEEDED")
    assert await issued(sale) == 0


async def test_a_second_order_over_the_limit_is_refused(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(), shopper()
    told(await order(client, who, {"sku": sale.sku}), 201)
    refused(await order(client, who, {"sku": sale.sku}), 403, "LIMIT_EXCEEDED")


async def test_whoever_is_not_signed_in_is_refused(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    refused(await order(client, None, {"sku": sale.sku}), 401, "UNAUTHORIZED")
    refused(await client.get("/api/orders"), 401, "UNAUTHORIZED")
    refused(await client.get(f"/api/orders/{sale.sku}"), 401, "UNAUTHORIZED")


async def test_guests_buy_only_where_they_are_admitted(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    refused(await order(client, sign_in_guest(), {"sku": sale.sku}), 401, "UNAUTHORIZED")
    admitting = await publish(guests_allowed=True)
    told(await order(client, sign_in_guest(), {"sku": admitting.sku}), 201)


async def test_a_gate_that_is_not_loaded_is_not_ready_and_never_sold_out(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale = await publish()
    assert await stock.fence(redis(), sale.id, sale.epoch)
    answer = await order(client, shopper(), {"sku": sale.sku})
    refused(answer, 503, "SALE_NOT_READY")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_full_queue_says_overloaded_at_once(
    client: httpx.AsyncClient, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.reserving.Batcher", partial(Batcher, max_queue=1, max_in_flight=1))
    sale = await publish(stock=100)
    answers = await asyncio.gather(*(order(client, shopper(), {"sku": sale.sku}) for _ in range(40)))
    full = [answer for answer in answers if answer.status_code == 503]
    bought = [answer for answer in answers if answer.status_code == 201]
    assert full
    assert bought
    assert len(full) + len(bought) == 40
    for answer in full:
        refused(answer, 503, "OVERLOADED")
        assert int(answer.headers["Retry-After"]) >= 1
    assert await documents(sale) == len(bought)


async def test_an_order_whose_confirmation_is_late_is_pending_and_then_found(
    client: httpx.AsyncClient, publish: Publish, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmations(), "patience_seconds", 0.2)
    sale, who = await publish(), shopper()
    os.kill(stores.mongo.process.pid, signal.SIGSTOP)
    try:
        data = told(await order(client, who, {"sku": sale.sku}, key="k"), 202)
        again = told(await order(client, who, {"sku": sale.sku}, key="k"), 202)
    finally:
        os.kill(stores.mongo.process.pid, signal.SIGCONT)
    assert set(data) == ORDER
    assert (data["status"], data["units"]) == ("pending", [1])
    assert again == data

    async def confirmed() -> bool:
        return (await order(client, who, {"sku": sale.sku}, key="k")).status_code == 200

    await eventually(confirmed)
    data = told(await order(client, who, {"sku": sale.sku}, key="k"), 200)
    assert (data["_id"], data["status"]) == (again["_id"], "completed")
    assert await documents(sale) == 1


# Reading orders


async def test_orders_are_listed_newest_first(client: httpx.AsyncClient, publish: Publish) -> None:
    who, bought = shopper(), []
    for _ in range(3):
        sale = await publish()
        bought.append(told(await order(client, who, {"sku": sale.sku}), 201))
        await asyncio.sleep(0.005)  # the order of two purchases is their millisecond
    assert told(await client.get("/api/orders", headers=cookie_of(who)), 200) == bought[::-1]


async def test_of_several_orders_in_a_sale_the_latest_is_shown(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(limit_per_shopper=2), shopper()
    told(await order(client, who, {"sku": sale.sku}), 201)
    await asyncio.sleep(0.005)
    latest = told(await order(client, who, {"sku": sale.sku}), 201)
    assert told(await client.get(f"/api/orders/{sale.sku}", headers=cookie_of(who)), 200) == latest


async def test_no_order_is_not_found(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, headers = await publish(), cookie_of(shopper())
    refused(await client.get(f"/api/orders/{sale.sku}", headers=headers), 404, "NOT_FOUND")
    refused(await client.get("/api/orders/no-such-sale", headers=headers), 404, "NOT_FOUND")
    assert told(await client.get("/api/orders", headers=headers), 200) == []


async def test_an_order_can_be_read_after_its_sale_was_withdrawn(client: httpx.AsyncClient, publish: Publish) -> None:
    settings, who = settings_of(), shopper()
    sale = await publish(settings)
    data = told(await order(client, who, {"sku": sale.sku}), 201)
    await publish(settings, published=False)
    assert told(await client.get("/api/orders", headers=cookie_of(who)), 200) == [data]
    assert told(await client.get(f"/api/orders/{sale.sku}", headers=cookie_of(who)), 200) == data


async def test_another_browser_under_the_same_name_learns_nothing_but_that_it_was_used(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, name = await publish(), f"twin-{os.getpid()}-{random.random()}"
    mine, theirs = shopper(name), shopper(name.upper())
    data = told(await order(client, mine, {"sku": sale.sku}, key="1"), 201)
    refused(await client.get(f"/api/orders/{sale.sku}", headers=cookie_of(theirs)), 404, "NOT_FOUND")
    assert told(await client.get("/api/orders", headers=cookie_of(theirs)), 200) == []
    for key in (None, "1", "2"):
        answer = await order(client, theirs, {"sku": sale.sku}, key=key)
        refused(answer, 403, "LIMIT_EXCEEDED")
        assert data["_id"] not in answer.text
        assert data["receiptUrl"] not in answer.text
    assert await documents(sale) == 1


async def test_another_browser_with_the_same_key_learns_nothing_of_an_order_the_gate_forgot(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    """As after a cancellation: the ledger has the order, the gate has given its unit up."""
    sale, name = await publish(), f"cancelled-{random.random()}"
    mine, theirs = shopper(name), shopper(name)
    data = told(await order(client, mine, {"sku": sale.sku}, key="1"), 201)
    await collection("orders").update_one(
        {"_id": data["_id"]},
        {"$set": {"status": "cancelled", "given_up_at": NOW}, "$unset": {"units": 1, "slots": 1}},
    )
    await stock.release(redis(), sale.id, [(mine.id, data["_id"])])
    answer = await order(client, theirs, {"sku": sale.sku}, key="1")
    assert data["_id"] not in answer.text
    assert data["receiptUrl"] not in answer.text
    assert 400 <= answer.status_code < 500
    assert await issued(sale) == 0


async def test_the_same_key_with_another_quantity_is_refused_after_a_cancellation_too(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, who = await publish(limit_per_shopper=2), shopper()
    data = told(await order(client, who, {"sku": sale.sku}, key="1"), 201)
    await collection("orders").update_one(
        {"_id": data["_id"]},
        {"$set": {"status": "cancelled", "given_up_at": NOW}, "$unset": {"units": 1, "slots": 1}},
    )
    await stock.release(redis(), sale.id, [(who.id, data["_id"])])
    again = told(await order(client, who, {"sku": sale.sku}, key="1"), 200)
    assert (again["_id"], again["status"], again["units"]) == (data["_id"], "cancelled", [])
    refused(await order(client, who, {"sku": sale.sku, "quantity": 2}, key="1"), 422, "IDEMPOTENCY_KEY_REUSED")
    assert await issued(sale) == 0


# What is not a request


HUGE_DIGITS = "9" * 5000
DEEP = "[" * 8000 + "]" * 8000
NOISE = random.Random(20261122)

UNREADABLE = {
    "empty": b"",
    "blank": b"   ",
    "half": b'{"sku": "x"',
    "two values": b"{}{}",
    "array": b"[]",
    "string": b'"sku"',
    "number": b"1",
    "null": b"null",
    "deep array": DEEP.encode(),
    "deep object": b'{"sku":' * 1800 + b"1" + b"}" * 1800,
    "deep field": f'{{"sku": {DEEP}, "identifier": 1}}'.encode(),
    "unclosed array": b"[" * 16000,
    "invalid utf-8": b'{"sku": "\xff\xfe", "identifier": "\xc3"}',
    "form": b"sku=x&quantity=1&identifier=x",
    "raw control character": b'{"sku": "a\x00b", "identifier": "a\x00b"}',
    **{f"noise {i}": NOISE.randbytes(NOISE.randint(1, 400)) for i in range(20)},
}


@pytest.mark.parametrize("path", ["/api/orders", "/api/auth/login"])
@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_body_that_is_no_json_object_is_a_validation_error(
    client: httpx.AsyncClient, path: str, name: str
) -> None:
    answer = await client.post(path, content=UNREADABLE[name], headers=JSON | cookie_of(shopper()))
    assert paths(refused(answer, 400, "VALIDATION_ERROR")) == [[]]


WRONG_SKUS = ["null", "1", "true", "[]", "{}", '""', f'"{"x" * 65}"', f'"{"x" * 15000}"', "NaN", "-Infinity", "1e400"]


@pytest.mark.parametrize("sku", WRONG_SKUS)
@pytest.mark.parametrize("field", ["sku", "productSKU"])
async def test_a_sku_of_the_wrong_form_is_a_validation_error(client: httpx.AsyncClient, sku: str, field: str) -> None:
    answer = await client.post("/api/orders", content=f'{{"{field}": {sku}}}', headers=JSON | cookie_of(shopper()))
    assert paths(refused(answer, 400, "VALIDATION_ERROR")) == [["sku"]]


@pytest.mark.parametrize(
    "sku", [r"\ud800", r"\udfff\ud800", r"\u0000", r"\r\nX: y", "../../etc", "%00", "x' OR 1=1", "💥"]
)
async def test_an_odd_sku_is_not_found(client: httpx.AsyncClient, sku: str) -> None:
    content = f'{{"sku": "{sku}"}}'.encode()
    answer = await client.post("/api/orders", content=content, headers=JSON | cookie_of(shopper()))
    refused(answer, 404, "PRODUCT_NOT_FOUND")


WRONG_QUANTITIES = [
    *(
        "0",
        "-1",
        "101",
        "true",
        "false",
        "null",
        "1.0",
        "1.5",
        '"1"',
        "[1]",
        "{}",
        "1e400",
        "NaN",
        "Infinity",
        "-Infinity",
    ),
    *("9" * 19, "-" + "9" * 4000, "1e2"),
]


@pytest.mark.parametrize("quantity", WRONG_QUANTITIES)
async def test_a_quantity_that_is_no_whole_number_in_range_is_a_validation_error(
    client: httpx.AsyncClient, publish: Publish, quantity: str
) -> None:
    sale = await publish(limit_per_shopper=100, stock=200)
    content = f'{{"sku": "{sale.sku}", "quantity": {quantity}}}'
    answer = await client.post("/api/orders", content=content, headers=JSON | cookie_of(shopper()))
    assert paths(refused(answer, 400, "VALIDATION_ERROR")) == [["quantity"]]
    assert await issued(sale) == 0


async def test_a_number_too_long_to_read_is_a_validation_error(client: httpx.AsyncClient) -> None:
    content = f'{{"sku": "x", "quantity": {HUGE_DIGITS}}}'
    answer = await client.post("/api/orders", content=content, headers=JSON | cookie_of(shopper()))
    refused(answer, 400, "VALIDATION_ERROR")


async def test_everything_that_is_wrong_is_told_at_once(client: httpx.AsyncClient) -> None:
    answer = await order(client, shopper(), {"sku": 1, "quantity": "x"}, key="")
    assert paths(refused(answer, 400, "VALIDATION_ERROR")) == [["sku"], ["quantity"], ["Idempotency-Key"]]


@pytest.mark.parametrize("key", [b"", b"\x00", b"a\x01b", b"a\tb", b"\x7f", b"x" * 256])
async def test_a_key_that_is_not_1_to_255_printable_characters_is_a_validation_error(
    client: httpx.AsyncClient, publish: Publish, key: bytes
) -> None:
    sale = await publish()
    answer = await order(client, shopper(), {"sku": sale.sku}, key=key)
    assert paths(refused(answer, 400, "VALIDATION_ERROR")) == [["Idempotency-Key"]]
    assert await issued(sale) == 0


@pytest.mark.parametrize("key", ["x", "x" * 255, 'with spaces, "quotes" and {braces}; $nin'])
async def test_any_other_key_is_taken(client: httpx.AsyncClient, publish: Publish, key: str) -> None:
    sale = await publish()
    told(await order(client, shopper(), {"sku": sale.sku}, key=key), 201)


@pytest.mark.parametrize(
    "name",
    [r"\ud800", r"x\udc00", r"\u0000", r"\u0007", r"\u0085", r"\ue000sale\ue001", r"\ufdd0", r"\u200b", r"\u2028"],
)
async def test_a_name_that_cannot_be_shown_is_a_validation_error(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.post("/api/auth/login", content=f'{{"identifier": "{name}"}}', headers=JSON)
    assert paths(refused(answer, 400, "VALIDATION_ERROR")) == [["identifier"]]


@pytest.mark.parametrize("path", ["/api/orders", "/api/auth/login"])
@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", None])
async def test_anything_but_json_is_an_unsupported_media_type(
    client: httpx.AsyncClient, path: str, media: str | None
) -> None:
    headers = {} if media is None else {"Content-Type": media}
    answer = await client.post(path, content=b'{"identifier": "x", "sku": "x"}', headers=headers)
    refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_may_say_its_charset(client: httpx.AsyncClient, media: str) -> None:
    answer = await client.post("/api/auth/login", content=b'{"identifier": "x"}', headers={"Content-Type": media})
    told(answer, 200)


@pytest.mark.parametrize("path", ["/api/orders", "/api/auth/login"])
async def test_a_body_over_16_kib_is_too_large(client: httpx.AsyncClient, path: str) -> None:
    frame = len(json.dumps({"identifier": ""}))
    exactly = json.dumps({"identifier": "x" * (16 * 1024 - frame)})
    refused(await client.post(path, content=exactly, headers=JSON), 400, "VALIDATION_ERROR")
    refused(await client.post(path, content=exactly + " ", headers=JSON), 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        *(("GET", "/api/auth/login", "POST"), ("GET", "/api/auth/logout", "POST")),
        *(("PUT", "/api/orders", "GET, POST, HEAD"), ("DELETE", "/api/orders", "GET, POST, HEAD")),
        *(("POST", "/api/orders/x", "GET, HEAD"), ("OPTIONS", "/api/v1/orders", "GET, POST, HEAD")),
    ],
)
async def test_the_wrong_method_names_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await client.request(method, path)
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == allow


@pytest.mark.parametrize("path", ["/api/orders", "/api/orders/x"])
async def test_head_is_answered_like_get_without_a_body(client: httpx.AsyncClient, path: str) -> None:
    who = cookie_of(shopper())
    get, head = await client.get(path, headers=who), await client.head(path, headers=who)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
