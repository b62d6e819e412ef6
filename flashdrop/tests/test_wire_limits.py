"""No client can leave the wire without an answer, hold it for ever, or have it read one request as two."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import pytest
import websockets
from django.http import HttpRequest, HttpResponse

import flashdrop.wire_limits
from conftest import settings_of, show
from flashdrop.lean import hot
from flashdrop.tests.raw_http import HOST, JSON, Line, Served, dial, get, request, serving, upgrade, wait_until
from sales import publishing
from sales.published import PublishedSale

pytestmark = pytest.mark.usefixtures("may_close_connections")
SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# Within a second, says the contract; the machine may have other things to do.
AT_ONCE_SECONDS = 2.0


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving() as found:
        yield found


@pytest.fixture
async def line(served: Served) -> AsyncIterator[Line]:
    async with served.line() as found:
        yield found


@pytest.fixture(scope="module")
async def sale(ledger_indexes: None) -> PublishedSale:
    found = (await publishing.publish(settings_of(stock=1000))).sale
    await show()
    return found


# Handshakes that can't be read


def handshake(path: str = "/ws/sales/x/", method: str = "GET", body: bytes = b"", **changes: str | None) -> bytes:
    """A browser's, with changes; None leaves a header out."""
    fields: dict[str, str | None] = {
        "Host": HOST,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": SAMPLE_KEY,
    }
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return "\r\n".join(lines).encode("latin1") + b"\r\n\r\n" + body


MALFORMED = {
    "a body": handshake("/ws/x", body=b"x", Content_Length="1"),
    "a body that never comes": handshake("/ws/x", Content_Length="1"),
    "an endless body": handshake("/ws/x", body=b"x" * 300_000, Content_Length="9999999"),
    "chunks": handshake("/ws/x", body=b"0\r\n\r\n", Transfer_Encoding="chunked"),
    "no key": handshake(Sec_WebSocket_Key=None),
    "a short key": handshake(Sec_WebSocket_Key="c2hvcnQ="),
    "a key that is none": handshake(Sec_WebSocket_Key="\xe9\xff,"),
    "no version": handshake(Sec_WebSocket_Version=None),
    "another version": handshake(Sec_WebSocket_Version="8"),
    "a version that is none": handshake(Sec_WebSocket_Version="13, 8"),
    "a post": handshake(method="POST", body=b"abc", Content_Length="3"),
    "a put": handshake(method="PUT"),
    "subprotocols that are none": handshake(Sec_WebSocket_Protocol="(,)"),
    "a host twice": handshake(Connection="keep-alive, Upgrade", Origin="http://a\r\nOrigin: http://b"),
    "a control character": handshake(X_Odd="a\x01b"),
    "a path that is not ascii": handshake("/ws/\xe9"),
    "many headers": handshake(**{f"X-{number}": "1" for number in range(200)}),
    "a long header": handshake(X_Long="x" * 20_000),
    "a long path": handshake("/ws/" + "x" * 20_000),
}  # fmt: skip


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_malformed_handshake_is_answered_400_and_closed_within_a_second(served: Served, what: str) -> None:
    async with served.line() as line:
        started = time.monotonic()
        line.write(MALFORMED[what])
        assert (await line.answer()).status == 400
        assert await line.end() == b""
        assert time.monotonic() - started < AT_ONCE_SECONDS


async def test_every_kind_of_handshake_that_is_none_leaves_nothing_behind(served: Served) -> None:
    before = len(served.connections)
    lines = [await dial(served.port) for _ in MALFORMED]
    for line, raw in zip(lines, MALFORMED.values(), strict=True):
        line.write(raw)
    await wait_until(lambda: len(served.connections) <= before and not served.server.server_state.tasks)
    for line in lines:
        await line.close()


async def test_a_handshake_that_nobody_judges_is_answered(
    served: Served, sale: PublishedSale, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never() -> None:
        await asyncio.sleep(1)

    monkeypatch.setattr("flashdrop.wire_socket.HANDSHAKE_SECONDS", 0.2)
    monkeypatch.setattr("sales.consumers.current_board", never)
    async with served.line() as line:
        line.write(upgrade(f"/ws/sales/{sale.sku}/"))
        assert (await line.answer()).status == 503
        assert await line.end() == b""


# Offers to speak something else


H2C = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
OFFERS: dict[str, dict[str, str]] = {
    "h2c": H2C,
    "h2c, closing": H2C | {"Connection": "Upgrade, HTTP2-Settings, close"},
    "several": H2C | {"Upgrade": "h2c, websocket"},
    "tls": {"Connection": "upgrade", "Upgrade": "TLS/1.0"},
    "a websocket elsewhere": {"Connection": "keep-alive, Upgrade", "Upgrade": "websocket"},
}
LOGIN = b'{"identifier": "Alice"}'


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("cut", [0, -1, 5], ids=["one segment", "body apart", "body cut"])
async def test_an_offer_is_ignored_and_the_body_read(served: Served, offer: str, chunked: bool, cut: int) -> None:
    """The body of one request is nobody's second request, in whatever segments it comes (RFC 9110, 7.8)."""
    body = get("/healthz")
    fields = JSON | OFFERS[offer]
    if chunked:
        raw = request("POST", "/api/auth/login", fields | {"Transfer-Encoding": "chunked"})
        raw = raw.replace(b"Content-Length: 0\r\n", b"") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        raw = request("POST", "/api/auth/login", fields, body)
    head = len(raw) if cut == 0 else raw.index(b"\r\n\r\n") + 4 + (0 if cut == -1 else cut)
    async with served.line() as line:
        line.write(raw[:head])
        await asyncio.sleep(0.05)
        line.write(raw[head:])
        told = await line.answer("POST")
        assert (told.status, json.loads(told.body)["code"]) == (400, "VALIDATION_ERROR")
        if "close" in OFFERS[offer]["Connection"]:
            assert await line.end() == b""
            return
        assert await line.stays_open(0.1), "one request, one answer"
        assert (await line.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize("offer", OFFERS)
async def test_a_body_under_an_offer_reaches_the_view(served: Served, offer: str) -> None:
    async with served.line() as line:
        raw = request("POST", "/api/auth/login", JSON | OFFERS[offer], LOGIN)
        line.write(raw[:-4])
        await asyncio.sleep(0.02)
        line.write(raw[-4:])
        told = await line.answer("POST")
        assert (told.status, json.loads(told.body)["data"]["identifier"]) == (200, "Alice")


async def test_an_offer_in_a_row_is_answered_in_its_place(line: Line) -> None:
    line.write(get("/admin/login/") + request("GET", "/healthz", H2C) + get("/nothing"))
    assert [(await line.answer()).status for _ in range(3)] == [200, 200, 404]


async def test_a_handshake_behind_an_answer_that_is_due_is_no_handshake(line: Line, sale: PublishedSale) -> None:
    """The protocol would change under the answer."""
    line.write(get("/admin/login/") + upgrade(f"/ws/sales/{sale.sku}/"))
    assert [(await line.answer()).status for _ in range(2)] == [200, 404]


async def test_we_are_no_proxy(line: Line) -> None:
    line.write(b"CONNECT other.example:443 HTTP/1.1\r\nHost: testserver\r\n\r\n" + get("/healthz"))
    assert (await line.answer()).status == 400
    assert await line.end() == b""


# What follows a body


@pytest.mark.parametrize("path", ["/echo-hot", "/admin/login/"], ids=["lean", "stock"])
@pytest.mark.parametrize("in_one_go", [True, False])
async def test_trailers_are_no_headers(
    served: Served, path: str, in_one_go: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9110, 6.5.1: nothing is merged into what was judged before it came."""
    seen: list[dict[str, str]] = []

    @hot
    async def echo(request: HttpRequest) -> HttpResponse:
        seen.append(dict(request.META))
        return HttpResponse(b"echo")

    if path == "/echo-hot":
        served.put(path, echo)
    else:
        from flashdrop import request_id

        taken = request_id._taken_from
        monkeypatch.setattr(
            request_id, "_taken_from", lambda request: (seen.append(dict(request.META)), taken(request))[1]
        )
    head = request("POST", path, {"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
    trailers = b"X-Forwarded-For: 6.6.6.6\r\nX-User-Id: mallory\r\nX-Forwarded-Proto: https\r\nCookie: a=b\r\n"
    rest = b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n"
    async with served.line() as line:
        if in_one_go:
            line.write(head + rest)
        else:
            for part in (head, rest[:9], rest[9:40], rest[40:]):
                line.write(part)
                await asyncio.sleep(0.02)
        await line.answer("POST")
        assert (await line.ask("GET", "/healthz")).status == 200
    (meta,) = seen
    found = {"HTTP_X_FORWARDED_FOR", "HTTP_X_USER_ID", "HTTP_X_FORWARDED_PROTO", "HTTP_COOKIE"} & set(meta)
    assert found == set()


# Time


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "UNREAD_SECONDS"):
        monkeypatch.setattr(flashdrop.wire_limits, name, 0.3)


HALVES = {
    "half a line": b"GET /hea",
    "half a head": b"GET /healthz HTTP/1.1\r\nHost: testserver\r\nX-Half: ",
    "half a body": request("POST", "/api/orders", JSON | {"Content-Length": "9"}, b"{"),
    "half a body for another view": request("POST", "/admin/login/", {"Content-Length": "9"}, b"{"),
    "half a chunk": request("POST", "/api/orders", {"Transfer-Encoding": "chunked"}).replace(
        b"Content-Length: 0\r\n", b""
    )
    + b"5\r\nab",
    "half a body under an offer": request("POST", "/api/orders", H2C | {"Content-Length": "9"}, b"{"),
}


@pytest.mark.parametrize("what", HALVES)
@pytest.mark.parametrize("first", [True, False])
async def test_half_a_request_is_not_waited_for_for_ever(served: Served, hasty: None, what: str, first: bool) -> None:
    async with served.line() as line:
        if not first:
            await line.ask("GET", "/healthz")
        started = time.monotonic()
        line.write(HALVES[what])
        assert (await line.answer()).status == 408
        assert await line.end() == b""
        assert 0.2 < time.monotonic() - started < 3
    await wait_until(lambda: not served.server.server_state.tasks)


async def test_a_request_drop_by_drop_has_the_same_time(served: Served, hasty: None) -> None:
    async with served.line() as line:
        started, said = time.monotonic(), b""
        for byte in get("/healthz", X_Slow="x" * 500):
            line.write(bytes([byte]))
            await asyncio.sleep(0.05)
            if line.reader._buffer:  # type: ignore[attr-defined]
                said = await line.end()
                break
        assert said.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - started < 3


async def test_who_says_nothing_is_sent_away(served: Served, hasty: None) -> None:
    async with served.line() as line:
        assert await line.end(3) == b""


async def test_who_has_been_answered_may_rest(served: Served, hasty: None) -> None:
    async with served.line() as line:
        for _ in range(3):
            assert (await line.ask("GET", "/healthz")).status == 200
            await asyncio.sleep(0.4)


async def test_a_slow_view_is_nobodys_silence(served: Served, hasty: None) -> None:
    async def slow(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0.8)
        return HttpResponse(b"slow")

    served.put("/slow", slow)
    async with served.line() as line:
        line.write(get("/slow"))
        assert (await line.answer()).body == b"slow"


async def test_who_reads_nothing_is_dropped(served: Served, sale: PublishedSale, hasty: None) -> None:
    line = await dial(served.port, receive_buffer=4096)
    await line.ask("GET", "/healthz")
    connection = served.ends_of(line)
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    line.write(get(f"/sales/{sale.sku}/") * 200)
    await wait_until(lambda: connection.flow.write_paused)
    await wait_until(lambda: connection not in served.connections)
    await wait_until(lambda: not served.server.server_state.tasks)
    line.reset()


# Memory


async def test_a_row_waits_as_it_came_and_is_answered_whole(served: Served) -> None:
    """Requests behind a slow one: some are parsed, the others are bytes."""
    may_end = asyncio.Event()

    async def slow(request: HttpRequest) -> HttpResponse:
        await may_end.wait()
        return HttpResponse(b"slow")

    served.put("/slow", slow)
    many = 5000
    async with served.line() as line:
        line.write(get("/slow") + get("/healthz") * many)
        await wait_until(lambda: len(served.ends_of(line).pipeline) > 1)
        connection, longest = served.ends_of(line), 0
        for _ in range(10):
            await asyncio.sleep(0.01)
            longest = max(longest, len(connection.pipeline))
        assert longest <= flashdrop.wire_limits.MAX_ROW + flashdrop.wire_limits.PIECE_BYTES / len(get("/healthz"))
        may_end.set()
        assert [(await line.answer()).status for _ in range(many + 1)] == [200] * (many + 1)
        assert (await line.ask("GET", "/healthz")).status == 200


async def test_a_row_of_orders_behind_what_is_held_keeps_its_bodies(served: Served) -> None:
    """A body that is cut where the row was full is put together again."""
    one = request("POST", "/api/auth/login", JSON, LOGIN + b" " * 700)
    async with served.line() as line:
        line.write(get("/admin/login/") + one * 300)
        assert (await line.answer()).status == 200
        for _ in range(300):
            assert (await line.answer("POST")).status == 200


TOO_MUCH: dict[str, tuple[bytes, bytes, int]] = {
    "a head": (b"GET /healthz HTTP/1.1\r\nHost: testserver\r\n", b"X-Many: 12345678\r\n", 431),
    "a header": (b"GET /healthz HTTP/1.1\r\nHost: testserver\r\nX-Long: ", b"x" * 1000, 431),
    "a path": (b"GET /", b"x" * 1000, 431),
    "a body": (request("POST", "/admin/login/", {"Content-Length": "99999999"}), b"x" * 50_000, 413),
    "trailers": (
        request("POST", "/api/orders", {"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
        + b"0\r\nX-Long: ",
        b"x" * 50_000,
        431,
    ),
    "a chunk's extensions": (
        request("POST", "/api/orders", {"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
        + b"1;x=",
        b"x" * 1000,
        431,
    ),
}


@pytest.mark.parametrize("what", TOO_MUCH)
async def test_nothing_grows_without_an_end(served: Served, what: str) -> None:
    begin, more, status = TOO_MUCH[what]
    async with served.line() as line:
        line.write(begin)
        answer = asyncio.create_task(line.answer())
        for _ in range(2 * flashdrop.wire_limits.MAX_REQUEST_BYTES // len(more)):
            line.write(more)
            try:
                await asyncio.wait_for(line.writer.drain(), 2)
            except (ConnectionError, TimeoutError):
                break
            if answer.done():
                break
            await asyncio.sleep(0)
        assert (await answer).status == status


# Answers that are due come first


async def test_what_cannot_be_read_is_answered_behind_what_is_due(served: Served) -> None:
    async def slow(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0.1)
        return HttpResponse(b"slow")

    served.put("/slow", slow)
    async with served.line() as line:
        line.write(get("/slow") + get("/admin/login/") + b"nonsense\r\n\r\n" + get("/healthz"))
        assert [(await line.answer()).status for _ in range(3)] == [200, 200, 400]
        assert await line.end() == b""


async def test_a_body_that_breaks_is_answered_400(served: Served) -> None:
    broken = request("POST", "/api/orders", {"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
    for before in (b"", get("/admin/login/")):
        async with served.line() as line:
            line.write(before + broken + b"3\r\nabc\r\n")
            await asyncio.sleep(0.02)
            line.write(b"zz\r\n" + get("/healthz"))
            if before:
                assert (await line.answer()).status == 200
            assert (await line.answer()).status == 400
            assert await line.end() == b""
    await wait_until(lambda: not served.server.server_state.tasks)


async def test_a_body_that_breaks_behind_its_answer_gets_no_second_one(served: Served) -> None:
    chunked = request("POST", "/api/orders", JSON | {"Transfer-Encoding": "chunked"})
    async with served.line() as line:
        line.write(chunked.replace(b"Content-Length: 0\r\n", b"") + b"5000\r\n" + b"x" * 0x5000 + b"\r\n")
        assert (await line.answer("POST")).status == 413
        line.write(b"zz\r\n" + get("/healthz"))
        assert await line.end() == b""


async def test_a_refusal_is_read_by_who_still_sends(served: Served) -> None:
    """Closed at once, the kernel would reset the connection: behind a proxy that is a peer that failed."""
    async with served.line() as line:
        line.write(b"BREW / HTTP/1.1\r\nHost: testserver\r\nContent-Length: 600000\r\n\r\n" + b"x" * 600_000)
        assert (await line.answer()).status == 400
        assert await line.end() == b""


async def test_a_viewer_is_served_after_all_that(served: Served, sale: PublishedSale) -> None:
    address = f"ws://{HOST}/ws/sales/{sale.sku}/"
    async with websockets.connect(
        address, host="127.0.0.1", port=served.port, origin=websockets.Origin(f"http://{HOST}")
    ) as viewer:
        assert 'id="banner"' in str(await asyncio.wait_for(viewer.recv(), 5))
