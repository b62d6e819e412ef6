"""`/healthz`: this process answers. `/readyz`: it can sell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from flashdrop import siblings, supervised
from flashdrop.api import page
from flashdrop.mongo_client import PyMongoError, within
from flashdrop.redis_client import RedisError, redis
from sales import catalogue
from sales.board import STALE_SECONDS, Board, current_board
from sales.doubts import Doubt
from sales.workers import WorkerState, worker_state

CHECK_SECONDS = 2.0
# What was published a moment ago is on every board within about a second.
CATCH_UP_SECONDS, CATCH_UP_TRIES = 1.5, 15
MONGODB_SILENT = "MongoDB does not answer"
WORKER_WARNINGS = {
    WorkerState.MISSING: "no worker is running: orders that a process leaves behind wait for one",
    WorkerState.WAITING: "the workers complete no round: orders that a process leaves behind wait for them",
}
log = logging.getLogger(__name__)


@page("GET", at_once=True)
async def healthz(request: HttpRequest) -> HttpResponseBase:
    """Alive."""
    return _uncached({"status": "ok"}, 200)


@page("GET")
async def readyz(request: HttpRequest) -> HttpResponseBase:
    """Stores reachable and fit to sell by, and every published sale shown and loaded, by every web process of this
    host; otherwise 503 with the reasons.

    A missing worker is a warning: this process sells truthfully without one, and must not be taken out of service for
    it. What waits for a worker is what other processes have left behind. So is a background loop that fails: they make
    figures. What the board's makes is judged by what the board shows.
    """
    board = await current_board()
    redis_reason, published, worker_warning = await asyncio.gather(
        _redis_reason(), _published(), _worker_warning(board)
    )
    reasons = [reason for reason in (redis_reason, None if published is not None else MONGODB_SILENT) if reason]
    reasons += await _board_reasons(board, published or {}, is_patient=not reasons)
    found = {
        "status": "not ready" if reasons else "ready",
        "reasons": reasons,
        "warnings": [*([worker_warning] if worker_warning else []), *_loop_warnings()],
    }
    return _uncached(found, 503 if reasons else 200)


async def _board_reasons(board: Board, published: Mapping[str, str], is_patient: bool) -> list[str]:
    """Where the stores are well a board may only have to catch up: it is given a moment."""
    reasons = _behind(board, published)
    for _ in range(CATCH_UP_TRIES if is_patient and not board.doubts else 0):
        if not reasons:
            break
        await asyncio.sleep(CATCH_UP_SECONDS / CATCH_UP_TRIES)
        reasons = _behind(board, published)
    return [*board.doubts.values(), *reasons]


def _behind(board: Board, published: Mapping[str, str]) -> list[str]:
    if not board.is_known:
        return ["the ledger's sales have not been read yet"]
    shown = {showing.sale.id for showing in board.by_sku.values()}
    reasons = [f"sale {sku}: not shown yet" for sale_id, sku in published.items() if sale_id not in shown]
    if not board.doubts:
        reasons += [f"sale {sku}: not loaded at the gate" for sku in board.unloaded]
    if board.unreadable:
        reasons.append(f"the ledger has sales that this version can't read: {board.unreadable}")
    if board.age_seconds > 2 * STALE_SECONDS:
        reasons.append("the board is stale: the gate has not answered")
    late = siblings.siblings.behind(board.shown_sum)
    if late:
        reasons.append(f"web processes of this host that are not ready, or don't show every published sale: {late}")
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


async def _published() -> dict[str, str] | None:
    """The published sales, id to sku; None when the ledger does not answer."""
    try:
        return await within(CHECK_SECONDS, catalogue.published())
    except (PyMongoError, TimeoutError) as error:
        log.warning("MongoDB is not ready: %r", error)
        return None


async def _worker_warning(board: Board) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            state = await worker_state(redis(), takes_writes=Doubt.WRITES not in board.doubts)
    except (RedisError, TimeoutError):
        return None  # said already
    return WORKER_WARNINGS.get(state)


def _uncached(data: object, status: int) -> JsonResponse:
    response = JsonResponse(data, status=status, safe=False)
    response.headers["Cache-Control"] = "no-store"
    return response
