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
    UNKNOWN = "unknown"
    """None has left anything lately, and the gate takes no writes: they may well run."""


async def worker_state(client: Gate, *, takes_writes: bool = True) -> WorkerState:
    """Ask the gate, which `takes_writes` as far as the caller knows.

    Raises:
        redis.exceptions.RedisError: it can't be asked.
    """
    # One after the other: in a Cluster the two keys are on different nodes.
    if await client.exists(WORKER_HEARTBEAT):
        return WorkerState.AT_WORK
    if await client.exists(WORKER_ALIVE):
        return WorkerState.WAITING
    return WorkerState.MISSING if takes_writes else WorkerState.UNKNOWN
