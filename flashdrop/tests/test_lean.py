"""The lean door and Django's own lead to the same room: each hot address is asked at both, and the answers compared.

Compared are the status, the body and all headers, modulo what differs between any two answers: times, ids and unit
numbers (`scrubbed`), and the headers in `left_out`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from conftest import Publish, cookie_of, eventually, shopper, show
from flashdrop import lean
from flashdrop.headers import SECURITY_HEADERS
from flashdrop.lean import MAX_BODY_BYTES, AsgiApp, LeanHandler
from orders.receipts import receipt_token
from sales.published import PublishedSale

DOORS = ("lean", "stock")
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
Raw = list[tuple[bytes, bytes]]


@dataclass
class Reply:
    """What a door sent."""

    status: int
    raw: Raw
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode("latin1").lower(): value.decode("latin1") for name, value in self.raw}


def door_of(name: str) -> AsgiApp:
    # Imported late: WhiteNoise looks for the collected files at once.
    from flashdrop import asgi

    return asgi.application if name == "lean" else asgi.stock_handler  # type: ignore[no-any-return]


async def send_to(  # noqa: PLR0917
    door: AsgiApp | str, method: str, path: str, messages: list[dict[str, Any]], headers: Raw, query: bytes = b""
) -> Reply | None:
    """One request, raw. None when nothing was sent back."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": ("10.1.2.3", 5555),
        "server": ("testserver", 80),
    }
    left, sent = list(messages), []

    async def receive() -> dict[str, Any]:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()  # the client stays, and says no more
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    if isinstance(door, str):
        door = door_of(door)
    await asyncio.wait_for(door(scope, receive, send), 10)
    if not sent:
        return None
    assert [message["type"] for message in sent[:2]] == ["http.response.start", "http.response.body"]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Reply(sent[0]["status"], list(sent[0]["headers"]), body)


async def ask(  # noqa: PLR0917
    door: AsgiApp | str,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    host: str | None = "testserver",
    query: bytes = b"",
) -> Reply:
    """One ordinary request."""
    fields = ({"host": host} if host is not None else {}) | (headers or {})
    if body or method == "POST":
        fields["content-length"] = str(len(body))
    raw = [(name.lower().encode(), value.encode("latin1")) for name, value in fields.items()]
    reply = await send_to(door, method, path, [{"type": "http.request", "body": body, "more_body": False}], raw, query)
    assert reply is not None
    return reply


def scrubbed(text: str) -> str:
    """Without what differs between any two answers."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", "<time>", text)
    text = re.sub(r"\d+ \w{3} \d{4}, \d\d:\d\d:\d\d UTC", "<time>", text)
    text = re.sub(r"\b[0-9a-f]{24}(\.[\w-]{43})?\b", "<id>", text)
    return re.sub(r'"units":\[[\d,]+\]|<small>No\.</small> <bdi>[\d, ]+</bdi>', "<units>", text)


def left_out(reply: Reply) -> set[str]:
    names = set()
    if reply.status == 304:
        # Django's HttpResponse and CommonMiddleware insist on both; a 304 has no content that they could describe.
        names |= {"content-type", "content-length"}
    return names


def compared(reply: Reply) -> tuple[Any, ...]:
    """What must be equal at both doors."""
    headers = {name: value for name, value in reply.headers.items() if name not in left_out(reply)}
    if "content-length" in headers:
        # Unit numbers and the like may differ in length; that it is the truth is what counts.
        assert headers.pop("content-length") == str(len(reply.body))
    if "set-cookie" in headers:  # a new browser session and another second each time
        headers["set-cookie"] = re.sub(r"=[\w:-]{50,}|expires=[^;]+", "", headers["set-cookie"])
    assert len(reply.raw) == len(reply.headers), "a header is sent twice"
    body = gzip.decompress(reply.body) if headers.get("content-encoding") == "gzip" else reply.body
    return reply.status, headers, scrubbed(body.decode("utf-8"))


async def same(method: str, path: str, **request: Any) -> Reply:
    """The lean door's reply, which is the stock handler's too."""
    by_lean = await ask("lean", method, path, **request)
    by_stock = await ask("stock", method, path, **request)
    assert compared(by_lean) == compared(by_stock)
    return by_lean


def routes(patterns: list[Any], prefix: str = "/") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern):
            yield prefix + str(pattern.pattern), pattern.callback


HOT = [route for route, view in routes(get_resolver().url_patterns) if getattr(view, "hot", False)]
NOT_HOT = [route for route, view in routes(get_resolver().url_patterns) if not getattr(view, "hot", False)]


def addresses(route: str, sale: PublishedSale) -> list[str]:
    """A good and a bad address for a route."""
    good = route.replace("<sku>", sale.sku).replace("<token>", receipt_token("0" * 24))
    bad = route.replace("<sku>", "no-such-sale").replace("<token>", "no-such-token")
    return list(dict.fromkeys([good, bad]))


@pytest.fixture(scope="module")
def sale_on_show() -> list[PublishedSale]:
    return []


@pytest.fixture
async def sale(publish: Publish, sale_on_show: list[PublishedSale]) -> PublishedSale:
    """One sale for all comparisons: its page is long enough to be packed."""
    if not sale_on_show:
        sale_on_show.append(await publish(stock=1000, limit_per_shopper=3, description="Bright. " * 100))
    return sale_on_show[0]


def test_every_address_of_the_shop_floor_is_hot() -> None:
    assert {"/", "/sales/<sku>/", "/api/orders", "/api/v1/orders", "/session", "/orders/<token>/", "/healthz"} <= set(
        HOT
    )
    assert all(route == "/metrics" or route.startswith("/admin/") for route in NOT_HOT)


# The same answers


@pytest.mark.parametrize("route", HOT)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
async def test_both_doors_answer_a_stranger_alike(sale: PublishedSale, method: str, route: str) -> None:
    for address in addresses(route, sale):
        reply = await same(method, address)
        assert reply.status < 500 or route == "/readyz"


@pytest.mark.parametrize("route", HOT)
@pytest.mark.parametrize(
    "headers",
    [
        {"accept-encoding": "gzip"},
        {"if-none-match": "*"},
        {"if-none-match": '"x"', "accept-encoding": "br, gzip"},
        {"hx-request": "true"},
        {"cookie": "flashdrop_shopper=forged:value; other=1"},
    ],
    ids=["gzip", "known", "unknown", "htmx", "forged"],
)
async def test_both_doors_heed_the_headers_alike(sale: PublishedSale, headers: dict[str, str], route: str) -> None:
    for address in addresses(route, sale):
        await same("GET", address, headers=headers)


@pytest.mark.parametrize("route", [route for route in HOT if "orders" in route or route.endswith("/me")])
@pytest.mark.parametrize("htmx", [False, True])
async def test_both_doors_know_a_shopper_alike(sale: PublishedSale, htmx: bool, route: str) -> None:
    headers = cookie_of(shopper()) | ({"hx-request": "true"} if htmx else {})
    for method in ("GET", "HEAD"):
        for address in addresses(route, sale):
            await same(method, address, headers=headers)


@pytest.mark.parametrize("prefix", ["/api", "/api/v1"])
async def test_both_doors_sell_alike_by_json(sale: PublishedSale, prefix: str) -> None:
    body = json.dumps({"sku": sale.sku}).encode()
    replies = [
        await ask(door, "POST", f"{prefix}/orders", body, JSON | cookie_of(shopper("Twin of " + door)))
        for door in DOORS
    ]
    assert [reply.status for reply in replies] == [201, 201]
    assert compared(replies[0]) == compared(replies[1])


@pytest.mark.parametrize("headers", [{}, {"hx-request": "true"}], ids=["plain", "htmx"])
async def test_both_doors_sell_alike_by_form(sale: PublishedSale, headers: dict[str, str]) -> None:
    replies = []
    for door in DOORS:
        who = shopper()
        reply = await ask(
            door,
            "POST",
            f"/sales/{sale.sku}/orders",
            b"quantity=2&attempt=1&price=12900&currency=EUR",
            FORM | headers | cookie_of(who),
        )
        replies.append(Reply(reply.status, reply.raw, reply.body.replace(who.name.encode(), b"somebody")))
    assert {reply.status for reply in replies} == ({201} if headers else {303})
    bodies = [scrubbed(reply.body.decode()) for reply in replies]
    assert bodies[0] == bodies[1]
    assert set(replies[0].headers) == set(replies[1].headers)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/api/auth/login", b'{"identifier": "Alice"}', JSON, 200),
        ("/api/auth/login", b'{"identifier": ""}', JSON, 400),
        ("/api/auth/login", b"{", JSON, 400),
        ("/api/auth/login", b"\xff", JSON, 400),
        ("/api/auth/login", b"x=1", FORM, 415),
        ("/api/auth/login", b"{}", JSON | {"sec-fetch-site": "cross-site"}, 403),
        ("/api/auth/logout", b"", {}, 200),
        ("/api/orders", b"{}", JSON, 400),
        ("/api/orders", b'{"sku": "x"}', JSON, 401),
        ("/api/orders", b'{"sku": "x"}', JSON | {"idempotency-key": ""}, 400),
        ("/session", b"identifier=Alice", FORM, 303),
        ("/session", b"identifier=Alice&sku={sku}", FORM | {"hx-request": "true"}, 200),
        ("/session", b"identifier=&sku={sku}", FORM | {"hx-request": "true"}, 400),
        ("/session", b"identifier=", FORM, 400),
        ("/session", b"identifier=x", FORM | {"origin": "https://evil.example"}, 403),
        ("/session/end", b"sku={sku}", FORM | {"hx-request": "true"}, 200),
        ("/session/end", b"", FORM, 303),
        ("/sales/{sku}/orders", b"quantity=1", FORM | {"hx-request": "true"}, 401),
        ("/sales/{sku}/orders", b"quantity=1", FORM, 303),
        ("/sales/nothing/orders", b"quantity=1", FORM, 404),
        # What Django itself refuses to parse.
        ("/session", b"--", {"content-type": "multipart/form-data"}, 400),
        ("/session", b"identifier=x", {"content-type": FORM["content-type"] + "; charset=utf-7"}, 400),
        ("/session", b"&".join(b"a%d" % i for i in range(2000)), FORM, 400),
        ("/session", b'--b\r\nContent-Disposition: form-data; name="guest"\r\n\r\n1\r\n--b--\r\n',
         {"content-type": "multipart/form-data; boundary=b"}, 303),
    ],
)  # fmt: skip
async def test_both_doors_answer_a_post_alike(
    sale: PublishedSale, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    filled = body.replace(b"{sku}", sale.sku.encode())
    reply = await same("POST", path.replace("{sku}", sale.sku), body=filled, headers=headers)
    assert reply.status == status


async def test_both_doors_refuse_a_query_of_too_many_fields(sale: PublishedSale) -> None:
    query = b"&".join(b"a%d" % i for i in range(2000))
    assert (await same("GET", f"/sales/{sale.sku}/me", query=query)).status == 400


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/nothing", "/api/", "/sales/x", "/orders", "/admin", "//", "/\ud7ff"]
)
async def test_what_is_not_hot_is_the_stock_handlers(path: str) -> None:
    await same("GET", path)


# What neither door lets in


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("host", ["evil.example", "testserver.evil.example", "testserver@evil", "", "a b", "x" * 300])
@pytest.mark.parametrize("path", ["/", "/api/products", "/api/orders", "/nothing", "/api/nothing"])
async def test_a_host_that_is_not_ours_is_a_bad_request(path: str, host: str, door: str) -> None:
    reply = await ask(door, "GET", path, host=host)
    assert reply.status == 400
    assert b"evil" not in reply.body
    if path.startswith("/api/"):
        assert json.loads(reply.body)["code"] == "BAD_REQUEST"


async def test_without_a_host_the_lean_door_stays_closed() -> None:
    """Django would take the server's own name instead; HTTP/1.1 says 400."""
    assert (await ask("lean", "GET", "/api/products", host=None)).status == 400


@pytest.mark.parametrize(
    "host", ["testserver", "TESTSERVER", "testserver:8000", "localhost:1", "127.0.0.1", "testserver."]
)
async def test_a_host_that_is_ours_is_let_in(host: str) -> None:
    assert (await same("GET", "/healthz", host=host)).status == 200


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 200_000, 3_000_000])
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/orders", JSON),
        ("/api/auth/login", JSON),
        ("/session", FORM),
        ("/session/end", FORM),
        ("/sales/x/orders", FORM),
    ],
)
async def test_a_body_over_16_kib_is_too_large(path: str, headers: dict[str, str], size: int) -> None:
    for door in DOORS:
        reply = await ask(door, "POST", path, b"x" * size, headers)
        assert reply.status == 413, door
        if path.startswith("/api/"):
            assert json.loads(reply.body)["code"] == "PAYLOAD_TOO_LARGE"


async def test_a_body_is_not_read_beyond_what_is_too_large() -> None:
    chunk = {"type": "http.request", "body": b"x" * 5000, "more_body": True}
    messages = [dict(chunk) for _ in range(4)]  # then the client is silent, and we don't wait for more
    headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
    reply = await send_to("lean", "POST", "/api/orders", messages, headers)
    assert reply is not None
    assert reply.status == 413


@pytest.mark.parametrize("door", DOORS)
async def test_a_body_in_pieces_is_put_together(door: str) -> None:
    body = b'{"identifier": "Alice"}'
    messages = [
        {"type": "http.request", "body": body[i : i + 1], "more_body": i + 1 < len(body)} for i in range(len(body))
    ]
    headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
    reply = await send_to(door, "POST", "/api/auth/login", messages, headers)
    assert reply is not None
    assert json.loads(reply.body)["data"]["identifier"] == "Alice"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("path", ["/api/orders", "/session"])
async def test_a_client_that_leaves_in_the_middle_is_not_answered(
    door: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b'{"sku":', "more_body": True},
        {"type": "http.disconnect"},
    ]
    headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
    with caplog.at_level(logging.WARNING):
        assert await send_to(door, "POST", path, messages, headers) is None
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_order_of_a_client_that_left_is_finished(sale: PublishedSale) -> None:
    who = shopper()
    body = json.dumps({"sku": sale.sku}).encode()
    headers = JSON | cookie_of(who)
    task = asyncio.create_task(ask("lean", "POST", "/api/orders", body, headers | {"idempotency-key": "k"}))
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    async def settled() -> bool:
        reply = await ask("lean", "POST", "/api/orders", body, headers | {"idempotency-key": "k"})
        return bool(json.loads(reply.body)["data"]["status"] == "completed")

    await eventually(settled)
    listing = await ask("lean", "GET", "/api/orders", headers=cookie_of(who))
    assert len(json.loads(listing.body)["data"]) == 1


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("path", ["/api/products", "/", "/sales/x/me", "/api/nothing", "/nothing"])
async def test_security_headers_are_on_every_answer(door: str, path: str) -> None:
    reply = await ask(door, "GET", path)
    for name, value in SECURITY_HEADERS.items():
        assert [v.decode() for n, v in reply.raw if n.decode().lower() == name.lower()] == [value]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("path", ["/api/products", "/api/v1/products"])
async def test_an_exception_in_a_view_is_a_500_in_the_envelope_and_logged(
    door: str, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("sales.api.current_board", broken)
    with caplog.at_level(logging.ERROR):
        reply = await ask(door, "GET", path)
    assert (reply.status, json.loads(reply.body)["code"]) == (500, "INTERNAL_ERROR")
    assert b"secret" not in reply.body
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors
    assert errors[0].exc_info
    assert {name.lower() for name in SECURITY_HEADERS} <= set(reply.headers)


@pytest.mark.parametrize("door", DOORS)
async def test_an_exception_in_a_view_is_a_page_elsewhere(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("sales.views.current_board", broken)
    reply = await ask(door, "GET", "/")
    assert (reply.status, reply.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert b"secret" not in reply.body


# What the lean door remembers


async def no_fallback(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_remembered_paths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "MAX_REMEMBERED_PATHS", 10)
    door = LeanHandler(no_fallback)
    for number in range(45):
        assert (await ask(door, "GET", f"/api/products/no-such-{number}/stock")).status == 404
        assert len(door._routes) <= 10
    for number in range(20):
        await ask(door, "GET", f"/nothing/{number}")
    assert not [path for path in door._routes if path.startswith("/nothing")]


async def test_a_very_long_path_is_answered_and_not_remembered() -> None:
    """4,096 remembered paths of 60 KB each would be a quarter of a gigabyte."""
    door = LeanHandler(no_fallback)
    assert (await ask(door, "GET", f"/sales/{'x' * 60_000}/")).status == 404
    assert sum(map(len, door._routes)) < 4096


async def test_remembered_hosts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "MAX_REMEMBERED_HOSTS", 10)
    door = LeanHandler(no_fallback)
    for port in range(30):
        assert (await ask(door, "GET", "/healthz", host=f"testserver:{port}")).status == 200
        assert (await ask(door, "GET", "/healthz", host=f"evil{port}.example")).status == 400
    assert len(door._hosts) <= 10


async def test_a_mounted_application_is_left_to_the_stock_handler() -> None:
    asked = []

    async def fallback(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await no_fallback(scope, receive, send)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/healthz",
        "root_path": "/shop",
        "headers": [(b"host", b"testserver")],
    }

    async def send(message: Any) -> None:
        pass

    await LeanHandler(fallback)(scope, no_fallback, send)  # type: ignore[arg-type]
    assert asked == ["/healthz"]


async def test_a_repeated_header_is_read_like_at_the_stock_door(sale: PublishedSale) -> None:
    await show()  # what was sold so far is on the page: from here on it stays as it is
    etag = (await ask("lean", "GET", f"/sales/{sale.sku}/")).headers["etag"]
    raw = [(b"host", b"testserver"), (b"if-none-match", b'"x"'), (b"if-none-match", etag.encode())]
    for door in DOORS:
        reply = await send_to(door, "GET", f"/sales/{sale.sku}/", [{"type": "http.request"}], raw)
        assert reply is not None
        assert reply.status == 304


@pytest.mark.parametrize("path", ["/api/orders", "/"])
async def test_headers_of_odd_bytes_are_no_error_of_ours(path: str) -> None:
    for name in (b"cookie", b"accept-encoding", b"if-none-match", b"origin", b"content-type", b"hx-request", b"x-odd"):
        raw = [(b"host", b"testserver"), (name, bytes(range(128, 256)) + b"\x00;=,")]
        for method in ("GET", "POST"):
            reply = await send_to("lean", method, path, [{"type": "http.request"}], raw)
            assert reply is not None
            assert reply.status < 500


async def test_a_query_that_is_not_utf_8_is_no_error_of_ours(sale: PublishedSale) -> None:
    for path in ("/", f"/sales/{sale.sku}/me", "/api/products"):
        assert (await ask("lean", "GET", path, query=b"answer=\xff\xfe")).status in (200, 400)
