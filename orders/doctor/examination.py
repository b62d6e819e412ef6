"""The whole examination: every area, each within a bounded time, whatever the stores do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from flashdrop.config import Config, ConfigError
from flashdrop.mongo_client import Document, PyMongoError, within
from flashdrop.primaries import Primary, primaries
from flashdrop.redis_client import RedisError, redis
from orders.doctor import mongodb_servers
from orders.doctor.clocks import Clock, Offset, host_clock, judge_offsets, measure
from orders.doctor.configuration import check_configuration
from orders.doctor.finding import Area, Finding, Notes
from orders.doctor.ledger_indexes import check_indexes
from orders.doctor.mongodb_servers import check_ledger
from orders.doctor.published_sales import check_sales
from orders.doctor.redis_servers import check_primary

# Longer than the clients' own limits for one call, shorter than anybody's patience.
REACH_SECONDS = 4.0
CHECK_SECONDS = 8.0


async def examine(config: Config, clock: Clock = host_clock) -> list[Finding]:
    """All findings, in the order of their areas. Leaves nothing behind, raises nothing that a store could cause.

    A store that does not answer is one finding; what depends on it is left out. `clock` is this host's.
    """
    gate, ledger = await asyncio.gather(_reach_redis(config), _reach_mongodb(config))
    servers = gate if isinstance(gate, list) else []
    hello = ledger if isinstance(ledger, dict) else None
    work = [_bounded(Area.REDIS, server.address, partial(check_primary, server)()) for server in servers]
    if hello is not None:
        work += [_bounded(Area.MONGODB, "ledger", check_ledger(hello)), _bounded(Area.INDEXES, "all", check_indexes())]
    if servers and hello is not None:
        work.append(_bounded(Area.SALES, "all", check_sales()))
    found = await asyncio.gather(*work)
    # By itself, last: on a busy loop a round trip is longer than it need be.
    clocks = await _bounded(Area.CLOCKS, "all", _clocks(servers, hello is not None, clock))
    unreached = [one for one in (gate, ledger) if isinstance(one, Finding)]
    everything = [*check_configuration(config), *unreached, *(one for part in found for one in part), *clocks]
    return sorted(everything, key=lambda finding: list(Area).index(finding.area))


async def _reach_redis(config: Config) -> list[Primary] | Finding:
    """The servers that take writes, or the one finding about why there is none."""
    notes, where = Notes(Area.REDIS), _without_password(config.redis_url)
    try:
        return await within(REACH_SECONDS, _greet())
    except ConfigError as error:
        notes.at_risk("REDIS_URL", str(error), "correct REDIS_URL; docs/reference/configuration.md has its forms")
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        notes.at_risk(
            "no answer",
            f"{where} can't be used ({_reason(error)}): every sale answers 503 (promise 8). Nothing else of Redis, the "
            "worker and the sales was checked",
            "start the server, or correct REDIS_URL, its user and its password",
        )
    return notes.findings[0]


async def _greet() -> list[Primary]:
    await redis().ping()
    return await primaries(redis())


async def _reach_mongodb(config: Config) -> Document | Finding:
    """What the ledger's server says of itself, or the one finding about why there is none."""
    notes = Notes(Area.MONGODB)
    try:
        try:
            return await within(REACH_SECONDS, mongodb_servers.hello())
        except (PyMongoError, TimeoutError) as error:
            return await within(REACH_SECONDS, mongodb_servers.why_no_primary(config.mongodb_url, error))
    except Exception as error:  # the driver raises other libraries' errors for an address that it can't resolve
        notes.at_risk(
            "MONGODB_URL",
            f"{_without_password(config.mongodb_url)} can't be used ({_reason(error)}): orders stay 202 (promise 4). "
            "Nothing else of the ledger, its indexes and the sales was checked",
            "correct MONGODB_URL; docs/reference/configuration.md",
        )
    return notes.findings[0]


async def _bounded(area: Area, name: str, work: Coroutine[Any, Any, list[Finding]]) -> list[Finding]:
    """The findings of one check; one finding instead when it did not come to an end."""
    try:
        return await within(CHECK_SECONDS, work)
    except Exception as error:  # a hosted server's odd answer must not hide what the other checks found
        notes = Notes(area, name)
        notes.at_risk(
            "not finished",
            f"a store stopped answering, or said what can't be understood: {type(error).__name__}: {_reason(error)} "
            "(promise 8)",
            "run `manage.py doctor` again; if it stays so, the server's log says more",
        )
        return notes.findings


async def _clocks(servers: list[Primary], ledger_answers: bool, clock: Clock) -> list[Finding]:
    offsets: list[Offset] = []
    notes = Notes(Area.CLOCKS)
    asked = {f"Redis {server.address}": (server.time, True) for server in servers}
    if ledger_answers:
        asked["MongoDB"] = (_ledger_time, False)
    for name, (ask, decides_window) in asked.items():
        try:
            offsets.append(await measure(name, ask, clock, decides_window=decides_window))
        except (RedisError, PyMongoError) as error:
            notes.advice(name, f"its clock could not be read: {_reason(error)}", "run `manage.py doctor` again")
    return [*notes.findings, *judge_offsets(offsets)]


async def _ledger_time() -> datetime:
    now: datetime = (await mongodb_servers.hello())["localTime"]
    return now.replace(tzinfo=UTC)  # commands are answered without the client's time zone


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
