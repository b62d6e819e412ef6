"""The benchmark itself, in small: every part runs and finds something, and figures that would be untrue are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flashdrop.bench import traffic
from flashdrop.bench.parts import PARTS, measure
from flashdrop.bench.row import Findings
from flashdrop.bench.traffic import Extent, Traffic, Untrue
from flashdrop.bench.wrk import GENERATOR_LIMIT, Load, WrkMissing, run_wrk

AT_ONCE = 2
LONGEST_SECONDS = 300
TINY = Extent(
    seconds=1,
    runs=1,
    cookies=40_000,  # more than a quick machine buys in a second
    many=(200,),
    ledger_orders=2000,
    soak_seconds=4,
    sockets=40,
    banner_changes=3,
    shoppers=60,
    browsers=3,
)
FIRST_ROWS = {
    "start": "start: `serve` answers",
    "traffic": "bare ASGI, one worker",
    "opening": "an opening: 60 shoppers, 1,000 units, all click within 2 s: slowest true answer",
    "sockets": "banner to 40 websockets on one process: 99th percentile",
    "growth": "an order's cost with 2,000 orders in its sale, against 1,000",
    "pages": "a sale's page on a phone of 360 by 740, first visit, over the wire",
    "soak": "memory of the web workers over 4 s of purchases and pages",
}


def load(**changes: Any) -> Load:
    values: dict[str, Any] = {
        "requests": 100,
        "seconds": 1.0,
        "refused": 0,
        "broken": 0,
        "timeouts": 0,
        "latency_ms": {50.0: 1.0, 99.0: 2.0},
        "generator_share": 0.5,
    }
    return Load(**values | changes)


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[str, Future[Findings]]]:
    """Every part, two at a time, as each has its own stores: one runs while the other waits for a shop to start.

    The figures are worse for it; nothing here asks for more than a small share of them.
    """
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield {name: pool.submit(measure, name, TINY) for name in PARTS}
    finally:
        # Its threads stay until then: a part ends with the thread that started it.
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", PARTS)
async def test_each_part_finds_its_rows(measured: dict[str, Future[Findings]], name: str) -> None:
    # Awaited, so that this process's own clients of the stores go on hearing from them meanwhile.
    found = await asyncio.wait_for(asyncio.wrap_future(measured[name]), LONGEST_SECONDS)
    assert found.rows[0].name == FIRST_ROWS[name]
    assert all(row.runs and row.figure == row.figure for row in found.rows)
    if name == "traffic":
        orders = next(row for row in found.rows if row.name.startswith("confirmed orders"))
        assert orders.figure > 50
        assert {curve.plot for curve in found.curves} == {"percentiles", "throughput", "latency"}


def test_orders_that_the_ledger_does_not_hold_are_no_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(traffic, "offer", lambda *_: None)
    monkeypatch.setattr(traffic, "ON_SHOW_SECONDS", 0)
    monkeypatch.setattr(traffic, "run_wrk", lambda *_, **__: load())
    (tmp_path / "cookies.txt").touch()
    stores: Any = SimpleNamespace(folder=tmp_path)
    shop: Any = SimpleNamespace(url="http://127.0.0.1:1")
    for held, is_true in ((100, True), (110, True), (99, False), (201, False)):
        monkeypatch.setattr(traffic, "sold", lambda _, held=held: held)
        if is_true:
            assert Traffic(stores, shop, TINY).orders(connections=100).requests == 100
        else:
            with pytest.raises(Untrue, match=f"holds {held}"):
                Traffic(stores, shop, TINY).orders(connections=100)


def test_a_generator_at_its_limit_says_so() -> None:
    assert load(generator_share=GENERATOR_LIMIT + 0.01).is_generator_limited
    assert not load(generator_share=GENERATOR_LIMIT - 0.01).is_generator_limited


def test_without_wrk_the_benchmark_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(WrkMissing, match="make tools"):
        run_wrk("http://127.0.0.1:1/", 1, 1)
