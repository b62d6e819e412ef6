"""The load kit of `k6/`: it passes a healthy shop, fails a broken one, and names what broke."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
import redis
import uvicorn

from conftest import BASE_DIR, Publish, client_of, cookie_of, eventually, follows, settings_of, shopper
from flashdrop.embedded.mongo_server import start_mongo
from flashdrop.embedded.process import Server, free_port
from flashdrop.embedded.redis_server import start_redis
from flashdrop.stress.kit import SCENARIOS, SCRIPTS, extent_of, k6_binary
from sales import publishing
from sales.keys import sale_keys
from sales.published import PublishedSale

# No timed test: budgets that a busy machine meets too.
PATIENT = {"DROPPED": "1", "ORDER_MS": "20000", "READ_MS": "20000", "PAGE_MS": "20000"}
MOST_SECONDS = 120
ABORTED = 108
THRESHOLDS_CROSSED = 99


@dataclass(frozen=True)
class Ran:
    """How k6 ended, what it wrote, and what it said."""

    code: int
    summary: dict[str, Any] | None
    page: str
    output: str

    @property
    def broken(self) -> list[str]:
        assert self.summary is not None, self.output
        return list(self.summary["broken"])


Kit = Callable[..., Awaitable[Ran]]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """Run a scenario. Settings are those of `k6/lib/settings.js`."""

    async def work(scenario: str, url: str, sku: str = "", **settings: str) -> Ran:
        folder = tmp_path_factory.mktemp(scenario)
        found = {"PROFILE": "quick", "API_URL": url, "SKU": sku, "OUT": str(folder)} | PATIENT | settings
        process = await asyncio.create_subprocess_exec(
            *(k6_binary(), "run", "--quiet", "--address", "", str(SCRIPTS / f"{scenario}.js")),
            env={"PATH": os.environ["PATH"], "HOME": str(folder)} | found,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), MOST_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
        summary, page = (folder / f"stress-{scenario}.{kind}" for kind in ("json", "html"))
        assert process.returncode is not None
        return Ran(
            process.returncode,
            json.loads(summary.read_text()) if summary.exists() else None,
            page.read_text() if page.exists() else "",
            output.decode(),
        )

    return work


# A healthy shop.


async def test_each_scenario_passes_against_a_healthy_shop(
    shop: str, publish: Publish, kit: Kit, tmp_path: Path
) -> None:
    """All of them at once, each on a sale of its own, at a third of the `quick` profile's pace."""
    now = datetime.now(UTC)
    names = list(SCENARIOS)
    sales = {}
    for name in names:
        opens_in = {"opening": 20, "mixed": 9}.get(name, -60)
        settings = settings_of(stock=40, opens_at=now + timedelta(seconds=opens_in), closes_at=now + timedelta(hours=1))
        sales[name] = await publish(settings)
    await follows(shop, sales[names[-1]])
    cookies = tmp_path / "shoppers.txt"
    cookies.write_text("".join(f"{cookie_of(shopper())['Cookie']}\n" for _ in range(200)))

    def settings_for(name: str) -> dict[str, str]:
        return {"SCALE": "0.3", "STRETCH": "0.7", "UNITS": "40"} | (
            {"SHOPPERS": str(cookies)} if name == "create-order" else {}
        )

    async def in_turn(place: int, name: str) -> Ran:
        await asyncio.sleep(place * 0.6)  # a k6 that starts takes a core for half a second
        return await kit(name, shop, sales[name].sku, **settings_for(name))

    found = await asyncio.gather(*(in_turn(place, name) for place, name in enumerate(names)))
    for name, ran in zip(names, found, strict=True):
        assert ran.code == 0, f"{name}\n{ran.output}"
        assert ran.summary is not None and ran.summary["passed"], name
        untried = [row["title"] for row in ran.summary["promises"] if not row["tried"]]
        told = f"PASS: {11 - len(untried)} of 11 promises tried, all kept (not tried: {'; '.join(untried)})"
        assert told in ran.output, name
        refused = ran.summary["answers"].get("OUT_OF_STOCK", 0)
        looked_into = next(row["seen"] for row in ran.summary["promises"] if row["name"] == "truly_out")
        assert looked_into == (f"{refused} of {refused}" if refused else "not tried"), name
        assert "PASS" in ran.page and "<script" not in ran.page and "http://" not in ran.page.replace(shop, ""), name
    by_name = {name: ran.summary or {} for name, ran in zip(names, found, strict=True)}
    # What the reports show is what happened: the ledger's count, read from outside, is the clients' own.
    for name in ("create-order", "mixed", "opening", "retry-storm", "soak"):
        sale = by_name[name]["sale"]
        assert sale["units"] - sale["available_after"] == sale["confirmed"] > 0, name
    tried = {row["name"] for one in by_name.values() for row in one["promises"] if row["tried"]}
    assert tried >= {"no_5xx", "documented", "within_stock", "within_limit", "readable", "same_order", "truly_out"}
    assert tried >= {"truthful", "counted", "explained"}
    assert not [row["name"] for row in by_name["page"]["promises"] if row["tried"] and row["name"] == "within_stock"]
    assert by_name["websocket"]["banners"] > 90
    # They wait for the opening: each of the 18 clicks too early at most twice.
    early = [by_name["opening"]["answers"].get(code, 0) for code in ("FLASH_SALE_NOT_STARTED", "400 to a form")]
    assert sum(early) <= 36
    assert by_name["retry-storm"]["answers"]["no answer"] > 0


def test_the_kit_and_its_runner_know_the_same_scenarios_and_all_can_be_read() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.js")} == set(SCENARIOS)
    buying = {name: extent_of(name, {"PROFILE": "load"}).shoppers for name in SCENARIOS}
    assert {name for name, shoppers in buying.items() if not shoppers} == {"sale-status", "product", "page"}
    assert extent_of("mixed", {"PROFILE": "load"}).seconds == 600
    assert extent_of("smoke", {"PROFILE": "smoke"}).seconds == pytest.approx(60, abs=5)


# A target that can show nothing.


@dataclass(frozen=True)
class Hopeless:
    """A sale (by its differences from one that could be tested), the settings of the run, and what it says."""

    sentence: str
    settings: dict[str, str] = field(default_factory=dict)
    sale: dict[str, Any] = field(default_factory=dict)
    scenario: str = "create-order"


HOPELESS = [
    Hopeless("no published sale 'no-such-sku'", {"SKU": "no-such-sku"}),
    Hopeless("is paused", sale={"paused": True}),
    Hopeless("ended at", sale={"opens_at": timedelta(hours=-2), "closes_at": timedelta(hours=-1)}),
    Hopeless("opens at", sale={"opens_at": timedelta(minutes=5)}),
    Hopeless("is sold out", sale={"stock": 0}),
    Hopeless("is open already", scenario="opening"),
    Hopeless("more than ten minutes away", sale={"opens_at": timedelta(minutes=50)}, scenario="opening"),
    Hopeless("at most 9 units, the shop says 10", {"UNITS": "9"}),
    Hopeless("PROFILE is 'heavy': it has to be one of quick, smoke, load, stress.", {"PROFILE": "heavy"}),
    Hopeless("SCALE is 'fast'", {"SCALE": "fast"}),
    Hopeless("has to begin with http://", {"API_URL": "shop.example"}),
    Hopeless("TRUST_USER_ID_HEADER", {"IDENTITY": "header"}),
    Hopeless("holds no cookies", {"SHOPPERS": "/nowhere/shoppers.txt"}),
    Hopeless("has 3 shoppers, this run needs 501", {"SHOPPERS": "few"}),
    Hopeless("does not accept the cookies", {"SHOPPERS": "forged"}),
]


async def test_a_target_that_is_down_is_one_sentence(kit: Kit) -> None:
    ran = await kit("create-order", f"http://127.0.0.1:{free_port()}")
    assert ran.code == ABORTED
    assert "Nothing answers at" in ran.output and "Is the shop running" in ran.output
    assert ran.summary is None and "PASS" not in ran.output


async def test_what_can_show_nothing_ends_at_once_with_a_sentence(
    shop: str, publish: Publish, kit: Kit, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    (tmp_path / "few").write_text("".join(f"{cookie_of(shopper())['Cookie']}\n" for _ in range(3)))
    (tmp_path / "forged").write_text("flashdrop_shopper=made.up:value\n" * 501)
    sales = []
    for case in HOPELESS:
        moved = {name: now + value if isinstance(value, timedelta) else value for name, value in case.sale.items()}
        sales.append(await publish(**moved))
    await follows(shop, sales[-1])

    async def tried(case: Hopeless, sale: PublishedSale, turn: asyncio.Semaphore) -> Ran:
        settings = dict(case.settings)
        if settings.get("SHOPPERS") in ("few", "forged"):
            settings["SHOPPERS"] = str(tmp_path / settings["SHOPPERS"])
        url, sku = settings.pop("API_URL", shop), settings.pop("SKU", sale.sku)
        async with turn:
            return await kit(case.scenario, url, sku, **settings)

    turn = asyncio.Semaphore(2)
    found = await asyncio.gather(*(tried(case, sale, turn) for case, sale in zip(HOPELESS, sales, strict=True)))
    for case, ran in zip(HOPELESS, found, strict=True):
        assert case.sentence in ran.output, f"{case}\n{ran.output}"
        assert ran.code == ABORTED, case
        assert "PASS" not in ran.output and ran.summary is None, case


# A shop that breaks while the kit is looking. Most of these are under way at the same time.


async def once_sold(url: str, sku: str) -> None:
    """Wait until the first unit is gone."""
    async with client_of(url) as client:

        async def has_sold() -> bool:
            stock = (await client.get(f"/api/products/{sku}/stock")).json()["data"]
            return bool(stock["availableStock"] < stock["totalStock"])

        await eventually(has_sold, 30)


async def while_it_is_paused(shop: str, kit: Kit) -> Ran:
    settings = settings_of(stock=500)
    sale = (await publishing.publish(settings)).sale
    await follows(shop, sale)
    run = asyncio.create_task(kit("soak", shop, sale.sku, SCALE="0.5", STRETCH="0.3"))
    await once_sold(shop, sale.sku)
    await publishing.publish(replace(settings, paused=True))
    return await run


async def through_a_faulty_proxy(shop: str, kit: Kit) -> Ran:
    sale = (await publishing.publish(settings_of(stock=500))).sale
    await follows(shop, sale)
    async with faulty_proxy(shop, every=100) as url:
        return await kit("create-order", url, sale.sku, STRETCH="0.4")


async def with_a_doubled_stock(careless: CarelessShop, kit: Kit) -> Ran:
    """The gate's stock is doubled and the ledger's unique indexes dropped while shoppers buy."""
    run = asyncio.create_task(kit("soak", careless.url, "doubled", SCALE="2", STRETCH="0.3"))
    await once_sold(careless.url, "doubled")
    for name, index in careless.ledger["orders"].index_information().items():
        if index.get("unique") and name != "_id_":
            careless.ledger["orders"].drop_index(name)
    (sale,) = careless.ledger["sales"].find({"sku": "doubled"})
    careless.gate.hset(sale_keys(sale["_id"]).sale, "stock", "40")
    return await run


async def without_a_limit(careless: CarelessShop, kit: Kit) -> Ran:
    return await kit("create-order", careless.url, "limitless", SCALE="0.5", STRETCH="0.2")


async def with_a_stopped_store(careless: CarelessShop, kit: Kit) -> Ran:
    """The ledger does not come back."""
    short = {"SCALE": "0.5", "STRETCH": "0.2", "SETTLE_MS": "4000"}
    run = asyncio.create_task(kit("create-order", careless.url, "stopped", **short))
    await once_sold(careless.url, "stopped")
    careless.mongo.kill()
    return await run


Broken = dict[str, asyncio.Task[Ran]]


@pytest.fixture(scope="module")
async def broken(shop: str, careless_shop: CarelessShop, kit: Kit) -> AsyncIterator[Broken]:
    """The runs against broken shops, by what is broken."""
    for sku, stock in (("doubled", 20), ("limitless", 400), ("stopped", 400)):
        await asyncio.to_thread(careless_shop.seed, sku, stock)
        await is_on_show(careless_shop.url, sku)
    doubled = asyncio.create_task(with_a_doubled_stock(careless_shop, kit))

    async def after(others: list[asyncio.Task[Ran]], run: Callable[..., Awaitable[Ran]]) -> Ran:
        await asyncio.wait(others)
        return await run(careless_shop, kit)

    limitless = asyncio.create_task(after([doubled], without_a_limit))  # the indexes are gone by then
    found = {
        "paused": asyncio.create_task(while_it_is_paused(shop, kit)),
        "errors": asyncio.create_task(through_a_faulty_proxy(shop, kit)),
        "doubled": doubled,
        "limitless": limitless,
        "stopped": asyncio.create_task(after([doubled, limitless], with_a_stopped_store)),
    }
    yield found
    for task in found.values():
        task.cancel()


async def test_a_sale_that_is_paused_on_the_way_is_no_pass(broken: Broken) -> None:
    ran = await broken["paused"]
    assert ran.code == THRESHOLDS_CROSSED
    assert ran.broken == ["expected"], ran.output
    assert "FAIL: The sale stayed as this scenario needs it" in ran.output
    assert "refused as SALE_PAUSED: somebody has paused the sale" in ran.output


async def test_one_server_error_in_a_hundred_answers_is_found(broken: Broken) -> None:
    ran = await broken["errors"]
    assert ran.code == THRESHOLDS_CROSSED
    assert "no_5xx" in ran.broken, ran.output
    assert "FAIL: No answer is a server error" in ran.output
    assert "answered 500: a proxy's own words" in ran.output


async def test_units_sold_twice_are_found(broken: Broken) -> None:
    ran = await broken["doubled"]
    assert ran.code == THRESHOLDS_CROSSED, ran.output
    assert ran.broken == ["within_stock", "expected"], ran.output
    assert "20 units confirmed above the stock" in ran.output
    assert "the stock went from 20 to 40" in ran.output


async def test_a_shopper_with_two_orders_is_found(broken: Broken) -> None:
    ran = await broken["limitless"]
    assert ran.code == THRESHOLDS_CROSSED, ran.output
    assert ran.broken == ["within_limit"], ran.output
    assert "was confirmed" in ran.output and "No shopper holds more units than the limit" in ran.output


async def test_a_store_that_stops_is_found(broken: Broken) -> None:
    ran = await broken["stopped"]
    assert ran.code == THRESHOLDS_CROSSED, ran.output
    assert "settled" in ran.broken, ran.output


@contextlib.asynccontextmanager
async def faulty_proxy(target: str, every: int) -> AsyncIterator[str]:
    """A reverse proxy that answers each n-th request about orders itself, with 500."""
    seen = 0
    async with client_of(target, limits=httpx.Limits(max_connections=50), timeout=30) as client:

        async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
            nonlocal seen
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            seen += scope["path"].startswith("/api/orders")
            if scope["path"].startswith("/api/orders") and seen % every == 0:
                await send({"type": "http.response.start", "status": 500, "headers": []})
                await send({"type": "http.response.body", "body": b"a proxy's own words"})
                return
            headers = [pair for pair in scope["headers"] if pair[0] != b"host"]
            answer = await client.request(scope["method"], scope["path"], headers=headers, content=body)
            kept = [pair for pair in answer.headers.raw if pair[0].lower() != b"content-encoding"]
            kept = [pair for pair in kept if pair[0].lower() != b"content-length"]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
            await send({"type": "http.response.body", "body": answer.content})

        config = uvicorn.Config(application, port=free_port(), log_level="error", lifespan="off")  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(server.serve())
        await eventually(lambda: asyncio.sleep(0, server.started))
        try:
            yield f"http://127.0.0.1:{config.port}"
        finally:
            server.should_exit = True
            await serving


@dataclass
class CarelessShop:
    """A shop whose code was changed for the worse, over stores of its own."""

    url: str
    gate: redis.Redis
    ledger: pymongo.database.Database[dict[str, Any]]
    mongo: Server
    seed: Callable[[str, int], None]


@pytest.fixture(scope="module")
def careless_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CarelessShop]:
    """The gate forgets the limit, the process looks at no units, slots or indexes; the ledger has no unique index."""
    folder = tmp_path_factory.mktemp("careless")
    tree = folder / "tree"
    for name in ("flashdrop", "sales", "orders", "lua", "templates", "static"):
        shutil.copytree(BASE_DIR / name, tree / name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    shutil.copy(BASE_DIR / "manage.py", tree)
    spoil(tree / "lua/reserve.lua", "  if held + quantity > limit then return {LIMIT_EXCEEDED, held} end\n", "")
    covered = "max(reservation.units) <= sale.stock and max(reservation.slots) <= sale.highest_limit"
    spoil(tree / "orders/settlement.py", f"return {covered}", "return True")
    words = '    return f"the ledger has lost'
    spoil(tree / "orders/indexes.py", words, f"    wrong = []\n{words}")
    started: list[Server] = []
    shop: subprocess.Popen[bytes] | None = None
    try:
        gate, redis_url = start_redis(folder / "redis")
        started.append(gate)
        mongo, mongodb_url = start_mongo(folder / "mongo")
        started.append(mongo)
        (folder / "data").mkdir()
        stores = {"REDIS_URL": redis_url, "MONGODB_URL": mongodb_url, "FLASHDROP_DATA_DIR": str(folder / "data")}
        # A back office of its own too: the worker of another shop would publish what it finds unpublished.
        environment = os.environ | stores | {"DATABASE_URL": f"sqlite:///{folder}/db.sqlite3"}
        shutil.copytree(Path(os.environ["FLASHDROP_DATA_DIR"]) / "static", folder / "data/static", dirs_exist_ok=True)
        port = free_port()
        manage = [sys.executable, str(tree / "manage.py")]
        subprocess.run([*manage, "migrate", "--verbosity", "0"], env=environment, check=True)
        shop = subprocess.Popen(
            [*manage, "serve", "--port", str(port), "--workers", "1"], env=environment, start_new_session=True
        )
        ledger = pymongo.MongoClient(mongodb_url)["flashdrop"]

        def seed(sku: str, stock: int) -> None:
            options = ["--sku", sku, "--stock", str(stock), "--opens-in", "0", "--lasts", "600"]
            subprocess.run([*manage, "seed_demo", *options], env=environment, check=True, stdout=subprocess.DEVNULL)

        yield CarelessShop(f"http://127.0.0.1:{port}", redis.Redis.from_url(redis_url), ledger, mongo, seed)
    finally:
        if shop:
            os.killpg(shop.pid, signal.SIGKILL)
            shop.wait()
        for server in started:
            server.kill()


def spoil(path: Path, good: str, bad: str) -> None:
    text = path.read_text()
    assert text.count(good) == 1, f"{path.name} has changed: this test no longer breaks it"
    path.write_text(text.replace(good, bad))


async def is_on_show(url: str, sku: str) -> None:
    async with client_of(url) as client:

        async def shown() -> bool:
            with contextlib.suppress(httpx.TransportError):
                found = await client.get(f"/api/products/{sku}/sale-status")
                return found.status_code == 200 and found.json()["data"]["phase"] == "active"
            return False

        await eventually(shown, 30)
