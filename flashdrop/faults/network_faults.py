"""Faults of the network between the shop and its stores, by a TCP proxy."""

from __future__ import annotations

import asyncio

from flashdrop.faults.faults import Scene, fault
from flashdrop.faults.proxy import Proxy, Weather

HANGING_SECONDS = 5.0
RESETTING_SECONDS = 2.0
SLOW_SECONDS = 4.0


@fault("redis-connection-hangs", topology="proxied", settles_in=30)
async def redis_connection_hangs(scene: Scene) -> None:
    """Connections to Redis stand, and nothing passes for 5 s."""
    await _weather(scene.cluster.redis_proxy, Weather.HANGING, HANGING_SECONDS)


@fault("redis-connection-resets", topology="proxied", settles_in=30)
async def redis_connection_resets(scene: Scene) -> None:
    """Every connection to Redis is reset, old and new, for 2 s."""
    await _weather(scene.cluster.redis_proxy, Weather.RESETTING, RESETTING_SECONDS)


@fault("redis-connection-slow", topology="proxied")
async def redis_connection_slow(scene: Scene) -> None:
    """Everything to and from Redis takes 0.3 s longer, for 4 s."""
    await _weather(scene.cluster.redis_proxy, Weather.SLOW, SLOW_SECONDS)


@fault("mongodb-connection-hangs", topology="proxied", settles_in=30)
async def mongodb_connection_hangs(scene: Scene) -> None:
    """Connections to MongoDB stand, and nothing passes for 5 s."""
    await _weather(scene.cluster.mongo_proxy, Weather.HANGING, HANGING_SECONDS)


@fault("mongodb-connection-resets", topology="proxied", settles_in=30)
async def mongodb_connection_resets(scene: Scene) -> None:
    """Every connection to MongoDB is reset, old and new, for 2 s."""
    await _weather(scene.cluster.mongo_proxy, Weather.RESETTING, RESETTING_SECONDS)


@fault("mongodb-connection-slow", topology="proxied")
async def mongodb_connection_slow(scene: Scene) -> None:
    """Everything to and from MongoDB takes 0.3 s longer, for 4 s."""
    await _weather(scene.cluster.mongo_proxy, Weather.SLOW, SLOW_SECONDS)


async def _weather(proxy: Proxy | None, weather: Weather, seconds: float) -> None:
    assert proxy is not None
    proxy.change(weather)
    try:
        await asyncio.sleep(seconds)
    finally:
        proxy.change(Weather.FAIR)
