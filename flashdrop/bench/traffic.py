"""What the shop does under wrk: the hot answers, many connections, and what they are held against."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from flashdrop.bench import limits
from flashdrop.bench.offers import ONE_UNIT, mint_cookies, offer, sold
from flashdrop.bench.row import Curve, Findings, Row
from flashdrop.bench.shop import Shop
from flashdrop.bench.stores import Stores
from flashdrop.bench.wrk import Load, run_wrk

CONNECTIONS = 100
# Bare ASGI on the machine on which the absolute figures were set. Another machine's share of it is its pace.
REFERENCE_HELLO = 47_000
# Tens of thousands of reservations a second have to be released again.
GATE_SECONDS = 2
# For the board to show a sale that was just published.
ON_SHOW_SECONDS = 1.5
PLENTY = 10_000_000
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
GZIP = {"Accept-Encoding": "gzip"}
STATUS, PAGE, ORDER, BUY_FORM, SOLD_OUT = "sale status", "sale page", "orders", "HTMX form", "sold out"
ERRORS = "errors"


class Untrue(Exception):
    """What clients were told is not what the ledger holds: the figure would mean nothing."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of everything: `make bench` looks, `make bench ARGS=--full` measures."""

    seconds: int
    runs: int
    cookies: int
    many: tuple[int, ...]
    """The connections beyond the first hundred."""
    ledger_orders: int
    soak_seconds: int
    sockets: int
    banner_changes: int
    shoppers: int
    browsers: int


SHORT = Extent(3, 3, 60_000, (500, 5000), 100_000, 30, 10_000, 10, 5000, 6)
FULL = Extent(6, 3, 100_000, (250, 500, 1000, 2500, 5000), 1_000_000, 600, 10_000, 20, 5000, 200)


@dataclass(slots=True)
class Traffic:
    """One shop under load. `pace` is this machine's share of the reference machine's."""

    stores: Stores
    shop: Shop
    extent: Extent
    pace: float = 0.0
    loads: dict[str, list[Load]] = field(default_factory=dict)

    @property
    def cookies(self) -> Path:
        """Signed cookies of more shoppers than a run has purchases."""
        path = self.stores.folder / "cookies.txt"
        if not path.exists():
            mint_cookies(path, self.extent.cookies)
        return path

    def status(self, connections: int = CONNECTIONS) -> Load:
        """Ask for a running sale's status."""
        return self._get("/api/products/bench-open/sale-status", connections)

    def page(self, connections: int = CONNECTIONS) -> Load:
        """Ask for a running sale's page, packed."""
        return self._get("/sales/bench-open/", connections)

    def sold_out(self, connections: int = CONNECTIONS) -> Load:
        """Try to buy where nothing is left."""
        return self._buy(connections, "/api/orders", JSON, '{"sku":"bench-empty"}')

    def orders(self, connections: int = CONNECTIONS) -> Load:
        """Buy in a new sale with plenty of stock; every `201` must be in the ledger."""
        return self._sell(connections, lambda sku: ("/api/orders", JSON, f'{{"sku":"{sku}"}}'))

    def form_orders(self, connections: int = CONNECTIONS) -> Load:
        """The same by the page's form, as htmx sends it."""
        return self._sell(connections, lambda sku: (f"/sales/{sku}/orders", FORM, f"{ONE_UNIT}&attempt={sku}", "htmx"))

    def buy_from(self, sku: str, cookies: Path, connections: int = CONNECTIONS) -> Load:
        """Buy in a sale that is on show, as the shoppers of `cookies`."""
        request = (str(cookies), "/api/orders", JSON, f'{{"sku":"{sku}"}}')
        return run_wrk(self.shop.url, connections, self.extent.seconds, buy=request)

    def _get(self, path: str, connections: int) -> Load:
        return run_wrk(self.shop.url + path, connections, self.extent.seconds, headers=GZIP)

    def _buy(self, connections: int, *request: str) -> Load:
        return run_wrk(self.shop.url, connections, self.extent.seconds, buy=(str(self.cookies), *request))

    def _sell(self, connections: int, request: Callable[[str], tuple[str, ...]]) -> Load:
        sku = f"bench-{secrets.token_hex(4)}"
        offer(sku, PLENTY)
        time.sleep(ON_SHOW_SECONDS)
        load = self._buy(connections, *request(sku))
        told, held = load.requests - load.refused, sold(sku)
        # What was under way when wrk stopped is in the ledger, and nobody was told.
        if not told <= held <= told + connections:
            raise Untrue(f"{told:,} orders were confirmed to clients, and the ledger holds {held:,}")
        return load


def measure_traffic(traffic: Traffic) -> Findings:
    """Every row about requests; see `docs/reference/benchmarks.md`."""
    offer("bench-open", PLENTY)
    offer("bench-empty", 0)
    time.sleep(ON_SHOW_SECONDS)
    found = Findings()
    found.rows += _calibrate(traffic)
    asked: dict[str, tuple[Callable[..., Load], float]] = {
        ORDER: (traffic.orders, 9_000),
        BUY_FORM: (traffic.form_orders, 0),
        SOLD_OUT: (traffic.sold_out, 22_000),
        STATUS: (traffic.status, 36_000),
        PAGE: (traffic.page, 25_000),
    }
    # Round after round, so that a slow minute of the machine falls on all of them alike.
    for _ in range(traffic.extent.runs):
        for name, (load, _) in asked.items():
            traffic.loads.setdefault(name, []).append(load())
    for name, (_, at_least) in asked.items():
        if at_least:
            found.rows.append(_rate_row(traffic, name, at_least))
    found.rows += _compared(traffic, found.rows)
    found.rows += [_latency_row(traffic, ORDER, 60), _latency_row(traffic, STATUS, 10)]
    found.curves += [Curve("percentiles", name, _percentiles(loads)) for name, loads in traffic.loads.items()]
    _add_many_connections(traffic, found)
    return found


def _calibrate(traffic: Traffic) -> list[Row]:
    extent = traffic.extent
    with limits.bare_asgi(traffic.stores.folder) as url:
        hello = tuple(run_wrk(url, CONNECTIONS, extent.seconds).per_second for _ in range(extent.runs))
    traffic.pace = min(1.0, median(hello) / REFERENCE_HELLO)
    return [
        Row("bare ASGI, one worker", hello, "/s", notes=(f"pace {traffic.pace:.2f} of the machine the aims are from",)),
        Row("the gate alone: reservations in batches of 256", _again(extent, limits.gate_limit, GATE_SECONDS), "/s"),
        Row("the stores' limit: durable orders in batches of 256, no HTTP", _again(extent, limits.stores_limit), "/s"),
        Row("the naive path: one order at a time, 64 at once, no HTTP", _again(extent, limits.naive_rate), "/s"),
    ]


def _again(extent: Extent, measure: Callable[[float], float], most_seconds: float = 60) -> tuple[float, ...]:
    return tuple(measure(min(extent.seconds, most_seconds)) for _ in range(extent.runs))


def _rate_row(traffic: Traffic, name: str, at_least: float) -> Row:
    loads = traffic.loads[name]
    runs = tuple(load.per_second for load in loads)
    here = at_least * traffic.pace
    reach = f"at least {at_least:,.0f}/s" + (f", {here:,.0f}/s at this pace" if traffic.pace < 1 else "")
    labels = {ORDER: "confirmed orders", SOLD_OUT: "sold-out answers", STATUS: "sale-status answers"}
    label = f"{labels.get(name, 'full sale page, gzip')}, {CONNECTIONS} connections"
    notes = _generator_notes(loads)
    if here <= median(runs) < at_least:
        notes = ("below the absolute aim, above it at this machine's pace", *notes)
    return Row(label, runs, "/s", reach, median(runs) >= here, notes)


def _compared(traffic: Traffic, rows: list[Row]) -> list[Row]:
    stores, naive = (next(row for row in rows if row.name.startswith(f"the {what}")) for what in ("stores", "naive"))
    orders = [load.per_second for load in traffic.loads[ORDER]]
    forms = [load.per_second for load in traffic.loads[BUY_FORM]]
    of_stores = tuple(100 * rate / stores.figure for rate in orders)
    of_json = tuple(100 * form / json for form, json in zip(forms, orders, strict=True))
    return [
        Row("orders, as a share of the stores' limit", of_stores, "%", "at least 25%", median(of_stores) >= 25),
        Row("orders over HTTP, against the naive path without", tuple(rate / naive.figure for rate in orders), "x"),
        Row("buying by the form, as a share of the JSON rate", of_json, "%", "at least 80%", median(of_json) >= 80),
    ]


def _latency_row(traffic: Traffic, name: str, at_most_ms: float) -> Row:
    runs = tuple(load.latency_ms[99] for load in traffic.loads[name])
    reach = f"at most {at_most_ms:.0f} ms"
    return Row(f"99th percentile at {CONNECTIONS} connections: {name}", runs, "ms", reach, median(runs) <= at_most_ms)


def _percentiles(loads: list[Load]) -> list[tuple[float, float]]:
    return [(share, median(load.latency_ms[share] for load in loads)) for share in loads[0].latency_ms]


def _add_many_connections(traffic: Traffic, found: Findings) -> None:
    for name, load in ((ORDER, traffic.orders), (STATUS, traffic.status)):
        at_first = median(one.per_second for one in traffic.loads[name])
        rates = [(float(CONNECTIONS), at_first)]
        waits = [(float(CONNECTIONS), median(one.latency_ms[99] for one in traffic.loads[name]))]
        for connections in traffic.extent.many:
            is_asked = connections in (500, 5000)
            loads = [load(connections) for _ in range(traffic.extent.runs if is_asked else 1)]
            shares = tuple(100 * one.per_second / at_first for one in loads)
            wrong = sum(one.refused + one.broken + one.timeouts for one in loads)
            rates.append((float(connections), median(one.per_second for one in loads)))
            waits.append((float(connections), median(one.latency_ms[99] for one in loads)))
            found.rows.append(
                Row(
                    f"{name} at {connections:,} connections, as a share of the rate at {CONNECTIONS}",
                    shares,
                    "%",
                    "at least 80%, nothing refused, timed out or reset" if is_asked else "",
                    median(shares) >= 80 and not wrong if is_asked else None,
                    (f"refused, reset or timed out: {wrong:,} of {sum(one.requests for one in loads):,}",),
                )
            )
        found.curves += [Curve("throughput", name, rates), Curve("latency", name, waits)]


def _generator_notes(loads: list[Load]) -> tuple[str, ...]:
    share = median(load.generator_share for load in loads)
    limited = any(load.is_generator_limited for load in loads)
    return (f"the generator used {share:.0%} of a core" + (" and was the limit" if limited else ""),)
