"""A real Prometheus watches a real shop: every question is answered, the figures are right, faults call somebody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from conftest import BASE_DIR, FOLDER, MONGO_PORT, Processes, cookie_of, eventually, follows, settings_of, shopper, show
from flashdrop.dashboards.__main__ import DASHBOARDS
from flashdrop.dashboards.picture import curves_of
from flashdrop.dashboards.prometheus import Prometheus, shipped_rules
from flashdrop.dashboards.sale_live import STOCK
from flashdrop.embedded.process import free_port
from flashdrop.embedded.redis_server import start_redis
from flashdrop.redis_client import new_redis
from sales import publishing
from sales.keys import sale_keys
from sales.published import PublishedSale

EVERY = "1s"
UNITS, SHOPPERS = 12, 18
ASKED_AGAIN = 5
# Panels that have nothing to show when all is well.
EMPTY_WHEN_WELL = {"Time of a rebuild": "the mean over rebuilds, of which there were none"}
TABLE = re.compile(r"^\| `(\w+)` \| (\w+) \| [^|]+ \|\s*([^|]*?)\s*\| (\w+) \| .+ \|$", re.MULTILINE)
# A sale whose gate has never heard of three of its orders, and one that opens in five minutes.
PREPARED = """
import django; django.setup()
from datetime import timedelta
from flashdrop import loops
from flashdrop.bench.offers import offer, write_orders
sale = offer("drifting", 10)
loops.run(lambda: write_orders(sale, 3))
offer("early", 10, timedelta(minutes=5))
"""


@dataclass(frozen=True)
class Watched:
    """A shop, the Prometheus that watches it, and what its shoppers were told."""

    url: str
    worker_url: str
    prometheus: Prometheus
    sale: PublishedSale
    told: Counter[str]
    before: Mapping[str, float]


def told_by(url: str) -> dict[str, float]:
    """The shop's own count of answers to those who buy."""
    return {
        sample.labels["outcome"]: sample.value
        for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
        for sample in family.samples
        if sample.name == "flashdrop_orders_total"
    }


async def buy(url: str, sku: str) -> Counter[str]:
    """Everybody wants one, each over a connection of their own; some ask again under a key of theirs."""
    told: Counter[str] = Counter()

    async def one(number: int) -> None:
        async with httpx.AsyncClient(base_url=url, headers=cookie_of(shopper()), timeout=20) as client:
            for path in ("/", f"/sales/{sku}/", f"/sales/{sku}/me", f"/api/products/{sku}/sale-status"):
                assert (await client.get(path)).status_code == 200, path
            for _ in range(2 if number < ASKED_AGAIN else 1):
                answer = await client.post("/api/orders", json={"sku": sku, "quantity": 1})
                told[answer.json()["code"] or "completed"] += 1

    await asyncio.gather(*(one(number) for number in range(SHOPPERS)))
    return told


@pytest.fixture(scope="module")
def running() -> Iterator[Processes]:
    started = Processes()
    yield started
    started.stop_all()


@pytest.fixture(scope="module")
async def watched(
    shop: str, running: Processes, ledger_indexes: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Watched]:
    port = free_port()
    sale = (await publishing.publish(settings_of(stock=UNITS))).sale
    await show()
    await follows(shop, sale)
    targets = {"flashdrop-web": [shop.removeprefix("http://")], "flashdrop-worker": [f"127.0.0.1:{port}"]}
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), targets, shipped_rules(), EVERY)
    try:
        await eventually(answer_of(prometheus, 'count(up{job="flashdrop-web"} == 1)'), 20)
        await asyncio.sleep(1.5)  # a first look before the rise
        before = told_by(shop)
        told = await buy(shop, sale.sku)
        # Last: its first look at the ledger finds the orders, however many other sales the suite has left behind.
        running.start("run_worker", WORKER_METRICS_PORT=str(port))
        await eventually(answer_of(prometheus, "flashdrop_worker_last_round_timestamp_seconds > 0"), 30)
        yield Watched(shop, f"http://127.0.0.1:{port}", prometheus, sale, told, before)
    finally:
        prometheus.stop()


def answer_of(prometheus: Prometheus, expr: str) -> Callable[[], Awaitable[object]]:
    async def ask() -> object:
        return prometheus.query(expr)

    return ask


def concrete(expr: str, sku: str) -> str:
    return expr.replace("$sku", sku).replace("$instance", ".+")


async def answered(prometheus: Prometheus, asked: set[str], seconds: float = 15.0) -> set[str]:
    """Ask each until it has been answered with data once; gives those that never were."""
    waiting = set(asked)

    async def all_answered() -> bool:
        waiting.difference_update([expr for expr in waiting if prometheus.query(expr)])
        return not waiting

    with contextlib.suppress(AssertionError):
        await eventually(all_answered, seconds)
    return waiting


async def test_every_question_of_the_dashboards_is_answered(watched: Watched) -> None:
    asked = [
        (panel.title, concrete(ask.expr, watched.sale.sku))
        for dashboard in DASHBOARDS.values()
        for panel in dashboard.panels
        for ask in panel.asks
    ]
    due = {expr for title, expr in asked if title not in EMPTY_WHEN_WELL}
    assert await answered(watched.prometheus, due) == set()
    quiet = {expr for title, expr in asked if title in EMPTY_WHEN_WELL}
    assert quiet and all(watched.prometheus.query(f"({expr}) or vector(0)") for expr in quiet)


async def test_every_recorded_figure_is_there(watched: Watched) -> None:
    groups = yaml.safe_load(shipped_rules()["recording.yml"])["groups"]
    names = {rule["record"] for group in groups for rule in group["rules"]}
    assert await answered(watched.prometheus, names) == set()
    healths = {
        rule["name"]: (rule["health"], rule.get("lastError"))
        for group in watched.prometheus.ask("rules")["groups"]
        for rule in group["rules"]
    }
    assert len(healths) > len(names)
    assert {name: health for name, health in healths.items() if health[0] != "ok"} == {}


async def test_totals_over_both_web_processes_are_what_shoppers_were_told(watched: Watched) -> None:
    assert watched.told["completed"] == UNITS and sum(watched.told.values()) == SHOPPERS + ASKED_AGAIN
    assert [value for _, value in watched.prometheus.query("sum(flashdrop_processes{job='flashdrop-web'})")] == [2]

    async def agrees() -> bool:
        found = {
            labels["outcome"]: value - watched.before[labels["outcome"]]
            for labels, value in watched.prometheus.query(
                "sum by (outcome) (flashdrop_orders_total{job='flashdrop-web'})"
            )
        }
        return {outcome: count for outcome, count in found.items() if count} == {
            outcome.lower(): count for outcome, count in watched.told.items()
        }

    await eventually(agrees)
    sku = f'{{sku="{watched.sale.sku}"}}'

    async def ledger_agrees() -> bool:
        names = ("confirmed_units:max", "available_units:min", "stock_units:max")
        found = [watched.prometheus.query(f"sku:flashdrop_sale_{name}{sku}") for name in names]
        return [series[0][1] if series else None for series in found] == [UNITS, 0, UNITS]

    await eventually(ledger_agrees)


async def test_a_healthy_sale_calls_nobody(watched: Watched) -> None:
    firing = watched.prometheus.query(f'ALERTS{{alertstate="firing",sku="{watched.sale.sku}"}}')
    firing += watched.prometheus.query('ALERTS{alertstate="firing",alertname=~".*(Missing|Down)"}')
    assert firing == []


async def test_prometheus_may_call_by_address_what_it_found_by_dns(watched: Watched) -> None:
    """Only that: a shopper's request under a strange name is refused as ever."""
    strange = {"Host": "10.0.0.7:8000"}
    assert httpx.get(f"{watched.url}/metrics", headers=strange).status_code == 200
    assert httpx.get(f"{watched.url}/admin/login/", headers=strange).status_code == 400
    assert httpx.get(f"{watched.worker_url}/metrics", headers=strange).status_code == 200


def exported(url: str) -> dict[str, tuple[str, set[str]]]:
    """Every metric of ours that an endpoint has figures for: type and labels, by its documented name."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text):
        if not family.name.startswith("flashdrop_") or family.name.endswith("_created"):
            continue
        for sample in family.samples:
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = set(sample.labels) - {"le"}
            assert found.setdefault(name, (family.type, labels))[1] == labels, name
    return found


async def test_the_reference_lists_every_metric_and_no_other(watched: Watched) -> None:
    rows = TABLE.findall((BASE_DIR / "docs/reference/metrics.md").read_text())
    listed = {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels, _ in rows}
    assert len(rows) == len(listed) > 30
    web, worker = exported(watched.url), exported(watched.worker_url)
    assert {name: found for name, found in (web | worker).items() if listed.get(name) != found} == {}
    for where, found in (("web", web), ("worker", worker)):
        due = {name for name, *_, place in rows if place in (where, "both")}
        assert due - set(found) == set(), f"listed for {where}, and not there"
    assert {name for name in web if name not in {row[0] for row in rows if row[3] in ("web", "both")}} <= {
        "flashdrop_rebuilds_total",
        "flashdrop_rebuild_duration_seconds",
    }, "from the web too"


async def test_a_panel_can_be_drawn(watched: Watched) -> None:
    class OnlyThis(Prometheus):
        def __init__(self) -> None:
            self.url = watched.prometheus.url

        def query(self, expr: str) -> list[tuple[dict[str, str], float]]:
            found = watched.prometheus.query(expr)
            now = watched.prometheus.query("time()")[0][1]
            return [(labels, now - 5) for labels, _ in found if labels["sku"] == watched.sale.sku]

    curves = {curve.label: curve.points[-1][1] for curve in curves_of(OnlyThis(), STOCK.asks)}
    assert curves == {"stock": UNITS, "available": 0, "confirmed": UNITS}


# Faults, made for real, in a shop over stores of its own.


def impatient(rules: Mapping[str, str]) -> dict[str, str]:
    """The same rules, without waiting for long."""
    return {name: re.sub(r"\bfor: \d+[sm]", "for: 1s", text) for name, text in rules.items()}


class Faulty:
    """A web process, a worker and a Prometheus, over a Redis that may be stopped and a database of their own."""

    def __init__(self, folder: Path, running: Processes) -> None:
        self.redis, self.redis_url = start_redis(folder / "redis")
        shutil.copy(FOLDER / "db.sqlite3", folder)
        self.port, self.worker_port = free_port(), free_port()
        self.environment = {
            "REDIS_URL": self.redis_url,
            "MONGODB_URL": f"mongodb://127.0.0.1:{MONGO_PORT}/{folder.name}?replicaSet=rs0",
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "WORKER_METRICS_PORT": str(self.worker_port),
        }
        prepare = [sys.executable, "-c", PREPARED]
        subprocess.run(prepare, cwd=BASE_DIR, env=os.environ | self.environment, check=True, timeout=30)
        running.start("serve", "--port", str(self.port), "--workers", "1", **self.environment)
        self.worker = running.start("run_worker", **self.environment)
        targets = {
            "flashdrop-web": [f"127.0.0.1:{self.port}"],
            "flashdrop-worker": [f"127.0.0.1:{self.worker_port}"],
        }
        self.prometheus = Prometheus(folder, targets, impatient(shipped_rules()), "500ms")

    async def calls(self, alert: str, **labels: str) -> None:
        """Wait for the alert to fire with these labels."""
        wanted = labels | {"alertname": alert}

        async def fires() -> bool:
            firing = [found for found, _ in self.prometheus.query('ALERTS{alertstate="firing"}')]
            return any(wanted.items() <= found.items() for found in firing)

        await eventually(fires, 25)

    def stop(self) -> None:
        self.prometheus.stop()
        self.redis.stop()


@pytest.fixture
def faulty(migrated: None, static_files: None, running: Processes, tmp_path: Path) -> Iterator[Faulty]:
    found = Faulty(tmp_path, running)
    yield found
    found.stop()


async def test_faults_call_an_operator(faulty: Faulty, running: Processes) -> None:
    await faulty.calls("FlashdropGateForgotOrders", sku="drifting")
    assert await eventually(lambda: healed(faulty)), "the worker has made it good"

    running.stop(faulty.worker)
    await faulty.calls("FlashdropWorkersMissing")
    await faulty.calls("FlashdropWorkerDown")
    gate = new_redis(faulty.redis_url)
    await gate.delete(*sale_keys("early"))
    await gate.aclose()
    await faulty.calls("FlashdropSaleNotReadyBeforeOpening", sku="early")
    firing = {found["alertname"] for found, _ in faulty.prometheus.query('ALERTS{alertstate="firing"}')}
    assert not firing & {"FlashdropGateNotLoaded", "FlashdropStoreUnreachable", "FlashdropOversold"}

    faulty.redis.stop()
    await faulty.calls("FlashdropStoreUnreachable", store="redis")
    await faulty.calls("FlashdropBoardStale")
    await faulty.calls("FlashdropGateNotLoaded", sku="drifting")


async def healed(faulty: Faulty) -> bool:
    asked = 'flashdrop_sale_forgotten_units{sku="drifting"} or flashdrop_rebuilds_total{outcome="in_force"} > 1'
    return [value for _, value in faulty.prometheus.query(asked)] == [0]
