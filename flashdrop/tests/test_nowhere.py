"""An address at which there is nothing is answered at the lean door, as the stock one would, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from django.test import override_settings
from django.urls import get_resolver

from flashdrop.lean import LeanHandler
from flashdrop.nowhere import NOWHERE
from flashdrop.tests.raw_http import JSON, Line, Served, request, serving
from flashdrop.tests.test_lean import ask, compared

pytestmark = pytest.mark.usefixtures("may_close_connections")
GONE = [
    *("/nothing", "/nothing/", "/wp-login.php", "/.env", "/a/b/c", "//", "//healthz", "/healthz/", "/sales", "/salesx"),
    *(
        "/api",
        "/api/",
        "/api/nothing",
        "/api/v1/nothing",
        "/apix",
        "/sales/x/nothing",
        "/static",
        "/ADMIN/",
        "/admin.php",
    ),
    *("/ws/nothing", "/nothing?lang=de", "/é", "/%00", "/sales/x/banner/"),
]
STAYS = ["/admin", "/admin/", "/admin/nothing", "/admin/nothing/", "/sales/x", "/orders", "/metrics"]


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving() as found:
        yield found


@pytest.fixture
async def line(served: Served) -> AsyncIterator[Line]:
    served.handler.long_way.clear()
    async with served.line() as found:
        yield found


def test_no_route_begins_with_a_variable() -> None:
    """Else anything might begin it, and nothing would be known by its first part."""
    for pattern in get_resolver().url_patterns:
        assert "<" not in str(pattern.pattern).partition("/")[0], pattern


def route_of(path: str) -> str | None:
    found = LeanHandler(lambda *_: None).route(path)  # type: ignore[arg-type,return-value]
    return found.name if found else None


@pytest.mark.parametrize("path", GONE)
def test_what_is_not_there_is_known_without_the_stock_door(path: str) -> None:
    assert route_of(path.partition("?")[0]) == NOWHERE


@pytest.mark.parametrize("path", STAYS)
def test_what_is_the_stock_doors_stays_so(path: str) -> None:
    assert route_of(path) is None


def test_while_developing_django_explains_what_there_is() -> None:
    with override_settings(DEBUG=True):
        assert route_of("/nothing") is None
        assert route_of("/sales/x/nothing") is None


def test_unknown_addresses_push_no_known_one_out() -> None:
    handler = LeanHandler(lambda *_: None)  # type: ignore[arg-type,return-value]
    for number in range(100):
        handler.route(f"/nothing/{number}")
        handler.route(f"/sales/x/{number}/")
    assert handler._routes == {}


@pytest.mark.parametrize("path", ["/nothing", "/api/nothing", "/sales/x/nothing", "/é"])
@pytest.mark.parametrize("headers", [{}, {"Accept-Language": "de"}, {"Cookie": "flashdrop_language=ar"}])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_it_says_what_the_stock_door_says(path: str, headers: dict[str, str], method: str) -> None:
    for body in (b"", b"x" * 20_000) if method == "POST" else (b"",):
        answers = [await ask(door, method, path, body, headers) for door in ("lean", "stock")]
        assert compared(answers[0]) == compared(answers[1])
        assert answers[0].status == 404


async def test_under_another_name_there_is_nothing_either() -> None:
    assert (await ask("lean", "GET", "/nothing", host="evil.example")).status == 400


async def test_over_the_wire_it_takes_the_short_way(served: Served, line: Line) -> None:
    page = await line.ask("GET", "/nothing", {"Accept-Language": "de"})
    assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b'lang="de"' in page.body
    program = await line.ask("POST", "/api/nothing", JSON, b"{}")
    assert (program.status, json.loads(program.body)["code"]) == (404, "NOT_FOUND")
    assert served.handler.long_way == []
    head = request("HEAD", "/nothing")
    line.write(head)
    assert (await line.answer("HEAD")).status == 404
    assert (await line.ask("POST", "/nothing", JSON, b"x" * 300_000)).status == 404
    assert (await line.ask("GET", "/healthz")).status == 200
