"""Opening and changing a sale as the admin does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import close_old_connections

from flashdrop.faults.faults import Scene

if TYPE_CHECKING:
    from sales.models import Sale
    from sales.published import PublishedSale
    from sales.publishing import Published


async def open_sale(name: str, stock: int) -> PublishedSale:
    """Publish a new sale that is open for an hour."""
    from sales.models import Sale, new_sale_id  # Django's settings are there by now

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
    published = await asyncio.to_thread(_save_and_publish, row)
    assert published is not None
    return published.sale


async def change(sale_id: str, **changes: Any) -> None:
    """Save and publish a sale with these fields changed."""
    from sales.models import Sale

    def saved() -> None:
        close_old_connections()
        row = Sale.objects.get(pk=sale_id)
        for name, value in changes.items():
            setattr(row, name, value)
        _save_and_publish(row)

    await asyncio.to_thread(saved)


async def save(scene: Scene, **changes: Any) -> None:
    """`change` of the sale that the shoppers buy from."""
    await change(scene.sale.id, **changes)


def _save_and_publish(row: Sale) -> Published | None:
    from sales import backoffice

    close_old_connections()  # the database may be one of those that were killed
    return backoffice.save_and_publish(row)
