"""The servers that hold the gate: how each keeps its data, and whether it takes what the shop asks of it."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from flashdrop.primaries import Primary
from flashdrop.redis_client import RedisError
from orders.doctor import rehearsal
from orders.doctor.finding import Area, Finding, Notes
from orders.doctor.versions import REDIS, VALKEY, judge_version

FULL_IS_NEAR = 0.8
FULL = 0.95
SLOTS = 16384
KEEP = "and keep it: `redis-cli CONFIG REWRITE`, or the same line in redis.conf"


async def check_primary(primary: Primary) -> list[Finding]:
    """Everything about one server that takes writes.

    Raises:
        redis.exceptions.RedisError: it stopped answering.
    """
    notes = Notes(Area.REDIS, primary.address)
    try:
        info = await primary.info()
    except ResponseError as error:
        notes.at_risk(
            "INFO",
            f"refused ({error}): nothing can tell whether this server was started again, so no sale is published or "
            "rebuilt (promise 8)",
            "`ACL SETUSER <the shop's user> +info`",
        )
        return notes.findings
    _version(info, notes)
    await _cluster(primary, notes)
    if info.get("role") != "master":
        notes.at_risk(
            "role",
            f"a replica of {info.get('master_host')}:{info.get('master_port')}: it refuses every purchase (promise 8)",
            "point REDIS_URL at the primary, or at the Sentinels that know it: redis+sentinel://host:26379/<service>/0",
        )
    else:
        notes.ok("role", "primary")
        await _replicas(primary, info, notes)
        await rehearsal.check(primary, notes)
    _eviction(info, notes)
    _memory(info, notes)
    await _persistence(primary, info, notes)
    return notes.findings


def _version(info: dict[str, Any], notes: Notes) -> None:
    if info.get("valkey_version"):
        judge_version(VALKEY, str(info["valkey_version"]), notes)
    else:
        judge_version(REDIS, str(info.get("redis_version", "")), notes)


async def _cluster(primary: Primary, notes: Notes) -> None:
    try:
        cluster = await primary.cluster()
    except ResponseError as error:
        return _unchecked(notes, "cluster", "CLUSTER INFO", error)
    if cluster is None:
        return None
    if cluster.get("cluster_state") == "ok" and int(cluster.get("cluster_slots_ok", 0)) == SLOTS:
        return notes.ok("cluster", "every slot is served")
    return notes.at_risk(
        "cluster",
        f"state {cluster.get('cluster_state')}, {cluster.get('cluster_slots_ok')} of {SLOTS} slots are served: sales "
        "in the others answer 503 (promise 8)",
        f"bring the lost primaries back, then `redis-cli --cluster fix {primary.address}`",
    )


async def _replicas(primary: Primary, info: dict[str, Any], notes: Notes) -> None:
    replicas = int(info.get("connected_slaves", 0))
    if not replicas:
        return notes.advice(
            "replicas",
            "none: when this machine is lost, no sale sells until it is back",
            "add a replica (`REPLICAOF` this server) and Sentinels; docs/how-to/high-availability.md",
        )
    wanted = await _setting(primary, "min-replicas-to-write", notes)
    if wanted == "0":
        return notes.advice(
            "min-replicas-to-write",
            f"0 with {replicas} replicas: a primary cut off from the rest goes on reserving units that the ledger then "
            "refuses",
            f"`CONFIG SET min-replicas-to-write 1`, {KEEP}",
        )
    return notes.ok("replicas", f"{replicas}; min-replicas-to-write {wanted or 'unknown'}")


def _eviction(info: dict[str, Any], notes: Notes) -> None:
    policy, limit = info.get("maxmemory_policy"), int(info.get("maxmemory", 0))
    if policy is None:
        return notes.advice(
            "maxmemory-policy", "can't be checked: INFO does not say", "see that it is noeviction, at your host"
        )
    if policy == "noeviction":
        return notes.ok("maxmemory-policy", "noeviction")
    advice = f"`CONFIG SET maxmemory-policy noeviction`, {KEEP}"
    if limit:
        return notes.at_risk(
            "maxmemory-policy",
            f"{policy}, with maxmemory {_mb(limit)}: a full server throws away a sale's gate or its pending orders "
            "(promise 4: nothing is stranded)",
            advice,
        )
    return notes.at_risk(
        "maxmemory-policy",
        f"{policy}; no maxmemory is set, so nothing is evicted yet: once one is, a full server throws away a sale's "
        "gate or its pending orders (promise 4: nothing is stranded)",
        advice,
    )


def _memory(info: dict[str, Any], notes: Notes) -> None:
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if not limit:
        return notes.ok("memory", f"{_mb(used)} used, no maxmemory")
    found = f"{_mb(used)} of {_mb(limit)} used"
    advice = f"`CONFIG SET maxmemory <more>`, {KEEP}; 130 bytes for each order"
    if used >= FULL * limit:
        return notes.at_risk("memory", f"{found}: at the limit every purchase is refused (promise 8)", advice)
    if used >= FULL_IS_NEAR * limit:
        return notes.advice("memory", f"{found}: at the limit every purchase is refused", advice)
    return notes.ok("memory", found)


async def _persistence(primary: Primary, info: dict[str, Any], notes: Notes) -> None:
    lost = "reservations of shoppers who were told 202, being confirmed (promise 4); a confirmed order is never lost"
    if not info.get("aof_enabled"):
        return notes.at_risk(
            "appendonly",
            f"no: a restart loses every sale's gate until it is rebuilt, and the {lost}",
            f"`CONFIG SET appendonly yes`, {KEEP}",
        )
    if info.get("aof_last_write_status") == "err":
        return notes.at_risk(
            "appendonly",
            f"the log can't be written: a full disk? Purchases are refused, or a restart loses {lost}",
            "free the disk of the server's `dir`; INFO persistence then says aof_last_write_status:ok",
        )
    notes.ok("appendonly", "yes")
    fsync = await _setting(primary, "appendfsync", notes)
    if fsync == "no":
        return notes.advice(
            "appendfsync",
            f"no: a power loss can take the last half a minute of {lost}; with everysec it is one second",
            f"`CONFIG SET appendfsync everysec`, {KEEP}",
        )
    if fsync is not None:
        return notes.ok("appendfsync", fsync)
    return None


async def _setting(primary: Primary, name: str, notes: Notes) -> str | None:
    """A setting's value; None, with a note of it, when the server does not tell."""
    try:
        found = await primary.setting(name)
    except RedisError as error:
        if not isinstance(error, ResponseError):
            raise
        _unchecked(notes, name, "CONFIG GET", error)
        return None
    if found is None:
        _unchecked(notes, name, "CONFIG GET", "it knows no such setting")
    return found


def _unchecked(notes: Notes, name: str, command: str, why: object) -> None:
    wanted = {"appendfsync": "everysec", "min-replicas-to-write": "1 or more"}.get(name)
    advice = f"see in your host's console that it is {wanted}" if wanted else "ask whoever runs this server"
    notes.advice(name, f"can't be checked: {command} is not permitted ({why})", advice)


def _mb(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
