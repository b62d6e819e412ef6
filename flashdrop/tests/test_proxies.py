"""What only a proxy can know is believed from our own proxies alone, at every door."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from django.http import HttpRequest, HttpResponse

from conftest import Processes, Publish, eventually, fetch
from flashdrop import proxies
from flashdrop.config import config
from flashdrop.embedded.process import free_port
from flashdrop.lean import hot
from flashdrop.proxies import believed, is_trusted
from flashdrop.tests.raw_http import get, request, serving

SENT = [(b"host", b"x"), (b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-proto", b"https"), (b"x-user-id", b"alice")]


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Name the proxies for one test."""

    def work(*networks: str) -> None:
        monkeypatch.setattr(proxies, "config", replace(config, trusted_proxies=tuple(map(ip_network, networks))))
        is_trusted.cache_clear()

    yield work
    is_trusted.cache_clear()


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.1.2.3", False),
        ("::ffff:10.1.2.3", False),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        (None, False),
        ("a socket file", False),
    ],
)
def test_by_default_this_machine_alone_is_trusted(peer: str | None, expected: bool) -> None:
    assert is_trusted(peer) is expected
    assert believed(SENT, peer) == (SENT if expected else SENT[:1])


def test_who_is_named_is_trusted_and_nobody_else(ours: Any) -> None:
    ours("10.0.0.0/8", "fd00::/8")
    assert [is_trusted(peer) for peer in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "127.0.0.1", "::1")] == [
        *(True, True, True, False, False)
    ]


@pytest.mark.usefixtures("may_close_connections")
@pytest.mark.parametrize("networks", ["127.0.0.0/8", "192.0.2.0/24"], ids=["a proxy", "a stranger"])
@pytest.mark.parametrize("way", ["hot", "lean", "stock"])
async def test_every_door_drops_what_a_stranger_claims(
    ours: Any, monkeypatch: pytest.MonkeyPatch, networks: str, way: str
) -> None:
    from flashdrop import request_id

    seen: list[set[str]] = []

    @hot
    async def echo(request: HttpRequest) -> HttpResponse:
        seen.append({name.lower() for name in request.headers})
        return HttpResponse(b"echo")

    taken = request_id._taken_from

    def note(request: HttpRequest) -> bytes | None:
        seen.append({name.lower() for name in request.headers})
        return taken(request)

    monkeypatch.setattr(request_id, "_taken_from", note)
    ours(networks)
    claims = {name.decode(): value.decode() for name, value in SENT[1:]} | {"x-other": "1"}
    async with serving() as served, served.line() as line:
        served.put("/echo", echo)
        if way == "stock":
            line.write(request("GET", "/admin/login/", claims))
        else:
            line.write((get("/admin/login/") if way == "lean" else b"") + request("GET", "/echo", claims))
            if way == "lean":  # behind another, it goes through ASGI
                await line.answer()
        assert (await line.answer()).status == 200
    names = seen[-1]
    assert "x-other" in names
    assert names & {name.decode() for name in proxies.PROXY_FIELDS} == (
        {name.decode() for name in proxies.PROXY_FIELDS} if networks.startswith("127") else set()
    )


# Real processes


@pytest.fixture(scope="module")
def trusting_shop(migrated: None, static_files: None) -> Iterator[str]:
    """It believes who a proxy at 127.0.0.2 says is shopping, and how many tries at a password it has seen."""
    started, port = Processes(), free_port()
    on = {"TRUST_USER_ID_HEADER": "1", "TRUSTED_PROXY_COUNT": "1", "TRUSTED_PROXIES": "127.0.0.2"}
    started.start("serve", "--port", str(port), "--workers", "1", **on)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        started.stop_all()


def talk(url: str, source: str, data: bytes) -> bytes:
    """Send these bytes from an address of this machine, and read until the end."""
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 80), 10, source_address=(source, 0)) as sock:
        sock.sendall(data)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def order_of(sku: str, claimed: dict[str, str], trailers: str = "") -> bytes:
    body = json.dumps({"sku": sku}).encode()
    fields = {"Content-Type": "application/json", "Connection": "close", "Transfer-Encoding": "chunked"} | claimed
    raw = request("POST", "/api/orders", fields).replace(b"Content-Length: 0\r\n", b"")
    return raw + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers.encode())


async def test_only_a_proxy_says_who_is_shopping(trusting_shop: str, publish: Publish) -> None:
    sale = await publish()

    async def shows() -> bool:
        try:
            return fetch(f"{trusting_shop}/api/products/{sale.sku}").status_code == 200
        except httpx.TransportError:
            return False

    await eventually(shows, 30)
    name = f"mallory-{secrets.token_hex(4)}"
    claim, trailer = {"X-User-Id": name}, f"X-User-Id: {name}\r\n"
    assert b" 401 " in talk(trusting_shop, "127.0.0.1", order_of(sale.sku, claim)).split(b"\r\n")[0]
    assert b" 401 " in talk(trusting_shop, "127.0.0.1", order_of(sale.sku, {}, trailer)).split(b"\r\n")[0]
    assert b" 401 " in talk(trusting_shop, "127.0.0.2", order_of(sale.sku, {}, trailer)).split(b"\r\n")[0]
    assert b" 201 " in talk(trusting_shop, "127.0.0.2", order_of(sale.sku, claim)).split(b"\r\n")[0]


@pytest.mark.parametrize("where", ["head from a stranger", "trailer from a proxy"])
async def test_no_other_address_is_claimed_for_each_try_at_a_password(trusting_shop: str, where: str) -> None:
    await eventually(lambda: is_up(trusting_shop), 30)
    user, found = f"admin-{secrets.token_hex(4)}", []
    page = talk(trusting_shop, "127.0.0.2", get("/admin/login/", Connection="close"))
    token = page.split(b"csrftoken=")[1].split(b";")[0].decode()
    body = f"csrfmiddlewaretoken={token}&username={user}&password=wrong&next=/".encode()
    for number in range(8):
        fields = {"Cookie": f"csrftoken={token}", "Connection": "close"}
        fields |= {"Content-Type": "application/x-www-form-urlencoded"}
        claim, source = f"198.51.100.{number}", "127.0.0.1"
        if where.startswith("head"):
            raw = request("POST", "/admin/login/", fields | {"X-Forwarded-For": claim}, body)
        else:
            source = "127.0.0.2"
            raw = request("POST", "/admin/login/", fields | {"Transfer-Encoding": "chunked"})
            raw = raw.replace(b"Content-Length: 0\r\n", b"")
            raw += b"%x\r\n%b\r\n0\r\nX-Forwarded-For: %b\r\n\r\n" % (len(body), body, claim.encode())
        found.append(int(talk(trusting_shop, source, raw).split(b" ")[1]))
    if where.startswith("head"):
        assert (found[0], found[-1]) == (200, 429)
    else:
        assert set(found) == {413}, "who is not signed in says how large a form is, or none is read"


async def is_up(url: str) -> bool:
    try:
        return fetch(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_environment_of_this_suite_trusts_nobody() -> None:
    assert "TRUSTED_PROXIES" not in os.environ
