"""What is logged, in which form, how much of it, and what never is."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from conftest import Publish, cookie_of, shopper
from flashdrop import lean, metrics
from flashdrop.logs import MOST_KINDS, Flood, JSONFormatter, LineFormatter, Request, logging_settings


class Kept(logging.Handler):
    """Keeps what passes, as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self.setFormatter(JSONFormatter())
        self.addFilter(Request())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Everything that the product logs, debug too."""
    handler, loggers = Kept(), [logging.getLogger(name) for name in ("flashdrop", "sales", "orders")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield handler
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def record(message: str = "shelf %s", *values: object, second: float = 0.0, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("shop", logging.INFO, __file__, 1, message, values, None)
    made.created, made.msecs = 1_795_000_000 + second, 250.0
    made.__dict__.update(extra)
    return made


# Forms


def test_programs_get_one_json_object_a_line() -> None:
    text = JSONFormatter().format(record("two\nlines of %s", "text", sku="lamp", order_id="ab"))
    assert "\n" not in text
    found = json.loads(text)
    assert found == {
        "time": found["time"],
        "level": "INFO",
        "logger": "shop",
        "message": "two\nlines of text",
        "sku": "lamp",
        "order_id": "ab",
    }
    assert found["time"].endswith(".250Z") and found["time"].startswith("2026-11-")


def test_people_get_a_line_with_the_details_at_its_end() -> None:
    text = LineFormatter().format(record("shelf %s", "A", sku="lamp"))
    assert text.endswith("INFO    shop: shelf A sku=lamp")
    assert LineFormatter().format(record("no details")).endswith("no details")


def test_an_error_brings_its_traceback_in_both_forms() -> None:
    try:
        raise ValueError("spilled")
    except ValueError as error:
        made = record("broke")
        made.exc_info = (type(error), error, error.__traceback__)
    assert "ValueError: spilled" in json.loads(JSONFormatter().format(made))["exc_info"]
    assert "ValueError: spilled" in LineFormatter().format(made)


@pytest.mark.parametrize(
    ("form", "is_terminal", "is_json"),
    [("auto", True, False), ("auto", False, True), ("line", False, False), ("json", True, True)],
)
def test_the_form_is_chosen(monkeypatch: pytest.MonkeyPatch, form: str, is_terminal: bool, is_json: bool) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return is_terminal

    monkeypatch.setattr("sys.stderr", Stream())
    chosen = logging_settings("INFO", form)["formatters"]["chosen"]["()"]
    assert (chosen is JSONFormatter) is is_json


# How much


def test_a_flood_of_one_kind_is_cut_and_says_by_how_much() -> None:
    flood = Flood(most_per_second=3)
    passed = [made for made in (record("shelf %s", n) for n in range(10)) if flood.filter(made)]
    assert len(passed) == 3
    later = record("shelf %s", 11, second=1.0)
    assert flood.filter(later)
    assert later.__dict__["left_out"] == 7
    again = record("shelf %s", 12, second=1.0)
    assert flood.filter(again) and "left_out" not in again.__dict__


def test_a_flood_does_not_hide_another_kind() -> None:
    flood = Flood(most_per_second=1)
    assert flood.filter(record("shelf %s")) and not flood.filter(record("shelf %s"))
    assert flood.filter(record("door %s"))


def test_a_flood_of_kinds_takes_no_memory() -> None:
    flood = Flood()
    for number in range(3 * MOST_KINDS):
        flood.filter(record(f"kind {number}"))
    assert len(flood._kinds) <= MOST_KINDS


def test_the_limits_stand_before_the_formatter() -> None:
    """As configured: what is left out is never formatted, or a stampede would cost what it saves."""
    configured = logging_settings("INFO", "json")
    assert configured["handlers"]["stderr"]["filters"] == ["flood", "request"]
    logging.config.DictConfigurator(configured).config["formatters"]  # valid as it is


# One line for each outcome


async def buy(client: httpx.AsyncClient, sku: str, headers: dict[str, str]) -> httpx.Response:
    return await client.post("/api/orders", json={"sku": sku}, headers=headers)


async def test_each_outcome_is_a_line_with_what_is_needed_and_nothing_secret(
    client: httpx.AsyncClient, publish: Publish, kept: Kept
) -> None:
    sale = await publish(stock=1)
    name = f"Ada {secrets.token_hex(4)}"
    first, second = shopper(name), shopper()
    answer = await buy(client, sale.sku, cookie_of(first) | {"X-Request-ID": "req-1"})
    assert (await buy(client, sale.sku, cookie_of(second) | {"X-Request-ID": "req-2"})).status_code == 409
    (confirmed,) = [line for line in kept.lines if line["message"] == "order completed"]
    assert confirmed["level"] == "INFO"
    assert confirmed["sku"] == sale.sku and confirmed["order_id"] == answer.json()["data"]["_id"]
    assert confirmed["shopper_id"] == first.id and confirmed["request_id"] == "req-1"
    (refused,) = [line for line in kept.lines if line["message"] == "order refused: OUT_OF_STOCK"]
    assert refused["level"] == "DEBUG" and refused["request_id"] == "req-2"
    text = json.dumps(kept.lines)
    assert name not in text and first.session_id not in text
    for someone in (first, second):
        assert cookie_of(someone)["Cookie"].partition("=")[2] not in text


async def test_what_takes_long_is_told(
    client: httpx.AsyncClient, publish: Publish, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await publish()
    monkeypatch.setattr(lean, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(metrics, "SLOW_SECONDS", 0.0)
    assert (await buy(client, sale.sku, cookie_of(shopper()))).status_code == 201
    answers = [line for line in kept.lines if line["message"] == "slow answer"]
    assert {(line["route"], line["method"], line["status"]) for line in answers} == {("api/orders", "POST", 201)}
    stores = {(line["store"], line["operation"]) for line in kept.lines if line["message"] == "slow store"}
    assert stores >= {("redis", "reserve"), ("mongodb", "insert")}


# The request's name


@pytest.mark.parametrize("path", ["/healthz", "/", "/api/products", "/orders/", "/admin/login/", "/no-such-page"])
async def test_a_request_keeps_the_name_it_came_with(
    client: httpx.AsyncClient, may_close_connections: None, path: str, django_db_blocker: Any
) -> None:
    with django_db_blocker.unblock():
        named = await client.get(path, headers={"X-Request-ID": "0b1e-4c.7@edge"})
        unnamed = await client.get(path)
    assert named.headers["X-Request-ID"] == "0b1e-4c.7@edge"
    assert "X-Request-ID" not in unnamed.headers


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "caf\u00e9", "a;b", 'a"b'])
async def test_a_name_that_could_break_something_is_not_taken(client: httpx.AsyncClient, name: str) -> None:
    headers = [(b"X-Request-ID", name.encode("latin-1"))]
    for path in ("/healthz", "/api/products"):
        assert "X-Request-ID" not in (await client.get(path, headers=headers)).headers


async def test_log_lines_of_a_request_without_a_name_still_belong_together(
    client: httpx.AsyncClient, publish: Publish, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = await publish()
    monkeypatch.setattr(lean, "SLOW_SECONDS", 0.0)
    await buy(client, sale.sku, cookie_of(shopper()))
    names = {line.get("request_id") for line in kept.lines if line["message"] in ("slow answer", "order completed")}
    assert len(names) == 1 and len(names.pop() or "") == 16
