"""The wire gives the lean door's answers, byte for byte, whatever a request looks like.

A real uvicorn in this process, spoken to by hand. Compared are the wire and the lean door; and, for requests that no
browser sends, the wire and uvicorn's own protocol. How a connection lives and ends is in `test_wire_connection.py`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.staticfiles.storage import staticfiles_storage
from django.http import StreamingHttpResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from conftest import cookie_of, settings_of, shopper, show
from flashdrop import metrics
from flashdrop.lean import MAX_BODY_BYTES, runs_at_once
from flashdrop.tests.raw_http import FORM, JSON, Line, Served, get, request, serving, upgrade, wait_until
from flashdrop.tests.test_lean import HOT, Reply, addresses, ask, compared, scrubbed
from orders import ledger
from sales import publishing
from sales.board import current_board
from sales.published import PublishedSale

pytestmark = pytest.mark.usefixtures("may_close_connections")


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving() as found:
        yield found


@pytest.fixture
async def line(served: Served) -> AsyncIterator[Line]:
    """A connection to the wire; what came the long way before is forgotten."""
    served.handler.long_way.clear()
    async with served.line() as found:
        yield found


@pytest.fixture(scope="module")
async def stock() -> AsyncIterator[Served]:
    """The same application behind uvicorn's own protocol."""
    async with serving(HttpToolsProtocol) as found:
        yield found


async def on_show(**changes: Any) -> PublishedSale:
    sale = (await publishing.publish(settings_of(**changes))).sale
    await show()
    return sale


@pytest.fixture(scope="module")
async def sale(ledger_indexes: None) -> PublishedSale:
    """Its page is long enough to be packed."""
    return await on_show(stock=1000, limit_per_shopper=3, description="Bright. " * 100)


def without_date(reply: Reply) -> Reply:
    """As the lean door sends it: the server adds the date."""
    (date,) = [value.decode() for name, value in reply.raw if name == b"date"]
    assert parsedate_to_datetime(date).tzinfo is not None
    return Reply(reply.status, [header for header in reply.raw if header[0] != b"date"], reply.body)


async def same_as_lean(line: Line, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Reply:
    """The wire's answer, which is the lean door's too."""
    address, _, query = path.partition("?")
    # The board may change between the two; it does not between three pairs in a row.
    for _ in range(3 if method == "GET" else 1):
        by_wire = await line.ask(method, path, headers, body)
        by_lean = await ask("lean", method, address, body, headers, query=query.encode())
        if method == "GET" and compared(without_date(by_wire)) == compared(by_lean):
            return by_wire
    if method == "HEAD":
        by_lean.body = b""
        assert without_date(by_wire).status == by_lean.status
        assert dict(by_wire.raw).keys() - {b"date"} == dict(by_lean.raw).keys()
        return by_wire
    assert compared(without_date(by_wire)) == compared(by_lean)
    return by_wire


# The short way, and that it is taken


@pytest.mark.parametrize("route", HOT)
async def test_a_get_is_answered_as_at_the_lean_door(
    served: Served, line: Line, sale: PublishedSale, route: str
) -> None:
    for address in addresses(route, sale):
        for headers in ({}, {"Accept-Encoding": "gzip"}, {"If-None-Match": "*"}, {"HX-Request": "true"}):
            await same_as_lean(line, "GET", address, headers)
    assert served.handler.long_way == []


@pytest.mark.parametrize("route", [route for route in HOT if "orders" in route or route.endswith("/me")])
async def test_a_shopper_is_known(served: Served, line: Line, sale: PublishedSale, route: str) -> None:
    for address in addresses(route, sale):
        await same_as_lean(line, "GET", address, cookie_of(shopper()))
    assert served.handler.long_way == []


async def test_a_packed_page_is_the_page(line: Line, sale: PublishedSale) -> None:
    plain = await line.ask("GET", f"/sales/{sale.sku}/")
    packed = await line.ask("GET", f"/sales/{sale.sku}/", {"Accept-Encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["content-length"] == str(len(packed.body))


async def test_a_304_has_neither_a_body_nor_a_length(line: Line, sale: PublishedSale) -> None:
    await show()
    etag = (await line.ask("GET", f"/sales/{sale.sku}/")).headers["etag"]
    line.write(get(f"/sales/{sale.sku}/", If_None_Match=etag) + get("/healthz"))
    known = await line.answer()
    assert (known.status, known.headers["etag"]) == (304, etag)
    assert not {"content-length", "transfer-encoding", "content-type"} & set(known.headers)
    # Had it a body, this would be read as a part of it.
    assert json.loads((await line.answer()).body) == {"status": "ok"}


async def test_a_static_file_has_all_its_headers(line: Line) -> None:
    path = staticfiles_storage.url("css/base.css")
    for headers in ({}, {"Accept-Encoding": "gzip"}, {"If-None-Match": "*"}):
        await same_as_lean(line, "GET", path, headers)
    answer = await line.ask("GET", path)
    assert set(answer.headers) == {
        *("cache-control", "vary", "etag", "content-type", "content-length", "date"),
        *("content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy"),
        *("cross-origin-opener-policy", "permissions-policy"),
    }


@pytest.mark.parametrize("path", ["", "no/such.css", "../db.sqlite3", "css", "/etc/passwd", ".", "css/base.css/"])
async def test_there_are_no_other_files(line: Line, path: str) -> None:
    assert (await line.ask("GET", f"/static/{path}")).status == 404


async def test_the_date_is_the_servers_of_now(served: Served, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    await line.ask("GET", "/healthz")
    # uvicorn makes a new list every second.
    monkeypatch.setattr(served.server.server_state, "default_headers", [(b"date", b"later"), (b"x-more", b"too")])
    answer = await line.ask("GET", "/healthz")
    assert (answer.headers["date"], answer.headers["x-more"]) == ("later", "too")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/api/auth/login", b'{"identifier": "Alice"}', JSON, 200),
        ("/api/auth/login", b'{"identifier": ""}', JSON, 400),
        ("/api/auth/login", b"\xff", JSON, 400),
        ("/api/auth/login", b"{}", JSON | {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/api/auth/logout", b"", {}, 200),
        ("/api/orders", b"{}", JSON, 400),
        ("/api/orders", b"", {}, 415),
        ("/api/orders", b"x=1", FORM, 415),
        ("/api/orders", b'{"sku": "x"}', JSON, 401),
        ("/api/orders", b'{"sku": "x"}', JSON | {"Idempotency-Key": "x" * 256}, 400),
        ("/session", b"identifier=Alice", FORM, 303),
        ("/session", b"identifier=Alice&sku={sku}", FORM | {"HX-Request": "true"}, 200),
        ("/session", b"identifier=%C3%A9&sku={sku}", {"Content-Type": FORM["Content-Type"] + "; charset=utf-8"}, 303),
        ("/session", b"--", {"Content-Type": "multipart/form-data"}, 400),
        ("/session", b"identifier=x", {"Content-Type": FORM["Content-Type"] + "; charset=utf-7"}, 400),
        ("/session", b"&".join(b"a%d" % i for i in range(2000)), FORM, 400),
        ("/session/end", b"sku={sku}", FORM | {"HX-Request": "true"}, 200),
        ("/sales/{sku}/orders", b"quantity=1", FORM, 303),
        ("/sales/{sku}/orders", b"quantity=1", FORM | {"HX-Request": "true"}, 401),
        ("/sales/nothing/orders", b"quantity=1", FORM, 404),
        ("/healthz", b"x", {}, 405),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
async def test_a_post_is_answered_as_at_the_lean_door(  # noqa: PLR0917
    served: Served, line: Line, sale: PublishedSale, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    body, path = body.replace(b"{sku}", sale.sku.encode()), path.replace("{sku}", sale.sku)
    assert (await same_as_lean(line, "POST", path, headers, body)).status == status
    assert served.handler.long_way == []


async def test_an_order_is_the_lean_doors(served: Served, line: Line, sale: PublishedSale) -> None:
    body = json.dumps({"sku": sale.sku}).encode()
    by_wire = await line.ask("POST", "/api/orders", JSON | cookie_of(shopper("Twin of wire")), body)
    by_lean = await ask("lean", "POST", "/api/orders", body, JSON | cookie_of(shopper("Twin of lean")))
    assert (by_wire.status, by_lean.status) == (201, 201)
    assert compared(without_date(by_wire)) == compared(by_lean)
    assert json.loads(by_wire.body)["data"]["_id"] in await ledger.find([json.loads(by_wire.body)["data"]["_id"]])
    assert served.handler.long_way == []


async def test_a_retry_with_the_key_finds_the_order_and_another_body_is_refused(
    line: Line, sale: PublishedSale
) -> None:
    headers = JSON | cookie_of(shopper()) | {"Idempotency-Key": "k"}
    body = json.dumps({"sku": sale.sku}).encode()
    first, again = [await line.ask("POST", "/api/orders", headers, body) for _ in range(2)]
    assert (first.status, again.status) == (201, 200)
    assert json.loads(first.body)["data"] == json.loads(again.body)["data"]
    other = await line.ask("POST", "/api/orders", headers, json.dumps({"sku": sale.sku, "quantity": 2}).encode())
    assert (other.status, json.loads(other.body)["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_the_last_unit_is_sold_once(line: Line) -> None:
    single = await on_show(stock=1)
    body = json.dumps({"sku": single.sku}).encode()
    found = [(await line.ask("POST", "/api/orders", JSON | cookie_of(shopper()), body)).status for _ in range(3)]
    assert found == [201, 409, 409]


async def test_a_form_for_htmx_is_the_lean_doors(served: Served, line: Line, sale: PublishedSale) -> None:
    path, body = f"/sales/{sale.sku}/orders", b"quantity=2&attempt=1&price=12900&currency=EUR"
    wire, lean = shopper(), shopper()
    headers = FORM | {"HX-Request": "true"}
    by_wire = await line.ask("POST", path, headers | cookie_of(wire), body)
    by_lean = await ask("lean", "POST", path, body, headers | cookie_of(lean))
    assert (by_wire.status, by_lean.status) == (201, 201)
    named = [by_wire.body.replace(wire.name.encode(), b"x"), by_lean.body.replace(lean.name.encode(), b"x")]
    assert scrubbed(named[0].decode()) == scrubbed(named[1].decode())
    assert set(by_wire.headers) - {"date"} == set(by_lean.headers)
    assert served.handler.long_way == []


async def test_a_query_reaches_the_view(line: Line, sale: PublishedSale) -> None:
    path = f"/sales/{sale.sku}/me?lang=de"
    assert b"Wer kauft?" in (await same_as_lean(line, "GET", path, {})).body
    fields = "&".join(f"a{i}" for i in range(2000))
    assert (await same_as_lean(line, "GET", f"/sales/{sale.sku}/me?{fields}", {})).status == 400


async def test_what_one_request_said_is_not_believed_of_the_next(line: Line, sale: PublishedSale) -> None:
    """Headers, body and query belong to one request."""
    path, who = f"/sales/{sale.sku}/me", shopper()
    headers = cookie_of(who) | {"HX-Request": "true", "If-None-Match": "*", "Accept-Encoding": "gzip"}
    assert who.name.encode() in (await line.ask("GET", path + "?lang=de", headers)).body
    stranger = await line.ask("GET", path, {"HX-Request": "true"})
    assert who.name.encode() not in stranger.body and b"Wer kauft?" not in stranger.body
    assert (await line.ask("GET", f"/sales/{sale.sku}/")).status == 200
    await line.ask("POST", "/api/auth/login", JSON, b'{"identifier": "Alice"}')
    assert (await line.ask("POST", "/api/auth/login", JSON)).status == 400


# What fails


@pytest.mark.parametrize(
    ("broken", "method", "path"),
    [("sales.api.current_board", "GET", "/api/products"), ("orders.api.place", "POST", "/api/orders")],
)
async def test_an_exception_in_a_view_is_a_500_in_the_envelope_and_logged_once(  # noqa: PLR0917
    served: Served, line: Line, broken: str, method: str, path: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async def fail(*args: Any, **named: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(broken, fail)
    with caplog.at_level(logging.WARNING):
        answer = await line.ask(method, path, JSON | cookie_of(shopper()), b'{"sku": "x"}' if method == "POST" else b"")
    assert (answer.status, json.loads(answer.body)["code"]) == (500, "INTERNAL_ERROR")
    assert b"secret" not in answer.body
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.exc_info is not None and "secret detail" in str(record.exc_info[1])
    assert served.handler.long_way == []
    assert (await line.ask("GET", "/healthz")).status == 200


async def test_a_view_that_has_to_wait_after_all_is_answered(
    served: Served, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before the board's first look at the stores."""
    board = await current_board()
    calls = []

    async def waiting() -> Any:
        calls.append(1)
        await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.sleep(0.01), 1)  # needs a task
        return board

    monkeypatch.setattr("sales.api.current_board", waiting)
    assert (await line.ask("GET", "/api/products")).status == 200
    assert len(calls) == 2
    assert served.handler.long_way == []


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("returned", [None, StreamingHttpResponse([b"in pieces"])], ids=["nothing", "a stream"])
async def test_after_a_view_without_a_whole_response_nobody_is_left_waiting(
    served: Served, line: Line, returned: Any, at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a mistake of ours: logged as such, and the client hears 500 or sees the end."""

    async def view(request: Any) -> Any:
        return returned

    served.put("/broken", runs_at_once(view) if at_once else view)
    with caplog.at_level(logging.WARNING):
        line.write(get("/broken"))
        said = await asyncio.wait_for(line.reader.read(100), 1)
        assert said == b"" or said.startswith(b"HTTP/1.1 500 ")
        await wait_until(lambda: not served.server.server_state.tasks)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info]


async def counted(route: str, method: str, status: int) -> float:
    metrics.publish()
    labels = {"route": route, "method": method, "status": str(status)}
    return REGISTRY.get_sample_value("flashdrop_http_requests_total", labels) or 0.0


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/healthz", "healthz", 200),
        ("GET", "/api/products/no-such/stock", "api/products/<sku>/stock", 404),
        ("GET", "/readyz", "readyz", None),
        ("POST", "/api/orders", "api/orders", 415),
        ("POST", "/healthz", "healthz", 405),
        ("HEAD", "/healthz", "healthz", 200),
    ],
)
async def test_an_answer_is_counted_once(line: Line, method: str, path: str, route: str, status: int | None) -> None:
    status = status or (await line.ask(method, path)).status
    before = await counted(route, method, status)
    timed = REGISTRY.get_sample_value("flashdrop_http_request_duration_seconds_count", {"route": route}) or 0.0
    assert (await line.ask(method, path)).status == status
    assert await counted(route, method, status) == before + 1
    after = REGISTRY.get_sample_value("flashdrop_http_request_duration_seconds_count", {"route": route})
    assert after == timed + 1


# The long way, and that it leads there too


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/api/products", "/api/orders", "/healthz"])
async def test_other_methods(line: Line, method: str, path: str) -> None:
    answer = await same_as_lean(line, method, path, {})
    if method != "HEAD":
        assert answer.status == 405
        assert "GET" in answer.headers["allow"]
    assert (await line.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize("path", ["/admin/login/", "/metrics", "/readyz"])
async def test_what_is_not_hot_or_not_at_once_still_answers(line: Line, path: str) -> None:
    assert (await line.ask("GET", path)).status in (200, 503 if path == "/readyz" else 200)
    assert (await line.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize("path", ["/nothing", "/api/nothing", "/api/", "//", "//healthz", "/healthz/", "/sales/x"])
async def test_what_is_not_there_is_a_404(line: Line, path: str) -> None:
    answer = await line.ask("GET", path)
    assert answer.status in (404, 301)
    if path.startswith("/api/"):
        assert json.loads(answer.body)["code"] == "NOT_FOUND"


async def test_an_upgrade_to_a_websocket_gets_the_banner(line: Line, sale: PublishedSale) -> None:
    """On a connection that has served a page before."""
    assert (await line.ask("GET", f"/sales/{sale.sku}/")).status == 200
    line.write(upgrade(f"/ws/sales/{sale.sku}/"))
    answer = await line.answer()
    assert (answer.status, answer.headers["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    async with asyncio.timeout(5):
        start = await line.reader.readexactly(4)
        banner = await line.reader.readexactly(int.from_bytes(start[2:]))
    assert start[:2] == b"\x81\x7e"  # one whole text, not masked, its length in two bytes
    assert b'id="banner"' in banner


async def test_expect_100_continue_is_told_to_go_on(line: Line) -> None:
    body = b'{"identifier": "Alice"}'
    line.write(request("POST", "/api/auth/login", JSON | {"Content-Length": str(len(body)), "Expect": "100-continue"}))
    assert (await line.answer()).status == 100
    line.write(body)
    assert json.loads((await line.answer()).body)["data"]["identifier"] == "Alice"
    assert (await line.ask("GET", "/healthz")).status == 200


async def test_a_chunked_body_is_put_together(line: Line) -> None:
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: testserver\r\nContent-Type: application/json\r\n"
    line.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
    for part in (b'{"identi', b'fier": "Al', b'ice"}'):
        line.write(b"%x\r\n%b\r\n" % (len(part), part))
        await asyncio.sleep(0.01)
    line.write(b"0\r\n\r\n")
    assert json.loads((await line.answer("POST")).body)["data"]["identifier"] == "Alice"
    assert (await line.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 99_999, 100_000, 300_000])
async def test_a_body_over_16_kib_is_too_large(line: Line, size: int) -> None:
    answer = await line.ask("POST", "/api/orders", JSON, b"x" * size)
    assert (answer.status, json.loads(answer.body)["code"]) == (413, "PAYLOAD_TOO_LARGE")
    # What was not read of it is not taken for a request.
    assert (await line.ask("GET", "/healthz")).status == 200


async def test_a_body_that_is_too_large_is_told_so_before_it_has_come(line: Line) -> None:
    line.write(request("POST", "/api/orders", JSON | {"Content-Length": "20000"}, b"x" * (MAX_BODY_BYTES + 1)))
    assert (await line.answer()).status == 413
    line.write(b"x" * (20000 - MAX_BODY_BYTES - 1) + get("/healthz"))
    assert json.loads((await line.answer()).body) == {"status": "ok"}


async def test_a_body_of_16_kib_is_read(served: Served, line: Line) -> None:
    body = b'{"identifier": "Alice", "x": "' + b"x" * (MAX_BODY_BYTES - 32) + b'"}'
    assert len(body) == MAX_BODY_BYTES
    assert (await line.ask("POST", "/api/auth/login", JSON, body)).status == 200
    assert served.handler.long_way == []


@pytest.mark.parametrize("host", ["evil.example", "", "testserver.evil.example", "a b"])
@pytest.mark.parametrize("path", ["/", "/api/products"])
async def test_a_host_that_is_not_ours_is_a_bad_request(line: Line, path: str, host: str) -> None:
    assert (await line.ask("GET", path, {"Host": host})).status == 400


@pytest.mark.parametrize(
    "lines", ["", "Host: testserver\r\nHost: testserver\r\n", "Host: testserver\r\nhost: evil\r\n"]
)
async def test_no_host_or_two_are_a_bad_request(line: Line, lines: str) -> None:
    line.write(f"GET /api/products HTTP/1.1\r\n{lines}\r\n".encode())
    assert (await line.answer()).status == 400


# What no browser sends: the same as from uvicorn's own protocol


def odd(path: str, *lines: str, method: str = "GET", body: str = "", version: str = "1.1") -> bytes:
    head = [f"{method} {path} HTTP/{version}", *(lines or ("Host: testserver",))]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode("latin1")


HOST = "Host: testserver"
ODD = {
    "HTTP/1.0": odd("/healthz", version="1.0"),
    "HTTP/1.0, kept": odd("/healthz", HOST, "Connection: keep-alive", version="1.0"),
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2.0": odd("/healthz", version="2.0"),
    "closes": odd("/healthz", HOST, "Connection: close"),
    "closes among others": odd("/healthz", HOST, "Connection: x, Close"),
    "kept": odd("/healthz", HOST, "Connection: keep-alive"),
    "absolute": odd("http://testserver/healthz"),
    "absolute, other host": odd("http://evil.example/healthz"),
    "absolute, no path": odd("http://testserver"),
    "authority": odd("testserver:80", method="CONNECT"),
    "asterisk": odd("*", method="OPTIONS"),
    "asterisk of a get": odd("*"),
    "percent": odd("/%68ealthz"),
    "percent of a sale that is there": odd("/sales/{sku in percent}/"),
    "percent slash": odd("/api%2Fproducts"),
    "percent, broken": odd("/sales/%zz/"),
    "percent null": odd("/sales/%00/"),
    "percent, no utf-8": odd("/sales/%ff%fe/"),
    "dots": odd("/sales/../healthz"),
    "backslash": odd("/sales\\x\\"),
    "semicolon": odd("/healthz;x=1"),
    "query": odd("/api/products?a=%zz&&=&b"),
    "empty query": odd("/api/products?"),
    "two question marks": odd("/api/products??a?b"),
    "query, no utf-8": odd("/sales/x/me?answer=\xff\xfe"),
    "fragment": odd("/healthz#top"),
    "fragment, then query": odd("/healthz#top?x"),
    "query with a fragment": odd("/sales/{sku}/me?lang=de#top"),
    "not ascii": odd("/sales/\xe9/"),
    "very long path": odd("/sales/" + "x" * 20_000 + "/"),
    "very long query": odd("/healthz?" + "x" * 20_000),
    "many headers": odd("/healthz", HOST, *(f"X-{i}: {i}" for i in range(300))),
    "long header": odd("/healthz", HOST, "X-Long: " + "x" * 20_000),
    "empty header": odd("/healthz", HOST, "X-Empty:"),
    "header with spaces": odd("/healthz", "Host: \t testserver \t "),
    "repeated header": odd("/api/products", HOST, 'If-None-Match: "x"', "If-None-Match: *"),
    "repeated cookie": odd("/api/orders", HOST, "Cookie: a=1", "Cookie: b=2"),
    "repeated content type": odd("/session", HOST, "Content-Type: text/plain", "Content-Type: text/html",
                                 "Content-Length: 2", method="POST", body="ab"),
    "name with a space": odd("/healthz", HOST, "X Y: 1"),
    "space before the colon": odd("/healthz", HOST, "X-Y : 1"),
    "no colon": odd("/healthz", HOST, "nonsense"),
    "folded": odd("/healthz", HOST, "X-Folded: a\r\n b"),
    "null in a value": odd("/healthz", HOST, "X-Null: a\0b"),
    "latin-1 in a value": odd("/healthz", HOST, "X-Odd: \xe9"),
    "bare line feeds": b"GET /healthz HTTP/1.1\nHost: testserver\n\n",
    "lower case method": odd("/healthz", method="get"),
    "unknown method": odd("/healthz", method="BREW"),
    "odd method": odd("/healthz", method="PROPFIND"),
    "no method": b" /healthz HTTP/1.1\r\nHost: testserver\r\n\r\n",
    "blank lines first": b"\r\n\r\n" + odd("/healthz"),
    "noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
    "nothing but lines": b"\r\n" * 200 + b"x\r\n\r\n",
    "get with a body": odd("/healthz", HOST, "Content-Length: 3", body="abc"),
    "get of no body": odd("/healthz", HOST, "Content-Length: 0"),
    "get of no body, in zeros": odd("/healthz", HOST, "Content-Length: 000"),
    "post without a length": odd("/api/orders", HOST, method="POST"),
    "length of zeros": odd("/api/orders", HOST, "Content-Length: 0000002", method="POST", body="{}"),
    "length with spaces": odd("/api/orders", HOST, "Content-Length:  2 ", method="POST", body="{}"),
    "length with a plus": odd("/api/orders", HOST, "Content-Length: +2", method="POST", body="{}"),
    "negative length": odd("/api/orders", HOST, "Content-Length: -2", method="POST", body="{}"),
    "length in hex": odd("/api/orders", HOST, "Content-Length: 0x2", method="POST", body="{}"),
    "length with an underscore": odd("/api/orders", HOST, "Content-Length: 1_0", method="POST", body="{}"),
    "empty length": odd("/api/orders", HOST, "Content-Length:", method="POST"),
    "enormous length": odd("/api/orders", HOST, "Content-Length: " + "9" * 30, method="POST", body="{}"),
    "two lengths": odd("/api/orders", HOST, "Content-Length: 2", "Content-Length: 2", method="POST", body="{}"),
    "two other lengths": odd("/api/orders", HOST, "Content-Length: 2", "Content-Length: 3", method="POST", body="{}x"),
    "two lengths in one": odd("/api/orders", HOST, "Content-Length: 2, 2", method="POST", body="{}"),
    "length and chunks": odd("/api/orders", HOST, "Content-Length: 2", "Transfer-Encoding: chunked",
                             method="POST", body="0\r\n\r\n"),
    "chunks and length": odd("/api/orders", HOST, "Transfer-Encoding: chunked", "Content-Length: 5",
                             method="POST", body="0\r\n\r\n"),
    "chunks, odd case": odd("/api/orders", HOST, "Transfer-Encoding: Chunked", method="POST", body="0\r\n\r\n"),
    "chunks twice": odd("/api/orders", HOST, "Transfer-Encoding: chunked, chunked", method="POST", body="0\r\n\r\n"),
    "no chunks": odd("/api/orders", HOST, "Transfer-Encoding: identity", method="POST", body=""),
    "tab chunks": odd("/api/orders", HOST, "Transfer-Encoding:\tchunked", method="POST", body="0\r\n\r\n"),
    "get with chunks": odd("/healthz", HOST, "Transfer-Encoding: chunked", body="0\r\n\r\n"),
    "broken chunk": odd("/api/orders", HOST, "Transfer-Encoding: chunked", method="POST", body="zz\r\n\r\n"),
    "expects something else": odd("/healthz", HOST, "Expect: a miracle"),
    "upgrade of no connection": odd("/healthz", HOST, "Upgrade: websocket"),
    "host with a port": odd("/healthz", "Host: testserver:8000"),
    "host with a word for a port": odd("/healthz", "Host: testserver:eight"),
    "host with a user": odd("/healthz", "Host: me@testserver"),
    "host with a comma": odd("/healthz", "Host: testserver, evil.example"),
    "ipv6 host": odd("/healthz", "Host: [::1]:80"),
}  # fmt: skip


async def transcript(served: Served, data: bytes, methods: list[str]) -> list[Any]:
    """What comes back, and whether the connection ends: all that a client can see."""
    found: list[Any] = []
    async with served.line() as line:
        line.write(data)
        try:
            for method in methods:
                reply = await asyncio.wait_for(line.answer(method), 0.5)
                headers = {name: value for name, value in reply.headers.items() if name != "date"}
                headers.pop("content-length", None)
                if "set-cookie" in headers:
                    headers["set-cookie"] = re.sub(r"=[\w:-]{50,}|expires=[^;]+", "", headers["set-cookie"])
                assert len(headers) + ("date" in reply.headers) + ("content-length" in reply.headers) == len(reply.raw)
                found.append((reply.status, headers, scrubbed(reply.body.decode())))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return [*found, "closed"]
        except TimeoutError:
            return [*found, "waits"]
        return [*found, "open" if await line.stays_open(0.02) else "closed"]


@pytest.mark.parametrize("what", ODD)
async def test_odd_requests_are_answered_as_by_uvicorn(
    served: Served, stock: Served, sale: PublishedSale, what: str
) -> None:
    """And so is the request behind one: what ends where is not in doubt."""
    data = ODD[what].replace(b"{sku}", sale.sku.encode())
    data = data.replace(b"{sku in percent}", sale.sku.replace("-", "%2D").encode())
    method = data.split(b" ")[0].decode("latin1")
    for more, methods in ((b"", [method]), (get("/api/products/x/stock"), [method, "GET"])):
        assert await transcript(served, data + more, methods) == await transcript(stock, data + more, methods)


SPOKEN = [
    ("GET", get("/healthz")),
    ("GET", get("/api/products/x/stock")),
    ("GET", get("/static/img/demo.svg", Accept_Encoding="gzip")),
    ("GET", get("/api/products/x", If_None_Match="*")),
    ("GET", get("/api/orders")),
    ("GET", get("/sales/x%2Fy/")),
    ("GET", get("/nothing")),
    ("GET", request("GET", "/healthz", {"Content-Length": "2"}, b"{}")),
    ("HEAD", request("HEAD", "/healthz")),
    ("OPTIONS", request("OPTIONS", "/api/orders")),
    ("POST", request("POST", "/api/orders", JSON, b"{}")),
    ("POST", request("POST", "/api/orders", JSON, b"x" * 700)),
    ("POST", request("POST", "/api/auth/logout")),
    ("POST", request("POST", "/session", FORM, b"identifier=&sku=x")),
    ("POST", odd("/api/auth/logout", HOST, "Transfer-Encoding: chunked", method="POST", body="2\r\n{}\r\n0\r\n\r\n")),
    ("GET", request("GET", "/healthz", {"Host": "evil.example"})),
]


@given(
    chosen=st.lists(st.sampled_from(SPOKEN), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 3000), max_size=4),
    pauses=st.booleans(),
)
@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
async def test_any_row_of_requests_cut_anywhere_is_answered_in_order_as_by_uvicorn(
    served: Served, stock: Served, chosen: list[tuple[str, bytes]], cuts: list[int], pauses: bool
) -> None:
    data, methods = b"".join(raw for _, raw in chosen), [method for method, _ in chosen]
    edges = [0, *sorted({cut % len(data) for cut in cuts}), len(data)]
    parts = [data[start:end] for start, end in pairwise(edges)]
    answers = []
    for where in (served, stock):
        async with where.line() as line:
            for part in parts:
                line.write(part)
                await asyncio.sleep(0.002 if pauses else 0)
            found = [await line.answer(method) for method in methods]
            assert await line.stays_open(0.001)
        answers.append([(reply.status, scrubbed(reply.body.decode("latin1"))) for reply in found])
    assert answers[0] == answers[1]
