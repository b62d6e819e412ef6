"""A sale that has sold a lot already."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from flashdrop.faults.cluster import Cluster
from flashdrop.faults.processes import until
from flashdrop.faults.ready import shows_active
from orders import ledger
from orders.order import Order, OrderStatus
from orders.rebuild import rebuild
from sales import catalogue
from sales.published import PublishedSale

BATCH = 1000
SHOWN_SECONDS = 15.0


async def sell_before(cluster: Cluster, sale: PublishedSale, count: int) -> PublishedSale:
    """Write `count` orders of one unit each into the ledger and load the gate from it. The workers wait meanwhile."""
    for worker in cluster.workers:
        worker.kill()
    now = datetime.now(UTC)
    for first in range(1, count + 1, BATCH):
        await ledger.insert([_order(sale, unit, now) for unit in range(first, min(first + BATCH, count + 1))], now)
    await rebuild(sale)
    for web in cluster.webs:
        port = web.port
        await until(lambda port=port: shows_active(port, sale.sku), SHOWN_SECONDS, "the sale is loaded")  # type: ignore[misc]
    for worker in cluster.workers:
        worker.start()
    await asyncio.sleep(2)
    return await catalogue.get(sale.id) or sale


def _order(sale: PublishedSale, unit: int, now: datetime) -> Order:
    return Order(
        id=f"{sale.id}{unit:012d}",
        sale_id=sale.id,
        sku=sale.sku,
        shopper_id=f"before-{sale.id}-{unit}",
        shopper_name="before",
        session_id="",
        key_digest=None,
        units=(unit,),
        slots=(1,),
        quantity=1,
        price_minor=sale.price_minor,
        currency=sale.currency,
        status=OrderStatus.COMPLETED,
        reserved_at=now,
        created_at=now,
    )
