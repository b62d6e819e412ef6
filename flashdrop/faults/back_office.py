"""Opening and changing a sale as the admin does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from flashdrop.faults.faults import Scene

if TYPE_CHECKING:
    from sales.published import PublishedSale


async def open_sale(name: str, stock: int) -> PublishedSale:
    """Publish a new sale that is open for an hour."""
    from sales import backoffice  # Django's settings are there by now
    from sales.models import Sale, new_sale_id

    now = datetime.now(UTC).replace(microsecond=0)
    sale_id = new_sale_id()
    row = Sale(
        id=sale_id,
        sku=f"sku-{sale_id}",
        name=name,
        price_minor=12900,
        stock=stock,
        opens_at=now - timedelta(minutes=1),
        closes_at=now + timedelta(hours=1),
        published=True,
    )
    published = await asyncio.to_thread(backoffice.save_and_publish, row)
    assert published is not None
    return published.sale


async def save(scene: Scene, **changes: Any) -> None:
    """Save and publish the sale with these fields changed."""
    from sales import backoffice
    from sales.models import Sale

    row = await Sale.objects.aget(pk=scene.sale.id)
    for name, value in changes.items():
        setattr(row, name, value)
    await asyncio.to_thread(backoffice.save_and_publish, row)
