"""`/healthz`: this process answers. `/readyz`: it can sell."""

from __future__ import annotations

import asyncio
import logging

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from flashdrop import supervised
from flashdrop.api import page
from flashdrop.mongo_client import PyMongoError, mongo, within
from flashdrop.redis_client import RedisError, redis
from sales.board import STALE_SECONDS, Board, current_board
from sales.keys import WORKER_HEARTBEAT
from sales.showing import Phase

CHECK_SECONDS = 2.0
log = logging.getLogger(__name__)


@page("GET", at_once=True)
async def healthz(request: HttpRequest) -> HttpResponseBase:
    """Alive."""
    return _uncached({"status": "ok"}, 200)


@page("GET")
async def readyz(request: HttpRequest) -> HttpResponseBase:
    """Stores reachable and every published sale loaded; otherwise 503 with the reasons.

    A missing worker is a warning: this process sells truthfully without one, and must not be taken out of service for
    it. What waits for a worker is what other processes have left behind. So is a background loop that fails: they make
    figures. What the board's makes is judged by what the board shows.
    """
    board = await current_board()
    redis_reason, mongo_reason, worker_warning = await asyncio.gather(
        _redis_reason(), _mongo_reason(), _worker_warning()
    )
    reasons = [reason for reason in (redis_reason, mongo_reason) if reason] + _board_reasons(board)
    found = {
        "status": "not ready" if reasons else "ready",
        "reasons": reasons,
        "warnings": [*([worker_warning] if worker_warning else []), *_loop_warnings()],
    }
    return _uncached(found, 503 if reasons else 200)


def _board_reasons(board: Board) -> list[str]:
    if not board.is_known:
        return ["the ledger's sales have not been read yet"]
    reasons = [
        f"sale {showing.sale.sku}: not loaded at the gate"
        for showing in board.by_sku.values()
        if showing.phase is Phase.NOT_READY
    ]
    if board.unreadable:
        reasons.append(f"the ledger has sales that this version can't read: {board.unreadable}")
    if board.age_seconds > 2 * STALE_SECONDS:
        reasons.append("the board is stale: the gate has not answered")
    return reasons


def _loop_warnings() -> list[str]:
    return [f"background loop {name} fails; see the log" for name in supervised.failing()]


async def _redis_reason() -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await redis().ping()
    except (RedisError, TimeoutError) as error:
        log.warning("Redis is not ready: %r", error)
        return "Redis does not answer"
    return None


async def _mongo_reason() -> str | None:
    try:
        await within(CHECK_SECONDS, _ping_mongo())
    except (PyMongoError, TimeoutError) as error:
        log.warning("MongoDB is not ready: %r", error)
        return "MongoDB does not answer"
    return None


async def _worker_warning() -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            is_alive = await redis().exists(WORKER_HEARTBEAT)
    except (RedisError, TimeoutError):
        return None  # said already
    return None if is_alive else "no worker is running: orders that a process leaves behind wait for one"


async def _ping_mongo() -> None:
    await mongo().admin.command("ping")


def _uncached(data: object, status: int) -> JsonResponse:
    response = JsonResponse(data, status=status, safe=False)
    response.headers["Cache-Control"] = "no-store"
    return response
