"""How quick the desk is with many orders: `python -m flashdrop.bench.desk [--orders N]`.

The ledger is filled by its own functions; then each page is asked for over HTTP, from a real `serve`.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from statistics import median
from typing import Any
from urllib.parse import quote, urlencode

from flashdrop.bench.offers import settings_for
from flashdrop.bench.shop import running_shop
from flashdrop.bench.stores import own_stores

RUNS = 20
TARGET_MS = 300
BATCH = 5000
ONE_CANCELLED_IN, FULFILLED_PERCENT = 5000, 60
SALE_ID = "benchdesk001"


@dataclass(frozen=True, slots=True)
class Filled:
    """What was written, as far as the searches need it."""

    orders: int
    order_id: str
    shopper: str
    unit: int
    began_at: datetime
    ended_at: datetime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    orders: int = parser.parse_args().orders
    with own_stores() as stores:
        import django

        django.setup()
        from django.core.management import call_command

        from flashdrop import loops

        call_command("migrate", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        began = time.monotonic()
        filled = loops.run(lambda: fill(orders))
        print(f"{orders:,} orders written in {time.monotonic() - began:.0f} s", flush=True)
        with running_shop(stores, workers=1) as shop:
            slow = measure(shop.port, session(), filled)
    return 1 if slow else 0


async def fill(orders: int) -> Filled:
    """Write `orders` orders of one sale, over two hours: the older 60% fulfilled, of the others one in 5,000 cancelled.

    As the ledger writes them, but not each batch on disk before the next.
    """
    import asyncio

    from pymongo import WriteConcern

    from orders import indexes, ledger_desk
    from orders.documents import orders_collection, to_document
    from orders.identity import shopper_id
    from orders.ledger_desk import Event
    from orders.order import Order, OrderStatus
    from sales import publishing

    sale = (await publishing.publish(settings_for(SALE_ID, orders + 1, timedelta(hours=-2)))).sale
    write_row(sale.stock)
    ended_at = datetime.now(UTC)
    began_at = ended_at - timedelta(hours=2)
    middle = orders // 2 + 1
    order_id = f"{middle:024x}"
    common = Order(
        id="",
        sale_id=sale.id,
        sku=sale.sku,
        shopper_id="",
        shopper_name="",
        session_id="bench",
        key_digest=None,
        units=(),
        slots=(1,),
        quantity=1,
        price_minor=sale.price_minor,
        currency=sale.currency,
        status=OrderStatus.COMPLETED,
        reserved_at=began_at,
        created_at=None,
    )

    def document(unit: int) -> dict[str, Any]:
        name, at = f"shopper {unit}", began_at + unit / orders * (ended_at - began_at)
        order = common._replace(
            id=f"{unit:024x}", shopper_id=shopper_id(name), shopper_name=name, units=(unit,), reserved_at=at
        )
        is_fulfilled = unit * 100 <= orders * FULFILLED_PERCENT
        return to_document(order, at) | ({"fulfilled_at": ended_at} if is_fulfilled else {})

    quick = orders_collection().with_options(write_concern=WriteConcern(w=1))
    writing: asyncio.Task[Any] | None = None
    for start in range(1, orders + 1, BATCH):  # the next is made while one is written
        batch = [document(unit) for unit in range(start, min(start + BATCH, orders + 1))]
        if writing:
            await writing
        writing = asyncio.create_task(quick.insert_many(batch, ordered=False))
        await asyncio.sleep(0)
    if writing:
        await writing
    await indexes.ensure_indexes()  # after the orders: built at once, they take a fraction of the time
    for unit in range(orders, orders * FULFILLED_PERCENT // 100 + 1, -ONE_CANCELLED_IN):
        await ledger_desk.cancel(f"{unit:024x}", Event(ended_at, "cancelled", "bench", "to be found"))
    return Filled(orders, order_id, f"shopper {middle}", middle, began_at, ended_at)


def write_row(stock: int) -> None:
    """The sale in the back office's table, for the pages; from a thread without a loop, as Django wants it."""
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import asdict

    from sales.models import Sale

    values = asdict(settings_for(SALE_ID, stock, timedelta(hours=-2)))
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: Sale.objects.create(**values, version=1)).result()


def session() -> str:
    """The session cookie of somebody who may see all."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create(username="bench", is_staff=True, is_superuser=True))
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def measure(port: int, cookie: str, filled: Filled) -> list[str]:
    """Ask for each page `RUNS` times and print how long it took. Returns the names of those that were too slow."""
    from django.urls import reverse

    here, everywhere = reverse("desk:sale_orders", args=[SALE_ID]), reverse("desk:orders")
    middle = filled.began_at + (filled.ended_at - filled.began_at) / 2
    window = {"since": f"{middle:%Y-%m-%dT%H:%M:%S}", "until": f"{middle + timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}"}
    pages = {
        "the list": here,
        "a page in the middle": f"{here}?after={round(middle.timestamp() * 1000)}-{filled.order_id}",
        "one order": reverse("desk:order", args=[filled.order_id]),
        "by order id": f"{here}?q={filled.order_id}",
        "by order id, in all sales": f"{everywhere}?q={filled.order_id}",
        "by shopper": f"{here}?q={quote(filled.shopper)}",
        "by shopper, in all sales": f"{everywhere}?q={quote(filled.shopper)}",
        "by unit": f"{here}?q=%23{filled.unit}",
        "a name nobody has": f"{here}?q=nobody+at+all",
        "by time": f"{here}?{urlencode(window)}",
        "by time and state": f"{here}?{urlencode(window | {'state': 'fulfilled'})}",
        "open": f"{here}?state=open",
        "fulfilled": f"{here}?state=fulfilled",
        "cancelled (a few)": f"{here}?state=cancelled",
        "not confirmed (none)": f"{here}?state=released",
        "the live view's figures": reverse("desk:live_data", args=[SALE_ID]),
        "first byte of the export": f"{here}export/?format=csv",
    }
    slow = []
    print(f"{filled.orders:,} orders, {RUNS} requests each over HTTP, milliseconds to the first byte:")
    for name, path in pages.items():
        ask(port, cookie, path)  # once, so that the first connection of a process is not what is measured
        taken = sorted(ask(port, cookie, path) for _ in range(RUNS))
        p95 = taken[ceil(0.95 * RUNS) - 1]
        print(f"  {name:<28} median {median(taken):6.0f}   p95 {p95:6.0f}{'   SLOW' if p95 > TARGET_MS else ''}")
        if p95 > TARGET_MS:
            slow.append(name)
    return slow


def ask(port: int, cookie: str, path: str) -> float:
    """Milliseconds until a page's first byte, which must be a 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    began = time.perf_counter()
    connection.request("GET", path, headers={"Cookie": cookie})
    answer = connection.getresponse()
    answer.read(1)
    taken = (time.perf_counter() - began) * 1000
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}")
    return taken


if __name__ == "__main__":
    sys.exit(main())
