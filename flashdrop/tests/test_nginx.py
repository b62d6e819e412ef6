"""What nginx does with requests, in front of web processes that behave as told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from django.http import HttpRequest
from django.http.cookie import parse_cookie

from conftest import eventually
from flashdrop.cluster.proxy_files import SHIPPED
from flashdrop.embedded.process import free_port
from flashdrop.headers import SECURITY_HEADERS, client_address
from flashdrop.languages import COOKIE
from flashdrop.large_forms import LARGEST
from flashdrop.tests.behind_nginx import (
    Asked,
    Front,
    Names,
    Web,
    answer,
    breaks_off,
    front,
    switch_on,
    web,
)
from flashdrop.tests.test_nginx_files import certificate

TOKEN = "c2VjcmV0LXJlY2VpcHQ.dG9rZW4"


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[tuple[Front, Web]]:
    async with web() as process:
        with front(tmp_path, [process.port]) as nginx:
            yield nginx, process


Behind = tuple[Front, Web]


async def test_the_app_learns_who_the_client_is_from_nginx_alone(behind: Behind) -> None:
    nginx, process = behind
    forged = {"X-Forwarded-For": "203.0.113.9, 198.51.100.1", "X-Forwarded-Proto": "https", "X-User-Id": "somebody"}
    async with nginx.client() as client:
        await client.get("/api/orders", headers=forged | {"X-Request-ID": "made-up"})
    (asked,) = process.asked
    seen = HttpRequest()
    seen.META = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in asked.headers.items()}
    assert client_address(seen, trusted_proxy_count=1) == "127.0.0.1"
    assert "203.0.113.9" not in str(asked.headers)
    assert asked.headers["x-forwarded-proto"] == "http"
    assert "x-user-id" not in asked.headers
    assert asked.headers["host"] == f"127.0.0.1:{nginx.port}"  # with its port, as in `Origin`
    assert re.fullmatch("[0-9a-f]{32}", asked.headers["x-request-id"])


async def test_a_balancer_of_ours_is_believed_and_nobody_else(tmp_path: Path) -> None:
    def believe_loopback(prefix: Path) -> None:
        file = prefix / "clients.conf"
        text = file.read_text().replace("# 10.1.0.0/16 1;", "127.0.0.1 1;")
        file.write_text(text.replace("# set_real_ip_from 10.1.0.0/16;", "set_real_ip_from 127.0.0.1;"))

    sent = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto": "https", "X-Request-ID": "theirs-1"}
    async with web() as process:
        with front(tmp_path, [process.port], change=believe_loopback) as nginx:
            async with nginx.client() as client:
                await client.get("/", headers=sent)
                await client.get("/", headers={"X-Request-ID": 'no"thing', "X-Forwarded-Proto": "gopher"})
    first, second = (asked.headers for asked in process.asked)
    assert (first["x-forwarded-for"], first["x-forwarded-proto"]) == ("203.0.113.9", "https")
    assert first["x-request-id"] == "theirs-1"
    assert re.fullmatch("[0-9a-f]{32}", second["x-request-id"])
    assert second["x-forwarded-proto"] == "http"


async def test_connections_to_a_web_process_are_kept(behind: Behind) -> None:
    nginx, process = behind
    for _ in range(5):
        async with nginx.client() as client:
            await client.get("/api/products")
    assert len(process.asked) == 5
    assert process.connections == 1
    assert {asked.version for asked in process.asked} == {"HTTP/1.1"}
    assert not any("connection" in asked.headers for asked in process.asked)


ENCODINGS = {
    "gzip, deflate, br, zstd": "gzip",
    "GZIP;q=0.5": "gzip",
    "br, gzip ; q = 1.0, *": "gzip",
    "gzip;q=0": None,
    "deflate, gzip;q=0.000": None,
    "br": None,
    "xgzip": None,
    "identity": None,
}


async def test_the_app_is_asked_for_gzip_or_for_nothing(behind: Behind) -> None:
    nginx, process = behind
    async with nginx.client() as client:
        for sent in ENCODINGS:
            await client.get("/", headers={"Accept-Encoding": sent})
    asked = [one.headers.get("accept-encoding") for one in process.asked]
    assert dict(zip(ENCODINGS, asked, strict=True)) == ENCODINGS


async def test_a_path_reaches_the_app_as_it_was_sent(behind: Behind) -> None:
    nginx, process = behind
    async with nginx.client() as client:
        await client.get("/sales/a%2Fb/me?x=%20y&z=1")
        await client.post("/api/orders?a=%41", headers={"Idempotency-Key": "k"})
    assert [asked.target for asked in process.asked] == ["/sales/a%2Fb/me?x=%20y&z=1", "/api/orders?a=%41"]


# Who is asked again.

KEYED = {"Idempotency-Key": "one"}


RETRIES = [
    ("POST", "/api/orders", {}, 1),
    ("POST", "/api/v1/orders", KEYED, 2),
    ("POST", "/sales/lamp/orders", {}, 1),
    ("POST", "/api/auth/login", {}, 2),
    ("POST", "/session", {}, 2),
    ("GET", "/api/orders", {}, 3),
    ("GET", "/", {}, 3),
]


async def test_what_was_sent_is_sent_again_only_where_that_does_nothing_twice(tmp_path: Path) -> None:
    """Three web processes, all of which break off after they have read a request: a POST reaches two at most."""
    async with web(breaks_off) as one, web(breaks_off) as two, web(breaks_off) as three:
        ports = [one.port, two.port, three.port]
        with front(tmp_path, ports) as nginx:
            async with nginx.client() as client:
                for method, path, headers, times in RETRIES:
                    body = b"{}" if method == "POST" else None
                    found = await client.request(method, path, headers=headers, content=body)
                    asked = [len(process.asked) for process in (one, two, three)]
                    assert (found.status_code, sum(asked)) == (503, times), (method, path, headers)
                    for process in (one, two, three):
                        process.asked.clear()


async def test_an_order_with_a_key_is_answered_by_the_next_process_with_its_whole_body(tmp_path: Path) -> None:
    def flaky(asked: Asked) -> bytes | None:
        seen.append(asked.body)
        return None if len(seen) == 1 else answer(b'{"made":1}', "201 Created")

    seen: list[bytes] = []
    async with web(flaky) as one, web(flaky) as other:
        with front(tmp_path, [one.port, other.port]) as nginx:
            async with nginx.client() as client:
                found = await client.post("/api/orders", json={"sku": "lamp"}, headers=KEYED)
            line = nginx.log()[0]
    assert (found.status_code, found.json()) == (201, {"made": 1})
    assert seen[0] == seen[1] == b'{"sku":"lamp"}'
    assert line["upstream_status"] == "502, 201"


async def test_nobody_is_lost_to_a_process_that_is_gone(tmp_path: Path) -> None:
    async with web() as process:
        with front(tmp_path, [free_port(), process.port]) as nginx:
            async with nginx.client() as client:
                found = [await client.post("/api/orders", content=b"{}") for _ in range(10)]
    assert {one.status_code for one in found} == {200}
    assert len(process.asked) == 10


async def test_the_apps_own_503_is_passed_on_and_nobody_else_is_asked(tmp_path: Path) -> None:
    said = answer(b'{"code":"SALE_NOT_READY"}', "503 Service Unavailable", Retry_After="7")
    async with web(lambda asked: said) as one, web(lambda asked: said) as other:
        with front(tmp_path, [one.port, other.port]) as nginx:
            async with nginx.client() as client:
                found = [await client.post("/api/orders", content=b"{}", headers=KEYED)]
                found += [await client.get("/api/products") for _ in range(9)]
        asked = len(one.asked) + len(other.asked)
    assert asked == 10
    assert {(one.status_code, one.text, one.headers["Retry-After"]) for one in found} == {
        (503, '{"code":"SALE_NOT_READY"}', "7")
    }


async def test_processes_that_were_all_gone_are_found_again_within_seconds(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    with front(tmp_path, ports) as nginx:
        async with nginx.client() as client:
            gone = [(await client.get("/")).status_code for _ in range(8)]
            assert set(gone) == {503}
            async with web(port=ports[0]):

                async def is_back() -> bool:
                    return (await client.get("/")).status_code == 200

                await eventually(is_back, 4.0)


async def test_in_containers_processes_are_followed_by_their_name(tmp_path: Path) -> None:
    """The shipped upstream.conf itself, but for where the name server is: one process at first, then two."""
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    name_server, port = transport.get_extra_info("sockname")[1], free_port()

    def by_name(prefix: Path) -> None:
        text = (SHIPPED / "upstream.conf").read_text().replace("127.0.0.11", f"127.0.0.1:{name_server}")
        (prefix / "upstream.conf").write_text(text.replace("web:8000", f"web:{port}"))

    names.addresses = ["127.0.0.2"]
    async with web(host="127.0.0.2", port=port) as one, web(host="127.0.0.3", port=port) as other:
        with front(tmp_path, [], change=by_name) as nginx:
            async with nginx.client() as client:

                async def answers() -> bool:
                    return (await client.get("/")).status_code == 200

                async def is_found() -> bool:
                    assert await answers()
                    return bool(other.asked)

                await eventually(answers)
                assert one.asked
                names.addresses.append("127.0.0.3")
                await eventually(is_found)
    transport.close()


# What nginx says by itself.


async def test_when_nobody_answers_programs_get_the_envelope_and_people_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")  # the envelope's time is UTC wherever the host is
    with front(tmp_path, [free_port()]) as nginx:
        await asyncio.sleep(1.1)  # the second in which it was started is still told in the host's zone
        async with nginx.client() as client:
            for method in ("GET", "POST"):
                looks_like_the_envelope(await client.request(method, "/api/v1/orders"))
            page = await client.get("/sales/lamp/")
            after_a_form = await client.post("/sales/lamp/orders")
    for found in (page, after_a_form):
        assert (found.status_code, found.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert "data-message" in found.text  # what the shop's own page shows when a partial was asked for
        assert int(found.headers["Retry-After"]) > 0
        assert {name: found.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert '<meta http-equiv="refresh"' in page.text
    # Nothing is promised, and nothing repeated by itself.
    assert "refresh" not in after_a_form.text
    assert "can't tell" in after_a_form.text


def looks_like_the_envelope(found: httpx.Response) -> None:
    assert (found.status_code, found.headers["Content-Type"]) == (503, "application/json")
    assert int(found.headers["Retry-After"]) > 0
    assert found.headers["Cache-Control"] == "no-store"
    told = found.json()
    assert list(told) == ["status", "data", "error", "code", "timestamp"]
    assert (told["status"], told["data"], told["code"]) == ("error", None, "OVERLOADED")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["timestamp"])
    assert abs((datetime.now(UTC) - datetime.fromisoformat(told["timestamp"])).total_seconds()) < 10


@pytest.mark.parametrize(("path", "kind"), [("/api/orders", "application/json"), ("/session", "text/html")])
async def test_a_body_far_too_large_is_refused_before_it_travels(behind: Behind, path: str, kind: str) -> None:
    nginx, process = behind
    async with nginx.client() as client:
        found = await client.post(path, content=b"x" * 70_000)
        passed = await client.post(path, content=b"x" * 20_000)  # the app's own words on this size
    assert (found.status_code, found.headers["Content-Type"].split(";")[0]) == (413, kind)
    if kind == "application/json":
        assert found.json()["code"] == "PAYLOAD_TOO_LARGE"
    assert passed.status_code == 200
    assert [len(asked.body) for asked in process.asked] == [20_000]


async def test_the_back_offices_largest_form_passes(behind: Behind) -> None:
    nginx, process = behind
    async with nginx.client() as client:
        assert (await client.post("/admin/desk/orders/many/", content=b"x" * LARGEST)).status_code == 200
        refused = await client.post("/admin/desk/orders/many/", content=b"x" * 2 * LARGEST)
    assert (refused.status_code, [len(asked.body) for asked in process.asked]) == (413, [LARGEST])


async def test_what_is_for_operators_is_not_there_for_others(behind: Behind) -> None:
    nginx, process = behind
    paths = ["/metrics", "/readyz", "/%6detrics", "//metrics", "/x/../metrics", "/metrics?a=b"]
    async with nginx.client() as client:
        for path in paths:
            await client.send(_raw(nginx, path))
    # The shop's own page for what does not exist.
    assert [asked.target for asked in process.asked] == ["/nowhere"] * len(paths)


def _raw(nginx: Front, path: str) -> httpx.Request:
    """A request whose path httpx has not tidied up."""
    url = httpx.URL(scheme="http", host="127.0.0.1", port=nginx.port, raw_path=path.encode())
    return httpx.Request("GET", url)


async def test_operators_may_be_let_in_by_address(tmp_path: Path) -> None:
    def let_in(prefix: Path) -> None:
        file = prefix / "operators.conf"
        file.write_text(file.read_text().replace("# allow 10.2.0.0/24;", "allow 127.0.0.1;"))

    async with web() as process:
        with front(tmp_path, [process.port], change=let_in) as nginx:
            async with nginx.client() as client:
                await client.get("/metrics")
    assert [asked.target for asked in process.asked] == ["/metrics"]


async def test_the_container_can_ask_nginx_itself(tmp_path: Path) -> None:
    with front(tmp_path, [free_port()]) as nginx:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{nginx.health_port}") as client:
            assert (await client.get("/nginx-health")).text == "ok\n"
            assert (await client.get("/")).status_code == 404
        async with nginx.client() as client:
            assert (await client.get("/nginx-health")).status_code == 503  # not an address of the shop


async def test_whoever_sends_a_request_drop_by_drop_is_cut_off(tmp_path: Path) -> None:
    def impatient(prefix: Path) -> None:
        shipped = (prefix / "nginx.conf").read_text()
        for name in ("client_header_timeout", "client_body_timeout"):
            found = re.search(rf"{name} (\d+)s;", shipped)
            assert found
            assert int(found[1]) <= 10
        (prefix / "server.d/impatient.conf").write_text("client_header_timeout 1s;\nclient_body_timeout 1s;\n")

    async def cut_off_after(port: int, begin: bytes) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        started = time.monotonic()
        writer.write(begin)
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(5):
                await reader.read()  # until nginx ends it
        writer.close()
        return time.monotonic() - started

    async with web() as process:
        with front(tmp_path, [process.port], change=impatient) as nginx:
            took = await asyncio.gather(
                cut_off_after(nginx.port, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "),
                cut_off_after(nginx.port, b"POST /session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nabc"),
            )
    assert all(0.5 < seconds < 3 for seconds in took)
    assert process.asked == []


# Logs.


async def test_no_secret_is_logged(tmp_path: Path) -> None:
    def slow(asked: Asked) -> bytes | None:
        return None if asked.headers.get("x-break") else answer()

    async with web(slow) as process:
        with front(tmp_path, [process.port]) as nginx:
            async with nginx.client(
                headers={"Cookie": "flashdrop=signed-secret", "User-Agent": 'a "quoted" one'}
            ) as client:
                for path in (f"/orders/{TOKEN}/", f"/%6frders/{TOKEN}/?q={TOKEN}", f"//orders/{TOKEN}"):
                    await client.send(_raw(nginx, path), follow_redirects=False)
                    broken = _raw(nginx, path)
                    broken.headers["X-Break"] = "1"
                    await client.send(broken)
                await client.get("/orders/", headers={"Referer": f"{nginx.url}/orders/{TOKEN}/"})
            lines, errors = nginx.log(), nginx.error_log()
    assert len(lines) == 7
    assert {line["path"] for line in lines} == {"/orders/(receipt)", "/orders/"}
    assert TOKEN not in json.dumps(lines) + errors
    assert "secret" not in json.dumps(lines) + errors


async def test_a_line_of_the_log_tells_what_happened(behind: Behind) -> None:
    nginx, process = behind
    async with nginx.client() as client:
        await client.post("/api/orders?sku=lamp", content=b"{}", headers=KEYED)
    (line,) = nginx.log()
    assert line["request_id"] == process.asked[0].headers["x-request-id"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/api/orders", 200)
    assert line["upstream"] == f"127.0.0.1:{process.port}"
    assert float(line["upstream_seconds"]) <= line["seconds"] + 0.01
    assert line["client"] == "127.0.0.1"


# Options.


async def test_with_tls_plain_requests_are_sent_to_https_but_for_what_may_stay(tmp_path: Path) -> None:
    port = free_port()

    def with_tls(prefix: Path) -> None:
        certificate(prefix)
        switch_on("tls")(prefix)
        file = prefix / "server.d/tls.conf"
        file.write_text(file.read_text().replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"))
        challenge = prefix / "acme/.well-known/acme-challenge/token"
        challenge.parent.mkdir(parents=True)
        challenge.write_text("proof")

    async with web() as process:
        with front(tmp_path, [process.port], change=with_tls) as nginx:
            trusted = ssl.create_default_context(cafile=nginx.prefix / "tls/certificate.pem")
            trusted.check_hostname = False
            async with nginx.client() as client:
                sent_on = await client.post("/session?a=b")
                assert sent_on.status_code == 308
                assert sent_on.headers["Location"] == "https://127.0.0.1/session?a=b"
                assert (await client.get("/healthz")).status_code == 200
                assert (await client.get("/.well-known/acme-challenge/token")).text == "proof"
            async with httpx.AsyncClient(verify=trusted) as client:
                assert (await client.get(f"https://127.0.0.1:{port}/")).status_code == 200
            old = ssl.create_default_context(cafile=nginx.prefix / "tls/certificate.pem")
            old.check_hostname = False
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=old)
            assert writer.get_extra_info("cipher")[0].startswith("ECDHE")
            writer.close()
    assert [asked.headers["x-forwarded-proto"] for asked in process.asked] == ["http", "https"]


async def test_the_micro_cache_keeps_what_is_the_same_for_all_for_a_second_at_most(tmp_path: Path) -> None:
    def page(asked: Asked) -> bytes | None:
        cookie, accepted = asked.headers.get("cookie", ""), asked.headers.get("accept-language", "en")
        language = cookie.partition("flashdrop_language=")[2][:2] or accepted
        body = f"{asked.headers.get('accept-encoding')} {language} {len(process.asked)}".encode()
        if asked.target == "/sales/cookie/":
            return answer(body, Set_Cookie="a=b", Cache_Control="no-cache", Vary="Accept-Encoding")
        if asked.target == "/sales/none/":
            return answer(body, "404 Not Found", Cache_Control="no-cache")
        return answer(body, Cache_Control="no-cache", Vary="Accept-Encoding, Accept-Language, Cookie", ETag='W/"x"')

    async with web(page) as process:
        with front(tmp_path, [process.port], change=switch_on("microcache")) as nginx:
            async with nginx.client() as client:

                async def asked_for(path: str, times: int = 10, **headers: str) -> int:
                    """How often the app was asked; begun early in a second, so that it does not end meanwhile."""
                    await asyncio.sleep(1.02 - time.time() % 1)
                    process.asked.clear()
                    for _ in range(times):
                        found = await client.get(path, headers=headers)
                        assert "Cache-Control" not in found.headers or found.headers["Cache-Control"] == "no-cache"
                    return len(process.asked)

                assert [await asked_for("/"), await asked_for("/")] == [1, 1]  # in each second anew
                assert (await client.get("/", headers={"If-None-Match": 'W/"x"'})).status_code == 304
                for accepted, form in (("br", "None"), ("gzip, br", "gzip"), ("br", "None"), ("gzip, br", "gzip")):
                    assert (await client.get("/", headers={"Accept-Encoding": accepted})).text.startswith(form)
                assert len(process.asked) == 2
                # Nobody reads another's language, and who else they are makes no difference.
                for shopper in ("a", "b"):
                    for accepted, chosen in (("de", ""), ("ar", ""), ("de", "ar"), ("de", "")):
                        cookies = f"flashdrop_shopper={shopper}" + (f"; flashdrop_language={chosen}" if chosen else "")
                        found = await client.get("/", headers={"Accept-Language": accepted, "Cookie": cookies})
                        assert found.text.split()[1] == (chosen or accepted)
                assert len(process.asked) == 5
                assert await asked_for("/api/v1/products/lamp/sale-status") == 1
                for path in ("/sales/lamp/me", "/orders/", "/api/orders", "/sales/cookie/", "/sales/none/"):
                    process.asked.clear()
                    for _ in range(3):
                        await client.get(path)
                    assert len(process.asked) == 3, path


# Cookie headers, as bytes; a byte that is no ASCII is one of Latin-1.
ODD_COOKIES = [
    b"",
    b"flashdrop_language=de",
    b"Flashdrop_Language=ar",
    b"FLASHDROP_LANGUAGE=ar",
    b"flashdrop_language=ar; a=b",
    b"a=b;flashdrop_language=de",
    b"flashdrop_language=de; flashdrop_language=ar",
    b"flashdrop_language=ar; flashdrop_language=de",
    b"Flashdrop_Language=de; flashdrop_language=ar",
    b"flashdrop_language=ar; FLASHDROP_LANGUAGE=de",
    b"xflashdrop_language=ar",
    b"a=flashdrop_language=ar",
    b"flashdrop_language = ar",
    b"a=b;\tflashdrop_language=ar",
    b"a;\xa0flashdrop_language=ar",
    b"a=b;\xa0flashdrop_language=de; flashdrop_language =\xa0ar",
    b'flashdrop_language="ar"',
    b'a="b; flashdrop_language=ar"',
    b'a="; flashdrop_language=ar; b="',
    b"flashdrop_language=",
    b"flashdrop_language",
    b"flashdrop_language=ar=de",
    b"flashdrop_language=de,flashdrop_language=ar",
]


async def test_the_micro_cache_reads_the_language_as_the_app_does(tmp_path: Path) -> None:
    """Nobody is shown a page in a language that somebody else has chosen, however oddly that was written."""

    def page(asked: Asked) -> bytes | None:
        chosen = parse_cookie(asked.headers.get("cookie", "")).get(COOKIE, "none")
        return answer(chosen.encode("latin1"), Cache_Control="no-cache", Vary="Cookie")

    def expected(header: bytes) -> bytes:
        return parse_cookie(header.decode("latin1")).get(COOKIE, "none").encode("latin1")

    assert len({expected(header) for header in ODD_COOKIES}) > 5
    async with web(page) as process:
        with front(tmp_path, [process.port], change=switch_on("microcache")) as nginx:
            async with nginx.client() as client:

                async def told(header: bytes) -> bytes:
                    sent = [(b"Cookie", header)] if header else []
                    return (await client.get("/", headers=sent)).content

                for first in ODD_COOKIES:
                    if time.time() % 1 > 0.8:  # all of them in one second, whose copies they may be given
                        await asyncio.sleep(1.02 - time.time() % 1)
                    others = [b"", b"flashdrop_language=de", b"flashdrop_language=ar"]
                    assert [await told(header) for header in (first, *others)] == [
                        expected(first),
                        b"none",
                        b"de",
                        b"ar",
                    ]
                # And what is the same is one copy.
                await asyncio.sleep(1.02 - time.time() % 1)
                process.asked.clear()
                for other in (b"a=b; ", b"shopper=x; c=d; ", b""):
                    assert await told(other + b"flashdrop_language=de; e=f") == b"de"
                assert len(process.asked) == 1


async def test_without_the_option_nothing_is_cached(behind: Behind) -> None:
    nginx, process = behind
    process.behaviour = lambda asked: answer(Cache_Control="max-age=60, public")
    async with nginx.client() as client:
        for _ in range(5):
            await client.get("/")
    assert len(process.asked) == 5


async def test_the_limits_answer_429_in_the_envelope(tmp_path: Path) -> None:
    def tight(prefix: Path) -> None:
        switch_on("limits")(prefix)
        file = prefix / "http.d/limits.conf"
        file.write_text(file.read_text().replace("burst=2000 nodelay", "burst=2 nodelay").replace("500r/s", "1r/s"))

    async with web() as process:
        with front(tmp_path, [process.port], change=tight) as nginx:
            async with nginx.client() as client:
                found = [await client.get("/api/products") for _ in range(6)]
                page = await client.get("/")
    refused = [one for one in found if one.status_code == 429]
    assert refused
    assert refused[0].json()["code"] == "RATE_LIMITED"
    assert int(refused[0].headers["Retry-After"]) > 0
    assert (page.status_code, page.headers["Content-Type"]) == (429, "text/html; charset=utf-8")


async def test_single_sign_on_stands_in_front_of_the_admin_and_of_nothing_else(tmp_path: Path) -> None:
    def gate(asked: Asked) -> bytes | None:
        if asked.target == "/oauth2/auth":
            known = "signed-on=yes" in asked.headers.get("cookie", "")
            return answer(b"", "202 Accepted" if known else "401 Unauthorized", Set_Cookie="signed-on=yes")
        return answer(b"the provider's page")

    signed_on = {"Cookie": "signed-on=yes"}
    async with web() as process, web(gate) as sign_on:

        def with_sign_on(prefix: Path) -> None:
            switch_on("admin-sso")(prefix)
            file = prefix / "admin.conf"
            file.write_text(file.read_text().replace("oauth2-proxy:4180", f"127.0.0.1:{sign_on.port}"))

        with front(tmp_path, [process.port], change=with_sign_on) as nginx:
            async with nginx.client() as client:
                stranger = await client.get("/admin/sales/?page=2")
                assert stranger.status_code == 302
                assert stranger.headers["Location"] == "/oauth2/start?rd=/admin/sales/?page=2"
                assert (await client.get("/oauth2/start?rd=/admin/")).text == "the provider's page"
                assert (await client.get("/oauth2/auth")).status_code == 404
                assert [asked.target for asked in process.asked] == []
                admitted = await client.post("/admin/sales/", content=b"x" * LARGEST, headers=signed_on)
                assert admitted.headers["Set-Cookie"] == "signed-on=yes"
                assert len(process.asked[0].body) == LARGEST
                asked = [one for one in sign_on.asked if one.target == "/oauth2/auth"]
                assert not any(one.body for one in asked)
                assert (await client.get("/")).status_code == 200
                sign_on.behaviour = breaks_off
                closed = await client.get("/admin/", headers=signed_on)
                assert closed.status_code == 503
    assert [one.target for one in process.asked] == ["/admin/sales/", "/"]
