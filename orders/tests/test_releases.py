"""Today's code over what other versions have written into all three stores: an update, and a roll back."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, NamedTuple

import httpx
import pytest
from pymongo import MongoClient
from redis import Redis

from conftest import BASE_DIR, Processes, client_of, cookie_of, eventually, fetch, shopper
from flashdrop.embedded.process import free_port
from orders.tests.releases.stores import NEW, RELEASES, filled, from_next_version, recorded

RECORDS = sorted(path.stem for path in RELEASES.glob("*.json"))
SALE = "{running00000}"
DESK_PAGES = (
    "/orders/",
    "/live/",
    "/live/data",
    "/preview/",
    "/check/lines/",
    "/rehearsal/",
    "/rehearsal/progress/",
    "/orders/export/",
    "/report/",
    "/control/",
)


class Shop(NamedTuple):
    """A running shop over recorded stores."""

    url: str
    environment: dict[str, str]
    record: dict[str, Any]


def manage(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BASE_DIR / "manage.py"), *command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ready(url: str) -> bool:
    try:
        return fetch(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module", params=[*RECORDS, "the next version"])
async def shop(request: pytest.FixtureRequest, stores: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Today's web and worker over the record, migrated as an update is."""
    is_next = request.param not in RECORDS
    record = from_next_version(recorded(RECORDS[-1])) if is_next else recorded(request.param)
    started = Processes()
    with filled(record, "recorded", tmp_path_factory.mktemp("recorded")) as environment:
        for step in (("migrate", "--verbosity", "0"), ("ensure_indexes",)):  # the record holds no indexes
            done = manage(*step, **environment)
            assert done.returncode == 0, done.stderr
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        try:
            started.start("serve", "--port", str(port), "--workers", "1", **environment)
            started.start("run_worker", **environment)

            async def answers() -> bool:
                return ready(url)

            await eventually(answers, 30)
            yield Shop(url, environment, record)
        finally:
            started.stop_all()


async def test_every_page_of_the_shop_answers(shop: Shop) -> None:
    async with client_of(shop.url) as client:
        for path in ("/", "/sales/running/", "/sales/over/", "/api/products", "/metrics"):
            assert (await client.get(path)).status_code == 200, path
        phases = {
            sku: (await client.get(f"/api/products/{sku}/sale-status")).json()["data"]["phase"]
            for sku in ("running", "paused", "over")
        }
    assert phases == {"running": "active", "paused": "paused", "over": "ended"}


async def test_shoppers_of_the_other_version_find_their_orders_or_sign_in_anew(shop: Shop) -> None:
    async with client_of(shop.url) as client:
        for name, cookie in shop.record["cookies"].items():
            for path in ("/orders/", "/sales/running/me", "/api/orders"):
                answer = await client.get(path, headers={"Cookie": cookie})
                assert answer.status_code in (200, 401), (name, path, answer.text)


async def test_the_limit_counts_what_the_other_version_has_sold(shop: Shop) -> None:
    async with client_of(shop.url) as client:
        answer = await client.post(
            "/api/orders",
            json={"sku": "running", "quantity": 2, "price": 12900},
            headers=cookie_of(shopper("keeps")),
        )
    assert answer.json()["code"] == "LIMIT_EXCEEDED"


async def test_shoppers_buy_and_read_their_order(shop: Shop) -> None:
    someone = cookie_of(shopper())
    async with client_of(shop.url) as client:
        answer = await client.post(
            "/api/orders", json={"sku": "running", "quantity": 1, "price": 12900}, headers=someone
        )
        assert answer.status_code == 201, answer.text
        mine = await client.get("/api/orders", headers=someone)
    assert [order["_id"] for order in mine.json()["data"]] == [answer.json()["data"]["_id"]]


async def test_what_was_pending_is_finished_and_all_promises_hold(shop: Shop) -> None:
    async def is_finished() -> bool:
        with MongoClient[dict[str, Any]](shop.environment["MONGODB_URL"]) as client:
            found = client.get_default_database()["orders"].find_one({"_id": "order-waits"})
        return found is not None and found["status"] == "completed" and found["name"] == "waits"

    await eventually(is_finished)

    async def holds() -> bool:
        return manage("audit_sale", **shop.environment).returncode == 0

    await eventually(holds)


async def test_saving_keeps_what_only_another_version_knows(shop: Shop) -> None:
    published = manage(
        "shell",
        "-c",
        "from sales.models import Sale; from sales import backoffice;"
        "sale = Sale.objects.get(sku='running'); sale.description = 'Saved anew.'; backoffice.save_and_publish(sale)",
        **shop.environment,
    )
    assert published.returncode == 0, published.stderr
    # A worker that came upon the same save publishes it once more, under a version of its own.
    now, kept = await both_agreed(shop)
    before = next(one for one in shop.record["ledger"]["sales"] if one["sku"] == "running")
    assert now["description"] == "Saved anew."
    assert now["version"] > before["version"]
    assert before.keys() <= now.keys()
    assert now.get(NEW) == before.get(NEW)
    assert kept.get(NEW) == next(value for key, _, value in shop.record["gate"] if key == f"flashdrop:{SALE}:sale").get(
        NEW
    )


async def both_agreed(shop: Shop) -> tuple[dict[str, Any], dict[str, str]]:
    """The running sale in the ledger and at the gate, once both have the same version of it."""
    found: list[tuple[dict[str, Any], dict[str, str]]] = []
    with (
        MongoClient[dict[str, Any]](shop.environment["MONGODB_URL"]) as client,
        Redis.from_url(shop.environment["REDIS_URL"], decode_responses=True) as gate,
    ):

        async def agree() -> bool:
            now = client.get_default_database()["sales"].find_one({"sku": "running"})
            kept = gate.hgetall(f"flashdrop:{SALE}:sale")
            assert now is not None
            found.append((now, kept))
            return bool(kept["version"] == str(now["version"]))

        await eventually(agree)
    return found[-1]


async def test_the_back_office_shows_every_sale_and_order(shop: Shop) -> None:
    with httpx.Client(base_url=shop.url, follow_redirects=True) as staff:
        form = staff.get("/admin/login/")
        signed_in = staff.post(
            "/admin/login/?next=/admin/",
            data={
                "username": "staff",
                "password": "staff-password",
                "csrfmiddlewaretoken": form.cookies["csrftoken"],
            },
            headers={"Referer": f"{shop.url}/admin/login/"},
        )
        assert signed_in.status_code == 200
        base = "/admin/desk/sales/running00000"
        orders = [f"/admin/desk/orders/{one['_id']}/" for one in shop.record["ledger"]["orders"]]
        pages = ["/admin/", "/admin/sales/sale/", "/admin/sales/sale/running00000/change/", "/admin/desk/orders/"]
        found = {page: staff.get(page).status_code for page in (*pages, *orders, *(base + page for page in DESK_PAGES))}
    assert set(found.values()) == {200}, found


async def test_one_sale_that_cannot_be_read_closes_that_sale_alone(shop: Shop) -> None:
    """And nobody is told that it does not exist."""
    with MongoClient[dict[str, Any]](shop.environment["MONGODB_URL"]) as client:
        sales = client.get_default_database()["sales"]
        price = sales.find_one_and_update({"sku": "over"}, {"$unset": {"price_minor": ""}})["price_minor"]
        try:
            async with client_of(shop.url) as web:

                async def is_told() -> bool:
                    return (await web.get("/api/products/over/sale-status")).status_code == 503

                await eventually(is_told)
                assert (await web.get("/api/products/running/sale-status")).json()["data"]["phase"] == "active"
                found = await web.get("/readyz")
                assert found.status_code == 503
                assert "can't read: 1" in found.text
        finally:
            sales.update_one({"sku": "over"}, {"$set": {"price_minor": price}})
