"""The promises through real processes: two web workers, one worker, HTTP from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import httpx

from conftest import BASE_DIR, Publish, Stores, client_of, cookie_of, eventually, follows, shopper
from flashdrop.mongo_client import collection


def post(client: httpx.AsyncClient, sku: str, headers: dict[str, str]) -> Any:
    return client.post("/api/orders", json={"sku": sku}, headers=headers)


async def buy_alone(shop: str, sku: str) -> httpx.Response:
    """A new shopper's purchase from a browser of their own."""
    async with client_of(shop, timeout=20) as client:
        answer: httpx.Response = await post(client, sku, cookie_of(shopper()))
        return answer


def audit_exit_code(sku: str) -> int:
    return subprocess.run([sys.executable, str(BASE_DIR / "manage.py"), "audit_sale", sku], check=False).returncode


async def test_two_hundred_shoppers_race_for_fifty_units_over_http(shop: str, publish: Publish) -> None:
    sale = await publish(stock=50)
    await follows(shop, sale)
    # Not from one client: its pool takes 20 ms to find a place for each of so many, and they would hardly race.
    answers = await asyncio.gather(*(buy_alone(shop, sale.sku) for _ in range(200)))
    async with client_of(shop, timeout=20) as client:
        codes = [answer.status_code for answer in answers]
        assert (codes.count(201), codes.count(409)) == (50, 150)
        sold = {
            answer.json()["data"]["_id"]: answer.json()["data"]["units"]
            for answer in answers
            if answer.status_code == 201
        }

        async def page_says_sold_out() -> bool:
            answer = await client.get(f"/api/products/{sale.sku}/sale-status")
            return bool(answer.json()["data"]["phase"] == "sold_out")

        await eventually(page_says_sold_out, seconds=1)
    documents = await collection("orders").find({"sale": sale.id}).to_list()
    assert {document["_id"]: document["units"] for document in documents} == sold
    assert sorted(unit for document in documents for unit in document["units"]) == list(range(1, 51))
    assert audit_exit_code(sale.sku) == 0


async def test_one_shopper_fifty_times_and_one_key_fifty_times_over_http(shop: str, publish: Publish) -> None:
    sale = await publish()
    await follows(shop, sale)
    one, other = cookie_of(shopper()), cookie_of(shopper())
    async with client_of(shop, limits=httpx.Limits(max_connections=50), timeout=20) as client:
        codes = [a.status_code for a in await asyncio.gather(*(post(client, sale.sku, one) for _ in range(50)))]
        assert (codes.count(201), codes.count(403)) == (1, 49)
        keyed = await asyncio.gather(*(post(client, sale.sku, other | {"Idempotency-Key": "k"}) for _ in range(50)))
    assert {answer.status_code for answer in keyed} <= {200, 201}
    assert len({answer.json()["data"]["_id"] for answer in keyed}) == 1
    assert await collection("orders").count_documents({"sale": sale.id}) == 2


async def test_mongodb_stopped_during_an_order_is_202_and_then_confirmed_by_itself(
    shop: str, publish: Publish, stores: Stores
) -> None:
    sale = await publish()
    await follows(shop, sale)
    me = cookie_of(shopper())
    async with client_of(shop, timeout=20) as client:
        os.kill(stores.mongo.process.pid, signal.SIGSTOP)
        try:
            answer = await post(client, sale.sku, me | {"Idempotency-Key": "k"})
            assert (answer.status_code, answer.json()["data"]["status"]) == (202, "pending")
            page = await client.get(f"/sales/{sale.sku}/me", headers=me | {"HX-Request": "true"})
            assert 'data-state="pending"' in page.text
        finally:
            os.kill(stores.mongo.process.pid, signal.SIGCONT)

        async def confirmed() -> bool:
            found = await client.get(f"/api/orders/{sale.sku}", headers=me)
            return bool(found.status_code == 200 and found.json()["data"]["status"] == "completed")

        await eventually(confirmed, seconds=20)
        again = await post(client, sale.sku, me | {"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["data"]["_id"]) == (200, answer.json()["data"]["_id"])
    assert await collection("orders").count_documents({"sale": sale.id}) == 1
    assert audit_exit_code(sale.sku) == 0


async def test_redis_stopped_is_503_and_the_shop_recovers_by_itself(
    shop: str, publish: Publish, stores: Stores
) -> None:
    sale = await publish()
    await follows(shop, sale)
    async with client_of(shop, timeout=20) as client:
        os.kill(stores.valkey.process.pid, signal.SIGSTOP)
        try:
            answer = await post(client, sale.sku, cookie_of(shopper()))
            assert (answer.status_code, answer.json()["code"]) == (503, "SALE_NOT_READY")
            assert answer.headers["Retry-After"]
            status = await client.get(f"/api/products/{sale.sku}/sale-status")
            assert status.json()["data"]["phase"] == "not_ready"
            assert (await client.get("/readyz")).status_code == 503
        finally:
            os.kill(stores.valkey.process.pid, signal.SIGCONT)

        async def sells() -> bool:
            return bool((await post(client, sale.sku, cookie_of(shopper()))).status_code == 201)

        await eventually(sells, seconds=20)

    async def balanced() -> bool:
        return audit_exit_code(sale.sku) == 0

    await eventually(balanced, seconds=20)
