"""Changing a sale as the admin does."""

from __future__ import annotations

import asyncio
from typing import Any

from flashdrop.faults.faults import Scene


async def save(scene: Scene, **changes: Any) -> None:
    """Save and publish the sale with these fields changed."""
    from sales import backoffice  # Django's settings are there by now
    from sales.models import Sale

    row = await Sale.objects.aget(pk=scene.sale.id)
    for name, value in changes.items():
        setattr(row, name, value)
    await asyncio.to_thread(backoffice.save_and_publish, row)
