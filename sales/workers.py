"""Whether a worker looks after the shop, by what workers leave at the gate."""

from __future__ import annotations

from enum import StrEnum

from flashdrop.redis_client import Gate
from sales.keys import WORKER_ALIVE, WORKER_HEARTBEAT


class WorkerState(StrEnum):
    """What is known of the workers, all of them together."""

    AT_WORK = "at work"
    """One has completed a round lately."""
    WAITING = "waiting"
    """One runs, and completes no round: the ledger keeps it waiting, or a long rebuild does."""
    MISSING = "missing"


async def worker_state(client: Gate) -> WorkerState:
    """Ask the gate.

    Raises:
        redis.exceptions.RedisError: it can't be asked.
    """
    # One after the other: in a Cluster the two keys are on different nodes.
    if await client.exists(WORKER_HEARTBEAT):
        return WorkerState.AT_WORK
    return WorkerState.WAITING if await client.exists(WORKER_ALIVE) else WorkerState.MISSING
