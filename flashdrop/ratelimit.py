"""The optional rate limiter: off by default, counted in Redis so that all processes share one budget.

Each request costs one from its client address and, where it has one, one from its browser session: never from a name,
which anybody may give, and use up for whom it belongs to. Windows are fixed.
A limiter that can't count lets requests pass: it protects capacity, the gate protects the stock.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext_noop as _
from limits import RateLimitItemPerSecond
from limits.aio.strategies import FixedWindowRateLimiter
from limits.storage import storage_from_string

from flashdrop import metrics
from flashdrop.config import config
from flashdrop.errors import plain_error
from flashdrop.headers import client_address
from flashdrop.loops import PerLoop
from flashdrop.redis_client import RedisError

AsyncView = Callable[..., Coroutine[Any, Any, HttpResponseBase]]
# A counter slower than this is worth less than the request it holds up.
COUNT_SECONDS = 0.5
log = logging.getLogger(__name__)

_refused = 0
_identify: Callable[[HttpRequest], str | None] = lambda request: None  # noqa: E731


def identify_by(identify: Callable[[HttpRequest], str | None]) -> None:
    """Tell the limiter how to read a session's id from a request: one that nobody but its holder can send."""
    global _identify
    _identify = identify


def _storage_address(redis_url: str) -> str:
    """The library takes the same forms as `REDIS_URL`, but no database number behind a Sentinel's service."""
    if redis_url.startswith("redis+sentinel:"):
        redis_url = re.sub(r"/\d+$", "", redis_url)
    return f"async+{redis_url}"


class RateLimiter:
    """`max_requests` in each window of `window_seconds`, for each key."""

    def __init__(self, redis_url: str, max_requests: int, window_seconds: int) -> None:
        storage = storage_from_string(
            _storage_address(redis_url), implementation="redispy", key_prefix="flashdrop:limits"
        )
        self._limiter = FixedWindowRateLimiter(storage)
        self._item = RateLimitItemPerSecond(max_requests, window_seconds)

    async def retry_after_seconds(self, scope: str, key: str) -> int | None:
        """Count one request; None when it may pass, else the seconds until the window ends."""
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                if await self._limiter.hit(self._item, scope, key):
                    return None
                window = await self._limiter.get_window_stats(self._item, scope, key)
        except (RedisError, TimeoutError) as error:
            log.warning("the rate limiter can't count: %r", error)
            return None
        return max(1, math.ceil(window.reset_time - time.time()))


limiter: PerLoop[RateLimiter] = PerLoop(
    lambda: RateLimiter(config.redis_url, config.rate_limit_max, config.rate_limit_window_seconds)
)


async def refusal(request: HttpRequest) -> HttpResponseBase | None:
    """The 429 for a request over the limit, None for one that may pass."""
    global _refused
    keys = [("address", client_address(request, config.trusted_proxy_count))]
    session_id = _identify(request)
    if session_id is not None:
        keys.append(("session", session_id))
    for scope, key in keys:
        seconds = await limiter().retry_after_seconds(scope, key)
        if seconds is not None:
            metrics.RATE_LIMITED.labels(scope).inc()
            _refused += 1
            message = _("Too many requests. Try again in %(seconds)s s.")
            return plain_error(request, 429, "RATE_LIMITED", message, seconds, seconds=seconds)
    return None


def refused() -> int:
    """Requests that this process has refused since it started."""
    return _refused


def limited(view: AsyncView) -> AsyncView:
    """Count requests to `view` when the limiter is on."""

    async def counted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        refused = await refusal(request)
        return await view(request, *args, **kwargs) if refused is None else refused

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, HttpResponseBase]:
        return counted(request, *args, **kwargs) if config.rate_limiter_enabled else view(request, *args, **kwargs)

    return markcoroutinefunction(checked)
