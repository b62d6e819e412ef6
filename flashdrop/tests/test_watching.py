"""What is shipped for watching: Prometheus reads it, it asks for what exists, and every alert has its runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from flashdrop import metrics, supervised
from flashdrop.config import BASE_DIR
from flashdrop.dashboards.__main__ import DASHBOARDS, FOLDER, text_of, write
from flashdrop.lean import LeanHandler, hot_routes
from flashdrop.sampling import _Sales
from orders.order import OrderStatus
from orders.placing import Refusal
from orders.telemetry import Telemetry

DEPLOY = BASE_DIR / "deploy/prometheus"
MONITOR = BASE_DIR / "docs/how-to/monitor.md"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
# What others define: Prometheus itself, and django-prometheus.
OTHERS = {"up", "ALERTS", "django_http_responses_total_by_status_total"}
NAME = re.compile(r"\b(?:(?:flashdrop|django|process|python)_\w+|[a-z]\w*:\w+:\w+|up(?=\{)|ALERTS)")


def rules(file: str) -> list[dict[str, Any]]:
    loaded = yaml.safe_load((DEPLOY / file).read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDED = {rule["record"]: rule["expr"] for rule in rules("recording.yml")}


def expressions() -> Iterator[tuple[str, str]]:
    """Every question that is asked, with the place where it stands."""
    for dashboard in DASHBOARDS.values():
        for panel in dashboard.panels:
            for ask in panel.asks:
                yield f"{dashboard.uid}: {panel.title}", ask.expr
        for variable in dashboard.variables:
            yield f"{dashboard.uid}: ${variable.name}", variable.query
    yield from RECORDED.items()
    yield from ((name, rule["expr"]) for name, rule in ALERTS.items())


def names_in(expr: str) -> set[str]:
    return set(NAME.findall(re.sub(r'"[^"]*"', '""', expr)))


def families() -> Iterator[Metric]:
    """Every metric that the code defines."""
    for value in (*vars(metrics).values(), *vars(supervised).values()):
        if isinstance(value, MetricWrapperBase):
            yield from value.describe()
    yield from Telemetry().collect()
    yield from _Sales([]).collect()


def promtool(*arguments: str) -> str:
    binary = shutil.which("promtool")
    assert binary, "promtool is missing; `make tools` installs it"
    done = subprocess.run([binary, *arguments], cwd=DEPLOY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Prometheus reads it.


@pytest.mark.parametrize("file", ["prometheus.yml", "prometheus.swarm.yml"])
def test_prometheus_takes_the_configuration(file: str) -> None:
    assert "SUCCESS: 2 rule files found" in promtool("check", "config", file)
    jobs = yaml.safe_load((DEPLOY / file).read_text())["scrape_configs"]
    assert {job["job_name"] for job in jobs} == {"flashdrop-web", "flashdrop-worker"}


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", "recording.yml", "alerts.yml")


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", "alerts.test.yml")


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = [
        case
        for test in yaml.safe_load((DEPLOY / "alerts.test.yml").read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(ALERTS)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(ALERTS)


def test_a_case_that_expects_the_wrong_is_found_out(tmp_path: Path) -> None:
    """The canary of the two above."""
    for file in ("recording.yml", "alerts.yml"):
        shutil.copy(DEPLOY / file, tmp_path)
    text = (DEPLOY / "alerts.test.yml").read_text()
    first = text[: text.index("  - name:", text.index("  - name:") + 1)]
    assert "10x12 11x60" in first
    (tmp_path / "alerts.test.yml").write_text(first.replace("10x12 11x60", "10x72"))
    with pytest.raises(AssertionError, match="FlashdropOversold"):
        promtool("test", "rules", str(tmp_path / "alerts.test.yml"))


# It asks for what exists.


def test_rules_and_dashboards_ask_for_metrics_that_the_code_defines() -> None:
    defined = {family.name + suffix for family in families() for suffix in SUFFIXES.get(family.type, ("",))}
    known = defined | set(RECORDED) | OTHERS
    asked = {place: names_in(expr) for place, expr in expressions()}
    assert {place: unknown for place, names in asked.items() if (unknown := names - known)} == {}
    assert [place for place, names in asked.items() if not names] == []
    assert "flashdrop_board_age_seconds" in set().union(*asked.values()), "the names are found at all"


def test_recorded_figures_are_used_and_named_level_metric_operation() -> None:
    used = set().union(*(names_in(expr) for _, expr in expressions()))
    assert set(RECORDED) - used == set()
    assert [name for name in RECORDED if not re.fullmatch(r"[a-z_]+:flashdrop_[a-z_]+:[a-z0-9_]+", name)] == []


# It is there from the start: no rise is seen where nothing was before.


def test_what_may_be_answered_is_counted_from_zero() -> None:
    for outcome in (*OrderStatus, *Refusal):
        labels = {"outcome": outcome.value.lower()}
        assert REGISTRY.get_sample_value("flashdrop_orders_total", labels) is not None, labels
    for name, labels in (
        ("flashdrop_websockets_total", {"event": "dropped_slow"}),
        ("flashdrop_rate_limited_total", {"scope": "session"}),
        ("flashdrop_rebuilds_total", {"outcome": "failed"}),
        ("flashdrop_order_step_duration_seconds_count", {"step": "confirm"}),
        ("flashdrop_batch_size_count", {"batch": "reserve"}),
    ):
        assert REGISTRY.get_sample_value(name, labels) is not None, name


def test_routes_are_shown_under_the_name_that_is_counted() -> None:
    handler = LeanHandler(lambda *_: None)  # type: ignore[arg-type,return-value]
    routes = set(hot_routes())
    for path in ("/", "/api/orders", "/api/v1/products/lamp/stock", "/sales/lamp/orders", "/readyz"):
        found = handler.route(path)
        assert found is not None and found.name in routes, path
    assert (
        "/" in routes and "metrics" not in routes and not any("login" in route and "admin" in route for route in routes)
    )


# Alerts lead somewhere.


def test_every_alert_tells_what_to_do() -> None:
    headings = re.findall(r"^### (\w+)$", MONITOR.read_text(), re.MULTILINE)
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert rule["labels"]["promise"], name
        assert 20 < len(rule["annotations"]["summary"]) < 160, name
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert BASE_DIR / path == MONITOR
        assert anchor == name.lower() and name in headings, f"{name}: no paragraph in {path}"
    assert sorted(headings) == sorted(ALERTS), "a paragraph for an alert that is no more"


def test_runbooks_say_four_things() -> None:
    paragraphs = re.split(r"^### ", MONITOR.read_text(), flags=re.MULTILINE)[1:]
    for paragraph in paragraphs:
        for said in ("**Means.**", "**In danger.**", "**First.**", "**Over.**"):
            assert said in paragraph, f"{paragraph.splitlines()[0]} lacks {said}"


# The dashboards.


def test_the_dashboards_are_what_the_module_writes(tmp_path: Path) -> None:
    write(tmp_path)
    for file in tmp_path.iterdir():
        assert file.read_text() == (FOLDER / file.name).read_text(), f"{file.name}: python -m flashdrop.dashboards"
    assert {file.name for file in FOLDER.iterdir()} == {file.name for file in tmp_path.iterdir()}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_complete(name: str) -> None:
    page = json.loads(text_of(DASHBOARDS[name]))
    assert page["uid"] == f"flashdrop-{name}" and page["refresh"] == "5s"
    assert len({panel["title"] for panel in page["panels"]}) == len({panel["id"] for panel in page["panels"]})
    taken: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        assert len(panel["title"]) <= 40 and len(panel["description"]) >= 20, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["legendFormat"] for target in panel["targets"]) or panel["type"] == "stat", panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not cells & taken, f"{panel['title']} lies on another"
        taken |= cells


def test_colours_turn_the_right_way() -> None:
    def steps(dashboard: str, title: str) -> list[tuple[str, float | None]]:
        (panel,) = (one for one in DASHBOARDS[dashboard].as_json()["panels"] if one["title"] == title)
        return [(step["color"], step["value"]) for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]

    assert steps("promises", "Last round") == [("green", None), ("orange", 5), ("red", 15)]
    assert steps("platform", "Workers up") == [("red", None), ("orange", 1), ("green", 2)]


def test_grafana_is_provisioned_without_secrets() -> None:
    folder = BASE_DIR / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/flashdrop.yml").read_text())["datasources"]
    asked = {panel["datasource"]["uid"] for page in DASHBOARDS.values() for panel in page.as_json()["panels"]}
    assert asked == {source["uid"]}
    assert not {"secureJsonData", "basicAuth", "password"} & set(source)
    (provider,) = yaml.safe_load((folder / "dashboards/flashdrop.yml").read_text())["providers"]
    assert provider["type"] == "file"
