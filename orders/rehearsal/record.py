"""How a rehearsal goes and went, kept where every web process finds it, for an hour.

Every function raises `redis.exceptions.RedisError` when the gate can't be asked.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson

from flashdrop.redis_client import redis
from sales.keys import REHEARSAL_UNDER_WAY, rehearsal_record

KEPT_SECONDS = 3600
# Longer than any rehearsal takes: with its process gone, the next one may begin after this.
LEASE_SECONDS = 60
SILENT = timedelta(seconds=20)
log = logging.getLogger(__name__)


class State(StrEnum):
    """How a rehearsal stands."""

    RUNNING = "running"
    HELD = "held"
    FAILED = "failed"
    """A step showed what it should not have."""
    BROKEN_OFF = "broken_off"
    """It did not come to its end: a store was away, or the process that ran it has gone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a merchandiser asks for: how many test shoppers for how many units."""

    shoppers: int
    units: int


@dataclass(slots=True)
class Step:
    """One thing that the rehearsal shows; `holds` is None while it is under way."""

    name: str
    found: str = ""
    holds: bool | None = None


@dataclass(slots=True)
class Record:
    """A rehearsal, as far as it has come."""

    id: str
    plan: Plan
    by: str
    began_at: datetime
    told_at: datetime
    state: State = State.RUNNING
    summary: str = ""
    steps: list[Step] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        return self.state is State.RUNNING


async def begin(sale_id: str, record: Record) -> bool:
    """Keep a new record, unless a rehearsal is under way, of this sale or of another; then False."""
    if not await redis().set(REHEARSAL_UNDER_WAY, record.id, nx=True, ex=LEASE_SECONDS):
        return False
    await tell(sale_id, record)
    return True


async def tell(sale_id: str, record: Record) -> None:
    """Keep the record as it is now."""
    record.told_at = datetime.now(UTC)
    await redis().set(rehearsal_record(sale_id), orjson.dumps(asdict(record)), ex=KEPT_SECONDS)


async def end(record: Record) -> None:
    """Let the next rehearsal begin."""
    if await redis().get(REHEARSAL_UNDER_WAY) == record.id:
        await redis().delete(REHEARSAL_UNDER_WAY)


async def last(sale_id: str) -> Record | None:
    """The sale's last rehearsal of the last hour. One that has fallen silent is broken off."""
    text = await redis().get(rehearsal_record(sale_id))
    if text is None:
        return None
    try:
        record = _read(orjson.loads(text))
    except (KeyError, TypeError, ValueError) as error:  # another version's, and too different
        log.warning("the record of a rehearsal can't be read: %r", error)
        return None
    if record.is_running and datetime.now(UTC) - record.told_at > SILENT:
        record.state = State.BROKEN_OFF
        record.summary = "The process that ran it has gone. Nothing of it can be bought; rehearse again."
    return record


def _read(kept: dict[str, Any]) -> Record:
    """A record, of whatever version: fields that only another one knows are left out."""
    return Record(
        **_known(Record, kept)
        | {
            "plan": Plan(**_known(Plan, kept["plan"])),
            "state": State(kept["state"]),
            "steps": [Step(**_known(Step, step)) for step in kept["steps"]],
            "began_at": datetime.fromisoformat(kept["began_at"]),
            "told_at": datetime.fromisoformat(kept["told_at"]),
        }
    )


def _known(kind: type[Record | Plan | Step], kept: dict[str, Any]) -> dict[str, Any]:
    return {one.name: kept[one.name] for one in fields(kind) if one.name in kept}
