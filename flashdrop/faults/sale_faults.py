"""What a merchandiser does to a sale while it storms, as the admin does it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from flashdrop.faults.back_office import save
from flashdrop.faults.faults import Scene, fault

LOWERED_TO = 120
BELOW_SOLD = 10
PAUSES = 4


@fault("stock-lowered")
async def stock_lowered(scene: Scene) -> None:
    """The stock goes from 200 to 120, then far below what is sold, then up to 200 again."""
    for units in (LOWERED_TO, BELOW_SOLD, scene.sale.stock):
        await save(scene, stock=units)
        await asyncio.sleep(0.7)


@fault("window-moved", moves_window=True)
async def window_moved(scene: Scene) -> None:
    """The window is moved into the future, into the past, and back."""
    now = datetime.now(UTC)
    for opens, closes in ((60, 3600), (-3600, -60), (-60, 3600)):
        await save(scene, opens_at=now + timedelta(seconds=opens), closes_at=now + timedelta(seconds=closes))
        await asyncio.sleep(0.7)


@fault("pause-toggled")
async def pause_toggled(scene: Scene) -> None:
    """The sale is paused and resumed, again and again."""
    for _ in range(PAUSES):
        await save(scene, paused=True)
        await asyncio.sleep(0.3)
        await save(scene, paused=False)
        await asyncio.sleep(0.3)
