"""The Redis connection: one bounded, blocking pool per event loop."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashdrop.config import config
from flashdrop.loops import PerLoop

__all__ = ["RedisError", "new_redis", "redis"]

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
MAX_CONNECTIONS = 16
POOL_WAIT_SECONDS = 1.0
RETRIES = 1


def new_redis(url: str) -> Redis:
    """A client whose every call ends within a few seconds, whatever the server does.

    redis-py repeats a command whose connection broke, scripts included: safe here because each script is idempotent by
    order id or by version. One repeat covers a connection that died while idle; more would hide an outage.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=POOL_WAIT_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), RETRIES),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        health_check_interval=15,
        decode_responses=True,
    )
    return Redis(connection_pool=pool)


async def _close(client: Redis) -> None:
    await client.aclose()
    await client.connection_pool.disconnect()


redis: PerLoop[Redis] = PerLoop(lambda: new_redis(config.redis_url), _close)
