"""Record what a version writes into its stores: `python orders/tests/releases/record.py <file>`, in its checkout.

To be run once for each release; `orders/tests/test_releases.py` starts today's code over every record that is kept. It
starts stores of its own, goes through what shoppers and staff do, and writes down all that is in the stores afterwards.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))
SECRET_KEY = "tests-only"


def main(target: Path) -> None:
    """Record into `target`."""
    from flashdrop.embedded.mongo_server import start_mongo
    from flashdrop.embedded.redis_server import start_redis

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        redis, redis_url = start_redis(folder / "redis")
        mongo, mongo_url = start_mongo(folder / "mongo")
        os.environ.update(
            SECRET_KEY=SECRET_KEY,
            ALLOWED_HOSTS="testserver",
            REDIS_URL=redis_url,
            MONGODB_URL=mongo_url,
            DATABASE_URL=f"sqlite:///{folder}/db.sqlite3",
            FLASHDROP_DATA_DIR=name,
            DJANGO_SETTINGS_MODULE="flashdrop.settings",
        )
        try:
            cookies = _go_through_a_day()
            found = {
                "cookies": cookies,
                "ledger": _ledger(mongo_url),
                "gate": _gate(redis_url),
                "back_office": "\n".join(sqlite3.connect(folder / "db.sqlite3").iterdump()),
            }
        finally:
            redis.stop()
            mongo.stop()
    target.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _go_through_a_day() -> dict[str, str]:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("ensure_indexes")

    from django.contrib.auth.models import User

    from flashdrop import loops
    from sales import backoffice
    from sales.desk import journal
    from sales.models import Sale

    staff = User.objects.create_superuser("staff", password="staff-password")
    now = datetime.now(UTC).replace(microsecond=0)
    sales = {}
    for sku, changes in {
        "running": {},
        "paused": {"paused": True},
        "over": {"closes_at": now - timedelta(days=1)},
        "draft": {"published": False},
    }.items():
        standard: dict[str, Any] = {
            "id": f"{sku:0<12}",
            "sku": sku,
            "name": f"A lamp, {sku}",
            "description": "Recorded.",
            "price_minor": 12900,
            "stock": 50,
            "limit_per_shopper": 3,
            "opens_at": now - timedelta(days=2),
            "closes_at": now + timedelta(days=20_000),
            "published": True,
        }
        sales[sku] = Sale(**standard | changes)
        backoffice.save_and_publish(sales[sku])
    journal.note(staff, sales["running"], "extended", [journal.Change("Closes", "then", "later")], "asked for")
    return loops.run(lambda: _shop(sales["running"].settings()))


async def _shop(sale: Any) -> dict[str, str]:
    import httpx

    from flashdrop.asgi import application
    from flashdrop.redis_client import redis
    from orders import cancelling, ledger, ledger_desk
    from orders.identity import COOKIE, cookie_value, sign_in
    from orders.ledger_desk import Event
    from orders.order import context_of, pending_order
    from orders.rehearsal import record
    from orders.worker import Worker
    from sales import catalogue, stock, tally
    from sales.board import board
    from sales.gate import Wish

    people = {name: sign_in(name) for name in ("keeps", "cancels", "collects", "waits", "is given up")}
    cookies = {name: f"{COOKIE}={cookie_value(one)}" for name, one in people.items()}
    board().start()
    await board().wait_for_first()
    bought = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://testserver") as shop:
        for name in ("keeps", "cancels", "collects"):
            answer = await shop.post(
                "/api/orders",
                json={"sku": sale.sku, "quantity": 2, "price": 12900},
                headers={"Cookie": cookies[name], "Idempotency-Key": name},
            )
            assert answer.status_code == 201, answer.text
            bought[name] = answer.json()["data"]["_id"]
    await cancelling.cancel(bought["cancels"], "staff", "asked for")
    await ledger_desk.fulfil(bought["collects"], Event(datetime.now(UTC), "fulfilled", "staff", ""))
    published = await catalogue.get(sale.id)
    assert published is not None
    for name in ("waits", "is given up"):
        one = people[name]
        wish = Wish(
            f"order-{name.replace(' ', '-')}", one.id, 1, False, context_of(sale.sku, one.name, one.session_id, None)
        )
        (answer,) = await stock.reserve(redis(), sale.id, published.epoch, [wish])
        if name == "is given up":
            await ledger.give_up(pending_order(answer.reservation), datetime.now(UTC))
            await stock.release(redis(), sale.id, [(one.id, wish.order_id)])
    kept = record.Record("a" * 12, record.Plan(5, 3), "staff", datetime.now(UTC), datetime.now(UTC))
    kept.steps.append(record.Step("opens", "it did", True))
    kept.state, kept.summary = record.State.HELD, "All was shown."
    await record.tell(sale.id, kept)
    await tally.writer().write()
    await asyncio.sleep(1)
    # Long before the grace is over, so that what is pending stays so.
    await Worker().round()
    return cookies


def _ledger(url: str) -> dict[str, Any]:
    from bson import json_util
    from pymongo import MongoClient

    with MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        return {
            name: json.loads(json_util.dumps(list(database[name].find())))
            for name in sorted(database.list_collection_names())
        }


def _gate(url: str) -> list[list[Any]]:
    from redis import Redis

    client = Redis.from_url(url, decode_responses=True)
    found: list[list[Any]] = []
    for key in sorted(client.scan_iter()):
        kind = client.type(key)
        if kind == "string" and client.getrange(key, 0, 3) == "HYLL":
            continue  # a count in Redis' own format
        read = {
            "string": client.get,
            "hash": client.hgetall,
            "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
            "stream": client.xrange,
        }[kind]
        found.append([key, kind, read(key)])
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
