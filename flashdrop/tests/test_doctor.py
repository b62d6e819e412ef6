"""The doctor: a healthy installation passes; each planted fault is found, with its level and what to do.

Against a Redis of its own, and a database of its own in the suite's MongoDB; what can't be set while running, against
servers that the test starts.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pymongo
import pytest
import redis as sync_redis
from django.core.management import call_command
from django.core.management.base import CommandError

from conftest import BASE_DIR, FOLDER, MONGO_PORT, settings_of
from flashdrop import loops, mongo_client, redis_client, zone_rules
from flashdrop.config import Config, config
from flashdrop.embedded.mongo_server import mongo_binary
from flashdrop.embedded.process import Server, free_port
from flashdrop.embedded.redis_server import start_redis, valkey_binary
from flashdrop.management.commands import doctor as command_module
from flashdrop.mongo_client import collection, database
from flashdrop.redis_client import redis
from orders import ledger
from orders.doctor import mongodb_servers, published_sales, redis_servers
from orders.doctor.clocks import host_clock
from orders.doctor.examination import examine
from orders.doctor.finding import Area, Finding, Level, Notes
from orders.doctor.versions import MONGODB, REDIS, VALKEY, judge_version
from orders.indexes import ensure_indexes
from orders.worker import HEARTBEAT_SECONDS
from sales import catalogue, publishing, stock
from sales.keys import WORKER_ALIVE, WORKER_HEARTBEAT, sale_keys
from sales.published import PublishedSale

DATABASE = "flashdrop-doctor"
MONGO = f"mongodb://127.0.0.1:{MONGO_PORT}/{DATABASE}?replicaSet=rs0"
REDIS_BINARY = Path(shutil.which("redis-server") or "redis-server")
KEY = "kX2-9vQmTzR7wLb4_JpHs8NcYdFgUaEe3iOo51"
OK, ADVICE, AT_RISK = Level.OK, Level.ADVICE, Level.AT_RISK

Change = Callable[[], Awaitable[object]]


class Expected(NamedTuple):
    """A finding: the end of its name, and parts of what it says."""

    name: str
    level: Level
    said: str
    advised: str


@pytest.fixture(scope="module")
def gate_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server, url = start_redis(tmp_path_factory.mktemp("gate"), binary=REDIS_BINARY)
    yield url
    server.stop()


@pytest.fixture
def mine(stores: Any, static_files: None, gate_url: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A healthy installation, its stores empty, with a worker that has just been there."""
    monkeypatch.setattr(published_sales, "SETTLE_SECONDS", 0.05)
    for name in ("SELECT_SERVER_MS", "CONNECT_MS"):
        monkeypatch.setattr(mongo_client, name, 400)
    mine = use(replace(config, secret_key=KEY, redis_url=gate_url, mongodb_url=MONGO), monkeypatch)

    async def prepare() -> None:
        await redis().flushall()
        await redis().set(WORKER_HEARTBEAT, 1, ex=HEARTBEAT_SECONDS)
        await collection("sales").delete_many({})
        await ensure_indexes()

    loops.run(prepare)
    return mine


@pytest.fixture(scope="module", autouse=True)
def nothing_stays(stores: Any) -> Iterator[None]:
    yield
    drop_database()


@pytest.fixture
def own_indexes(mine: Config) -> Iterator[None]:
    yield
    drop_database()


def drop_database() -> None:
    with pymongo.MongoClient("127.0.0.1", MONGO_PORT) as client:
        client.drop_database(DATABASE)


def use(new: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    for module in (redis_client, mongo_client, command_module):
        monkeypatch.setattr(module, "config", new)
    return new


def found(mine: Config, **more: Any) -> list[Finding]:
    return loops.run(lambda: examine(mine, **more))


def worst(findings: list[Finding]) -> list[tuple[Area, str]]:
    return [(finding.area, finding.name) for finding in findings if finding.level is AT_RISK]


def the(findings: list[Finding], area: Area, name: str) -> Finding:
    (one,) = [finding for finding in findings if finding.area is area and finding.name.endswith(name)]
    return one


def expect(findings: list[Finding], area: Area, expected: Expected) -> None:
    """This finding is there, and nothing else is worse than advice."""
    one = the(findings, area, expected.name)
    assert (one.level, expected.said in one.found, expected.advised in one.advice) == (expected.level, True, True), one
    assert worst(findings) == ([(area, one.name)] if one.level is AT_RISK else [])


def command(*flags: str) -> tuple[int, str]:
    printed = StringIO()
    try:
        call_command("doctor", *flags, stdout=printed)
    except CommandError as error:
        return error.returncode, printed.getvalue()
    return 0, printed.getvalue()


async def opened() -> PublishedSale:
    return (await publishing.publish(settings_of())).sale


def everything() -> Any:
    """What both stores hold."""

    async def read() -> Any:
        keys = [key async for key in redis().scan_iter()]
        names = sorted(await database().list_collection_names())
        return sorted(keys), names, [[d async for d in collection(name).find()] for name in names]

    return loops.run(read)


def test_a_healthy_installation_passes_and_is_left_as_it_was(mine: Config) -> None:
    sale = loops.run(opened)
    before = everything()
    findings = found(mine)
    assert worst(findings) == []
    assert {finding.area for finding in findings} == set(Area)
    assert all(bool(finding.advice) == (finding.level is not OK) for finding in findings)
    assert {finding.name.rpartition(": ")[2] for finding in findings if finding.level is OK} >= {
        *("SECRET_KEY", "static files", "role", "scripts", "maxmemory-policy", "appendonly", "appendfsync"),
        *("storage engine", "journal of majorities", "write concern", "reads and writes"),
        *("orders.unit_sold_once", "orders.shopper_within_limit", "orders.key_used_once", "sales.sku"),
        *("MongoDB", "worker", f"sale {sale.sku}"),
    }
    assert everything() == before


def test_what_is_printed_and_the_exit_code(mine: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    code, printed = command()
    assert (code, "AT RISK" in printed) == (0, False)
    assert "  OK       SECRET_KEY: 38 characters" in printed
    code, printed = command("--json")
    rows = json.loads(printed)
    assert code == 0
    assert {key for row in rows for key in row} == {"area", "name", "level", "found", "advice"}
    assert {row["level"] for row in rows} == {"OK", "ADVICE"}

    use(replace(mine, trust_user_id_header=True), monkeypatch)
    code, printed = command("--quiet")
    assert code == 1
    assert "OK  " not in printed
    assert "AT RISK  TRUST_USER_ID_HEADER" in printed
    assert "           do: unset TRUST_USER_ID_HEADER" in printed
    code, printed = command("--quiet", "--json")
    assert code == 1
    assert {row["level"] for row in json.loads(printed)} == {"ADVICE", "AT RISK"}


def placeholder_of_the_example() -> str:
    lines = (BASE_DIR / ".env.example").read_text().splitlines()
    return next(line.split("=", 1)[1] for line in lines if line.startswith("SECRET_KEY="))


CONFIGURATION: list[tuple[dict[str, Any], str, Level, str]] = [
    ({"secret_key": placeholder_of_the_example()}, "SECRET_KEY", AT_RISK, "token_urlsafe"),
    ({"secret_key": "k3Vx9"}, "SECRET_KEY", AT_RISK, "token_urlsafe"),
    ({"secret_key": "ab" * 30}, "SECRET_KEY", AT_RISK, "token_urlsafe"),
    ({"debug": True, "host": "0.0.0.0"}, "DEBUG", AT_RISK, "DEBUG=false"),
    ({"debug": True, "allowed_hosts": ("*",)}, "DEBUG", AT_RISK, "DEBUG=false"),
    ({"debug": True, "host": "::1"}, "DEBUG", ADVICE, "leave DEBUG unset"),
    ({"allowed_hosts": ("*",)}, "ALLOWED_HOSTS", ADVICE, "set ALLOWED_HOSTS"),
    ({"trust_user_id_header": True}, "TRUST_USER_ID_HEADER", AT_RISK, "unset TRUST_USER_ID_HEADER"),
    ({"trust_user_id_header": True, "trusted_proxy_count": 1}, "TRUST_USER_ID_HEADER", ADVICE, "X-User-Id"),
    ({"rate_limiter_enabled": True}, "rate limiter", ADVICE, "TRUSTED_PROXY_COUNT"),
    ({"rate_limiter_enabled": True, "trusted_proxy_count": 1}, "rate limiter", OK, ""),
    ({"host": "10.0.0.5"}, "DATABASE_URL", ADVICE, "postgres://"),
    ({"host": "10.0.0.5", "database_url": "postgres://a/b"}, "DATABASE_URL", OK, ""),
]


@pytest.mark.parametrize(("changes", "name", "level", "advised"), CONFIGURATION)
def test_the_environment(changes: dict[str, Any], name: str, level: Level, advised: str) -> None:
    from orders.doctor.configuration import check_configuration

    data_dir = FOLDER
    findings = check_configuration(replace(config, **({"secret_key": KEY, "data_dir": data_dir} | changes)))
    expect(findings, Area.CONFIGURATION, Expected(name, level, "", advised))


def test_the_files_of_the_host(tmp_path: Path) -> None:
    from orders.doctor.configuration import check_configuration

    mine = replace(config, secret_key=KEY, data_dir=tmp_path)
    expect(
        check_configuration(mine),
        Area.CONFIGURATION,
        Expected("static files", AT_RISK, "not collected", "collectstatic"),
    )
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "staticfiles.json").write_text('{"paths": {"css/x.css": "css/x.1.css"}}')
    expect(
        check_configuration(mine),
        Area.CONFIGURATION,
        Expected("static files", AT_RISK, "collected before", "collectstatic"),
    )
    nowhere = replace(mine, data_dir=tmp_path / "nowhere")
    assert "mkdir -p" in the(check_configuration(nowhere), Area.CONFIGURATION, "data folder").advice
    # As in a container with a read-only root: the back office is elsewhere.
    elsewhere = replace(nowhere, database_url="postgres://flashdrop@postgres/flashdrop")
    assert the(check_configuration(elsewhere), Area.CONFIGURATION, "data folder").level is OK


def test_the_rules_of_time_zones_grow_old() -> None:
    from orders.doctor.configuration import _zone_rules

    released = zone_rules.at_least_as_new_as()
    for days, level in ((10, OK), (364, OK), (366, ADVICE)):
        notes = Notes(Area.CONFIGURATION)
        _zone_rules(released + timedelta(days=days), notes)
        (finding,) = notes.findings
        assert (finding.name, finding.level) == ("time zone rules", level)
        assert f"tzdata {zone_rules.version()}" in finding.found
        assert ("make lock" in finding.advice) == (level is ADVICE)


SERVER: list[tuple[dict[str, str], Expected]] = [
    (
        {"maxmemory-policy": "allkeys-lru"},
        Expected("maxmemory-policy", AT_RISK, "no maxmemory is set", "noeviction"),
    ),
    (
        {"maxmemory-policy": "volatile-ttl", "maxmemory": "1gb"},
        Expected("maxmemory-policy", AT_RISK, "promise 4", "CONFIG SET maxmemory-policy noeviction"),
    ),
    ({"appendonly": "no"}, Expected("appendonly", AT_RISK, "told 202", "CONFIG SET appendonly yes")),
    ({"appendfsync": "no"}, Expected("appendfsync", ADVICE, "half a minute", "CONFIG SET appendfsync everysec")),
    ({"min-replicas-to-write": "1"}, Expected("scripts", AT_RISK, "NOREPLICAS", "min-replicas-to-write")),
]


@pytest.mark.parametrize(("settings", "expected"), SERVER, ids=[" ".join(settings) for settings, _ in SERVER])
def test_a_redis_that_is_set_wrongly(mine: Config, settings: dict[str, str], expected: Expected) -> None:
    with sync_redis.Redis.from_url(mine.redis_url, decode_responses=True) as client:
        before = {setting: client.config_get(setting)[setting] for setting in settings}
        for setting, value in settings.items():
            client.config_set(setting, value)
        try:
            expect(found(mine), Area.REDIS, expected)
        finally:
            for setting, value in before.items():
                client.config_set(setting, value)


def test_a_redis_that_is_full(mine: Config) -> None:
    with sync_redis.Redis.from_url(mine.redis_url) as client:
        used = client.info("memory")["used_memory"]
        try:
            client.config_set("maxmemory", int(used / 0.88))
            assert the(found(mine), Area.REDIS, ": memory").level is ADVICE
            client.config_set("maxmemory", used // 2)
            findings = found(mine)
        finally:
            client.config_set("maxmemory", 0)
    assert the(findings, Area.REDIS, ": memory").level is AT_RISK
    assert "CONFIG SET maxmemory" in the(findings, Area.REDIS, ": scripts").advice


def test_a_replica_refuses_purchases_and_a_primary_counts_its_own(mine: Config, tmp_path: Path) -> None:
    port = mine.redis_url.rpartition(":")[2].split("/")[0]
    server, url = start_redis(tmp_path, binary=REDIS_BINARY, options=["--replicaof", f"127.0.0.1 {port}"])
    try:
        with sync_redis.Redis.from_url(mine.redis_url) as client:
            deadline = time.monotonic() + 5
            while not client.info("replication")["connected_slaves"] and time.monotonic() < deadline:
                time.sleep(0.05)
        expect(found(mine), Area.REDIS, Expected("min-replicas-to-write", ADVICE, "with 1 replicas", "CONFIG SET"))
        with pytest.MonkeyPatch.context() as patch:
            findings = found(use(replace(mine, redis_url=url), patch))
    finally:
        server.stop()
    one = the(findings, Area.REDIS, ": role")
    assert (one.level, f"a replica of 127.0.0.1:{port}" in one.found, "at the primary" in one.advice) == (
        AT_RISK,
        True,
        True,
    )


def test_a_redis_whose_config_is_renamed_or_forbidden(
    mine: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valkey = valkey_binary()
    server, url = start_redis(tmp_path, binary=valkey, options=["--rename-command", "CONFIG", ""])
    try:
        findings = found(use(replace(mine, redis_url=url), monkeypatch))
    finally:
        server.stop()
    one = the(findings, Area.REDIS, "appendfsync")
    assert (one.level, "can't be checked" in one.found, "everysec" in one.advice) == (ADVICE, True, True)
    assert "Valkey 9" in the(findings, Area.REDIS, "version").found
    assert the(findings, Area.REDIS, "scripts").level is OK


RIGHTS = [
    ("+@all -config", Expected("appendfsync", ADVICE, "CONFIG GET is not permitted", "your host's console")),
    ("+@all -evalsha", Expected("scripts", AT_RISK, "evalsha", "ACL SETUSER")),
    ("+@all -info", Expected("INFO", AT_RISK, "refused", "ACL SETUSER")),
    ("+@all -hset", Expected("scripts", AT_RISK, "refused", "ACL SETUSER")),
]


@pytest.mark.parametrize(("rights", "expected"), RIGHTS, ids=[rights for rights, _ in RIGHTS])
def test_a_redis_user_without_a_right(
    mine: Config, monkeypatch: pytest.MonkeyPatch, rights: str, expected: Expected
) -> None:
    """The advice, followed to the letter, gives the right."""
    with sync_redis.Redis.from_url(mine.redis_url) as client:
        client.execute_command("ACL", "SETUSER", "shop", "reset", "on", ">pw", "~flashdrop:*", *rights.split())
        try:
            theirs = use(replace(mine, redis_url=mine.redis_url.replace("redis://", "redis://shop:pw@")), monkeypatch)
            findings = found(theirs)
            one = the(findings, Area.REDIS, expected.name)
            assert (one.level, expected.said in one.found, expected.advised in one.advice) == (
                expected.level,
                True,
                True,
            ), one
            assert "pw@" not in str(findings)
            if one.level is AT_RISK:
                advised = one.advice.split("`")[1].split("user> ")[1].split()
                client.execute_command("ACL", "SETUSER", "shop", *advised)
                assert worst(found(theirs)) == []
        finally:
            client.execute_command("ACL", "DELUSER", "shop")


async def drop_an_index() -> None:
    await collection("orders").drop_index("unit_sold_once")


async def drop_a_slow_one() -> None:
    await collection("orders").drop_index("given_up_by_shopper")


async def drop_everything() -> None:
    await collection("sales").drop()


async def make_it_not_unique() -> None:
    await drop_an_index()
    wanted = {"units": {"$exists": True}}
    await collection("orders").create_index(
        [("sale", 1), ("units", 1)], name="unit_sold_once", partialFilterExpression=wanted
    )


async def filter_it_otherwise() -> None:
    await drop_an_index()
    wanted = {"status": "completed"}
    await collection("orders").create_index(
        [("sale", 1), ("units", 1)], name="unit_sold_once", unique=True, partialFilterExpression=wanted
    )


async def give_it_other_keys() -> None:
    await collection("orders").drop_index("shopper_within_limit")
    await collection("orders").create_index(
        [("shopper", 1), ("slots", 1)],
        name="shopper_within_limit",
        unique=True,
        partialFilterExpression={"slots": {"$exists": True}},
    )


async def call_it_otherwise() -> None:
    await drop_an_index()
    wanted = {"units": {"$exists": True}}
    await collection("orders").create_index(
        [("sale", 1), ("units", 1)], name="mine", unique=True, partialFilterExpression=wanted
    )


INDEXES: list[tuple[Change, Expected]] = [
    (drop_an_index, Expected("orders.unit_sold_once", AT_RISK, "missing: a unit can be sold twice", "ensure_indexes")),
    (drop_a_slow_one, Expected("orders.given_up_by_shopper", ADVICE, "missing", "ensure_indexes")),
    (drop_everything, Expected("sales.sku", AT_RISK, "missing", "ensure_indexes")),
    (
        make_it_not_unique,
        Expected("orders.unit_sold_once", AT_RISK, "unique is not set", 'dropIndex("unit_sold_once")'),
    ),
    (filter_it_otherwise, Expected("orders.unit_sold_once", AT_RISK, "partialFilterExpression is", "dropIndex")),
    (
        give_it_other_keys,
        Expected("orders.shopper_within_limit", AT_RISK, "keys are (shopper 1, slots 1)", "dropIndex"),
    ),
    (call_it_otherwise, Expected("orders.unit_sold_once", ADVICE, "another name, mine", 'dropIndex("mine")')),
]


@pytest.mark.parametrize(("change", "expected"), INDEXES, ids=[change.__name__ for change, _ in INDEXES])
@pytest.mark.usefixtures("own_indexes")
def test_an_index_that_is_not_as_it_should_be(mine: Config, change: Change, expected: Expected) -> None:
    loops.run(change)
    expect(found(mine), Area.INDEXES, expected)


@pytest.mark.usefixtures("own_indexes")
def test_indexes_that_were_made_in_another_order(mine: Config) -> None:
    async def drop_and_make_again() -> None:
        await collection("orders").drop_index("shopper_within_limit")
        await ensure_indexes()

    async def follow_the_advice() -> None:
        await drop_an_index()
        await ensure_indexes()

    name = "orders, which comes first"
    loops.run(drop_and_make_again)
    expect(found(mine), Area.INDEXES, Expected(name, ADVICE, "taken for a stale gate", "every sale is paused"))
    loops.run(follow_the_advice)
    assert name not in {finding.name for finding in found(mine)}


@pytest.mark.usefixtures("own_indexes")
@pytest.mark.parametrize("change", [make_it_not_unique, filter_it_otherwise, call_it_otherwise])
def test_no_process_can_start_beside_such_an_index(mine: Config, change: Change) -> None:
    """As the finding says: `ensure_indexes` refuses."""
    loops.run(change)
    with pytest.raises(pymongo.errors.OperationFailure):
        loops.run(ensure_indexes)


@pytest.mark.usefixtures("own_indexes")
def test_the_advice_about_an_index_puts_it_right(mine: Config) -> None:
    async def follow() -> None:
        await make_it_not_unique()
        await drop_an_index()
        await ensure_indexes()

    loops.run(follow)
    assert worst(found(mine)) == []


async def flush_the_gate(sale: PublishedSale) -> None:
    await redis().delete(*sale_keys(sale.id))


async def raise_the_epoch(sale: PublishedSale) -> None:
    await catalogue.raise_epoch(sale.id)


async def restart_the_server(sale: PublishedSale) -> None:
    await redis().hset(sale_keys(sale.id).sale, "run_id", "an earlier run")


async def miss_a_publication(sale: PublishedSale) -> None:
    await catalogue.save(settings_of(id=sale.id, sku=sale.sku, stock=12))


async def restore_an_older_ledger(sale: PublishedSale) -> None:
    await stock.publish(redis(), replace(sale, version=7), create=False)


SALES: list[tuple[Callable[[PublishedSale], Awaitable[None]], str, str]] = [
    (flush_the_gate, "not loaded at the gate", "manage.py rebuild_sale"),
    (raise_the_epoch, "the gate has epoch 1, the ledger 2", "manage.py rebuild_sale"),
    (restart_the_server, "an earlier run", "manage.py rebuild_sale"),
    (miss_a_publication, "sells by version 1, the ledger has 2", "manage.py audit_sale"),
    (restore_an_older_ledger, "an older backup", "restore the newest backup"),
]


@pytest.mark.parametrize(("damage", "said", "advised"), SALES, ids=[row[0].__name__ for row in SALES])
def test_a_sale_whose_gate_is_not_the_ledgers(
    mine: Config, damage: Callable[[PublishedSale], Awaitable[None]], said: str, advised: str
) -> None:
    async def hurt() -> PublishedSale:
        sale = await opened()
        await damage(sale)
        return sale

    sale = loops.run(hurt)
    expect(found(mine), Area.SALES, Expected(f"sale {sale.sku}", AT_RISK, said, advised))


def test_what_a_worker_is_about_to_put_right_is_no_finding(mine: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_sales, "SETTLE_SECONDS", 0.8)

    async def hurt() -> PublishedSale:
        sale = await opened()
        await miss_a_publication(sale)
        return sale

    async def mend(sale: PublishedSale) -> list[Finding]:
        import asyncio

        async def worker() -> None:
            await asyncio.sleep(0.4)
            await publishing.put_in_force(await catalogue.get(sale.id) or sale)

        _, findings = await asyncio.gather(worker(), examine(mine))
        return findings

    sale = loops.run(hurt)
    assert worst(loops.run(lambda: mend(sale))) == []


def test_a_worker_that_is_missing_or_slow(mine: Config) -> None:
    async def beat(left: int) -> None:
        await redis().set(WORKER_HEARTBEAT, 1, ex=left)

    async def stop() -> None:
        await redis().delete(WORKER_HEARTBEAT)

    async def keep_waiting() -> None:
        await redis().set(WORKER_ALIVE, 1, ex=HEARTBEAT_SECONDS)

    loops.run(lambda: beat(2))
    expect(found(mine), Area.SALES, Expected("worker", ADVICE, "8.", "worker's log"))
    loops.run(stop)
    expect(found(mine), Area.SALES, Expected("worker", ADVICE, "no sale is published yet", "manage.py run_worker"))
    loops.run(opened)
    expect(found(mine), Area.SALES, Expected("worker", AT_RISK, "published sales: 1", "manage.py run_worker"))
    loops.run(keep_waiting)
    expect(found(mine), Area.SALES, Expected("worker", AT_RISK, "it runs, but none has completed", "worker's log"))


@pytest.mark.parametrize(
    ("seconds", "level", "way"), [(0.5, OK, "within"), (3, ADVICE, "behind"), (-60, AT_RISK, "ahead of")]
)
def test_this_hosts_clock(mine: Config, seconds: float, level: Level, way: str) -> None:
    findings = found(mine, clock=lambda: host_clock() + timedelta(seconds=seconds))
    clocks = [finding for finding in findings if finding.area is Area.CLOCKS]
    assert [(one.level, way in one.found, "timedatectl" in one.advice) for one in clocks] == [
        (level, True, level is not OK)
    ] * 2
    assert all("this host's clock is the wrong one" in one.found for one in clocks if level is not OK)


def test_the_gates_clock_alone_moves_the_window(mine: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ledger_time() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=40)

    # MongoDB and this host agree on it, so Redis is the one that is behind.
    monkeypatch.setattr("orders.doctor.examination._ledger_time", ledger_time)
    findings = found(mine, clock=lambda: host_clock() + timedelta(seconds=40))
    (one,) = [finding for finding in findings if finding.level is AT_RISK]
    assert one.name.startswith("Redis")
    assert "40.0 s behind this host; the window is judged by it, so sales open and close 40.0 s late" in one.found


def start_mongod(folder: Path, *options: str) -> tuple[Server, int]:
    """The embedded store's `mongod` without what makes it safe."""
    folder.mkdir()
    port = free_port()
    command = [str(mongo_binary()), "--port", str(port), "--bind_ip", "127.0.0.1", "--dbpath", str(folder), "--quiet"]
    limits = ["--wiredTigerCacheSizeGB", "0.25", "--unixSocketPrefix", str(folder)]
    quick = ["--setParameter", "diagnosticDataCollectionEnabled=false"]
    return Server("mongod", [*command, *limits, *quick, *options], folder / "server.log"), port


@pytest.fixture(scope="module")
def mongods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Server, int]]]:
    """One that stands alone, one whose set was never initiated, and one that does not journal its majorities."""
    folder = tmp_path_factory.mktemp("mongods")
    started = {
        "alone": start_mongod(folder / "alone"),
        "uninitiated": start_mongod(folder / "uninitiated", "--replSet", "rs0"),
        "careless": start_mongod(folder / "careless", "--replSet", "rs0"),
    }
    try:
        for server, port in started.values():
            with pymongo.MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=100) as client:
                server.wait_until(lambda client=client: answers(client), 20)  # type: ignore[misc]
        initiate(started["careless"][1])
        yield started
    finally:
        for server, _ in started.values():
            server.kill()


def answers(client: pymongo.MongoClient[Any]) -> bool:
    try:
        return bool(client.admin.command("ping"))
    except pymongo.errors.PyMongoError:
        return False


def initiate(port: int) -> None:
    members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
    settings = {"_id": "rs0", "members": members, "writeConcernMajorityJournalDefault": False}
    with pymongo.MongoClient("127.0.0.1", port, directConnection=True) as client:
        client.admin.command("replSetInitiate", settings)
        deadline = time.monotonic() + 15
        while not client.admin.command("hello")["isWritablePrimary"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def at_mongod(mine: Config, port: int, query: str = "?replicaSet=rs0") -> list[Finding]:
    with pytest.MonkeyPatch.context() as patch:
        url = f"mongodb://127.0.0.1:{port}/{DATABASE}{query}"
        findings = found(use(replace(mine, mongodb_url=url), patch))
    return [finding for finding in findings if finding.area is Area.MONGODB and finding.level is not OK]


@pytest.mark.parametrize("query", ["", "?replicaSet=rs0"])
def test_a_mongod_that_stands_alone(mine: Config, mongods: dict[str, tuple[Server, int]], query: str) -> None:
    findings = at_mongod(mine, mongods["alone"][1], query)
    one = the(findings, Area.MONGODB, "replica set")
    assert (one.level, "standalone" in one.found, "--replSet rs0" in one.advice) == (AT_RISK, True, True)


def test_a_set_without_a_primary(mine: Config, mongods: dict[str, tuple[Server, int]]) -> None:
    (one,) = at_mongod(mine, mongods["uninitiated"][1])
    assert (one.level, one.name, "never initiated" in one.found) == (AT_RISK, "no primary", True)
    assert "rs.initiate()" in one.advice
    (one,) = at_mongod(mine, mongods["careless"][1], "?replicaSet=another")
    assert (one.level, one.name, "of set rs0 answers" in one.found) == (AT_RISK, "no primary", True)


def test_one_member_asked_directly(mine: Config, mongods: dict[str, tuple[Server, int]]) -> None:
    one = the(at_mongod(mine, mongods["uninitiated"][1], "?directConnection=true"), Area.MONGODB, "no primary")
    assert (one.level, "take directConnection out" in one.advice) == (AT_RISK, True)
    one = the(at_mongod(mine, mongods["careless"][1], "?directConnection=true"), Area.MONGODB, "directConnection")
    assert (one.level, "take directConnection out" in one.advice) == (ADVICE, True)


def test_majorities_that_are_not_journaled(mine: Config, mongods: dict[str, tuple[Server, int]]) -> None:
    findings = at_mongod(mine, mongods["careless"][1])
    one = the(findings, Area.MONGODB, "journal of majorities")
    assert (one.level, "promises 3 and 5" in one.found, "rs.reconfig" in one.advice) == (AT_RISK, True, True)
    assert "three members" in the(findings, Area.MONGODB, "members").advice


def test_arbiters_members_that_are_down_and_an_engine_without_a_disk(
    mine: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would need a set of machines, from the documents that such a set gives."""
    hello = {"setName": "rs0", "isWritablePrimary": True, "hosts": ["a:1", "b:1", "c:1"], "arbiters": ["d:1"]}

    async def admits(command: str, name: str, notes: Notes) -> dict[str, Any]:
        engine = {"storageEngine": {"name": "inMemory", "persistent": False}}
        members = {"members": [{"name": "a:1", "health": 1}, {"name": "b:1", "health": 0}]}
        return {"serverStatus": engine, "replSetGetConfig": {"config": {}}, "replSetGetStatus": members}[command]

    monkeypatch.setattr(mongodb_servers, "_asked", admits)
    findings = loops.run(lambda: mongodb_servers.check_ledger(hello))
    assert the(findings, Area.MONGODB, "storage engine").level is AT_RISK
    assert "wiredTiger" in the(findings, Area.MONGODB, "storage engine").advice
    assert 'rs.remove("d:1")' in the(findings, Area.MONGODB, "arbiters").advice
    assert "b:1 is down" in the(findings, Area.MONGODB, "members' health").found
    assert the(findings, Area.MONGODB, "members").level is OK


def test_a_write_that_is_refused_or_not_acknowledged(mine: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    for error, said in (
        (pymongo.errors.WTimeoutError("waiting for replication timed out"), "no majority acknowledged"),
        (pymongo.errors.OperationFailure("not authorized on flashdrop", 13), "refused: not authorized"),
    ):

        async def fails(error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(ledger, "try_reading_and_writing", fails)
        expect(found(mine), Area.MONGODB, Expected("reads and writes", AT_RISK, said, ""))


def test_stores_that_are_away(mine: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """One finding for each that is away; the other is examined all the same."""
    sale = loops.run(opened)
    no_redis, no_mongo = f"redis://127.0.0.1:{free_port()}/0", f"mongodb://127.0.0.1:{free_port()}/x?replicaSet=rs0"
    started = time.monotonic()
    findings = found(use(replace(mine, redis_url=no_redis), monkeypatch))
    expect(findings, Area.REDIS, Expected("no answer", AT_RISK, "answers 503", "start the server"))
    assert the(findings, Area.MONGODB, "reads and writes").level is OK
    assert the(findings, Area.INDEXES, "sales.sku").level is OK

    findings = found(use(replace(mine, mongodb_url=no_mongo), monkeypatch))
    expect(findings, Area.MONGODB, Expected("no answer", AT_RISK, "does not answer", "start mongod"))
    assert the(findings, Area.REDIS, "scripts").level is OK

    findings = found(use(replace(mine, redis_url=no_redis, mongodb_url=no_mongo), monkeypatch))
    assert worst(findings) == [(Area.REDIS, "no answer"), (Area.MONGODB, "no answer")]
    assert not [finding for finding in findings if finding.area in (Area.CLOCKS, Area.SALES, Area.INDEXES)]
    assert sale.sku not in str(findings)
    assert time.monotonic() - started < 12


def test_stores_that_are_silent(
    mine: Config, mongods: dict[str, tuple[Server, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take the connection and say nothing, as a stopped process or a firewall does."""
    monkeypatch.setattr(redis_client, "ANSWER_SECONDS", 0.5)
    server, url = start_redis(tmp_path, binary=REDIS_BINARY)
    mongod, port = mongods["alone"]
    for one in (server, mongod):
        one.process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    try:
        mongo_url = f"mongodb://127.0.0.1:{port}/{DATABASE}?replicaSet=rs0"
        findings = found(use(replace(mine, redis_url=url, mongodb_url=mongo_url), monkeypatch))
    finally:
        for one in (server, mongod):
            one.process.send_signal(signal.SIGCONT)
        server.stop()
    assert worst(findings) == [(Area.REDIS, "no answer"), (Area.MONGODB, "no answer")]
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("changes", "area", "name"),
    [
        ({"redis_url": "redis+sentinel://127.0.0.1:1"}, Area.REDIS, "REDIS_URL"),
        ({"mongodb_url": "mongodb://127.0.0.1:port/x"}, Area.MONGODB, "MONGODB_URL"),
        ({"mongodb_url": f"mongodb://me:secret@127.0.0.1:{MONGO_PORT}/x?replicaSet=rs0"}, Area.MONGODB, "refused"),
    ],
)
def test_addresses_that_cant_be_used(
    mine: Config, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], area: Area, name: str
) -> None:
    findings = found(use(replace(mine, **changes), monkeypatch))
    expect(findings, area, Expected(name, AT_RISK, "", area.name + "_URL"))
    assert "secret" not in str(findings)


def test_a_real_process_with_nothing_to_talk_to(mine: Config) -> None:
    environment = {"SECRET_KEY": KEY, "PATH": "", "FLASHDROP_DATA_DIR": str(FOLDER)}
    environment |= {
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}",
        "MONGODB_URL": f"mongodb://127.0.0.1:{free_port()}",
    }
    done = subprocess.run(
        [sys.executable, str(BASE_DIR / "manage.py"), "doctor", "--quiet", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (1, "CommandError: A promise is at risk.")
    assert [row["area"] for row in json.loads(done.stdout)] == ["redis", "mongodb"]


def start_cluster(folder: Path, servers: list[Server]) -> list[str]:
    ports = [free_port() for _ in range(3)]
    for port in ports:
        options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "2000"]
        servers.append(start_redis(folder / str(port), port, REDIS_BINARY, options)[0])
    addresses = [f"127.0.0.1:{port}" for port in ports]
    create = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
    subprocess.run(create, check=True, capture_output=True, timeout=20)
    return addresses


def test_a_cluster_has_each_of_its_primaries_checked(
    mine: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[Server] = []
    try:
        addresses = start_cluster(tmp_path, servers)
        mine = use(replace(mine, redis_url="redis+cluster://" + ",".join(addresses)), monkeypatch)
        with sync_redis.Redis.from_url(f"redis://{addresses[1]}/0") as second:
            deadline = time.monotonic() + 5
            while second.execute_command("CLUSTER INFO")["cluster_state"] != "ok" and time.monotonic() < deadline:
                time.sleep(0.05)
            second.config_set("appendonly", "no")
        time.sleep(0.2)
        findings = found(mine)
        assert worst(findings) == [(Area.REDIS, f"{addresses[1]}: appendonly")]
        for address in addresses:
            assert the(findings, Area.REDIS, f"{address}: scripts").level is OK
            assert the(findings, Area.REDIS, f"{address}: cluster").level is OK
            assert the(findings, Area.CLOCKS, address).level is OK
        servers[2].kill()
        findings = found(mine)
        assert (Area.REDIS, f"{addresses[2]}: not finished") in worst(findings)
        assert not [finding for finding in findings if finding.area is Area.CLOCKS and finding.level is AT_RISK]
    finally:
        for server in servers:
            server.kill()


def test_sentinels_name_the_primary(mine: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = mine.redis_url.removeprefix("redis://").partition("/")[0]
    port = free_port()
    settings = tmp_path / "sentinel.conf"
    settings.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor shop {address.replace(':', ' ')} 1\n"
    )
    sentinel = Server("sentinel", [str(REDIS_BINARY), str(settings), "--sentinel"], tmp_path / "sentinel.log")
    try:
        with sync_redis.Redis(port=port) as client:
            sentinel.wait_until(lambda: is_there(client), 5)
        findings = found(use(replace(mine, redis_url=f"redis+sentinel://127.0.0.1:{port}/shop/0"), monkeypatch))
        assert worst(findings) == []
        assert the(findings, Area.REDIS, f"{address}: scripts").level is OK
    finally:
        sentinel.kill()


def is_there(client: sync_redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except sync_redis.RedisError:
        return False


@pytest.mark.parametrize(
    ("product", "version", "level"),
    [
        (REDIS, "6.2.14", AT_RISK),
        (REDIS, "7.0.15", ADVICE),
        (REDIS, "8.2.1", OK),
        (VALKEY, "9.1.0", OK),
        (MONGODB, "5.0.31", AT_RISK),
        (MONGODB, "6.0.5", ADVICE),
        (MONGODB, "8.0.4", OK),
        (MONGODB, "", ADVICE),
    ],
)
def test_versions(product: Any, version: str, level: Level) -> None:
    notes = Notes(Area.REDIS)
    judge_version(product, version, notes)
    (one,) = notes.findings
    assert (one.level, bool(one.advice)) == (level, level is not OK)


def test_a_log_that_cant_be_written(mine: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    from flashdrop.primaries import Primary

    said = Primary.info

    async def full_disk(self: Primary) -> dict[str, Any]:
        return await said(self) | {"aof_last_write_status": "err"}

    monkeypatch.setattr(redis_servers.Primary, "info", full_disk)
    expect(found(mine), Area.REDIS, Expected("appendonly", AT_RISK, "can't be written", "free the disk"))
