"""The shop itself behind nginx: what a browser gets is what the app says."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import websockets
from django.contrib.staticfiles.storage import staticfiles_storage

from conftest import client_of, cookie_of, follows, settings_of, shopper
from flashdrop.tests.behind_nginx import Front, front
from sales import publishing
from sales.published import PublishedSale

# What a hop on the way may add, drop or word its own way.
HOP = {"connection", "date", "server", "x-request-id", "content-length", "etag", "last-modified", "accept-ranges"}


@pytest.fixture(scope="module")
def nginx(shop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    port, static_root = urlsplit(shop).port, Path(os.environ["FLASHDROP_DATA_DIR"]) / "static"
    assert port
    with front(tmp_path_factory.mktemp("front"), [port], static_root) as made:
        yield made


@pytest.fixture
async def through(nginx: Front) -> AsyncIterator[httpx.AsyncClient]:
    async with nginx.client() as client:
        yield client


@pytest.fixture(scope="module")
async def sale(shop: str) -> PublishedSale:
    published = (await publishing.publish(settings_of(stock=50))).sale
    await follows(shop, published)
    return published


def said(found: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in found.headers.items() if name not in HOP}


@pytest.mark.parametrize("encoding", ["gzip, deflate, br", "identity"])
async def test_pages_come_as_the_app_makes_them_and_are_compressed_once(
    shop: str, through: httpx.AsyncClient, sale: PublishedSale, encoding: str
) -> None:
    headers = {"Accept-Encoding": encoding}
    for path in (f"/sales/{sale.sku}/", f"/sales/{sale.sku}/me", f"/api/products/{sale.sku}", "/orders/", "/no-such"):
        async with client_of(shop) as client:
            straight = await client.get(path, headers=headers)
        found = await through.get(path, headers=headers)
        assert (found.status_code, said(found)) == (straight.status_code, said(straight)), path
        assert found.headers.get_list("Content-Encoding") == straight.headers.get_list("Content-Encoding")
        assert "<html" in found.text or found.json()["timestamp"]  # decoded once, it reads
    page = await through.get(f"/sales/{sale.sku}/", headers=headers)
    assert ("Content-Encoding" in page.headers) == (encoding != "identity")
    again = await through.get(f"/sales/{sale.sku}/", headers=headers | {"If-None-Match": page.headers["ETag"]})
    assert again.status_code == 304


STATIC = ["css/base.css", "vendor/htmx-2.0.11.min.js", "img/demo.svg", "vendor/LICENSES.md", "admin/css/base.css"]


@pytest.mark.parametrize("name", STATIC)
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_nginx_serves_static_files_as_the_app_does(shop: str, nginx: Front, name: str, encoding: str) -> None:
    # Python's name for JavaScript's type depends on the system it runs on.
    javascript = {"content-type": "text/javascript; charset=utf-8"} if name.endswith(".js") else {}
    headers = {"Accept-Encoding": encoding}
    for path in (staticfiles_storage.url(name), f"/static/{name}"):
        async with client_of(shop) as client, nginx.client() as through:
            straight = await client.get(path, headers=headers)
            found = await through.get(path, headers=headers)
            assert nginx.log()[-1]["upstream"] == ""  # nobody was asked
            unchanged = await through.get(path, headers=headers | {"If-None-Match": found.headers["ETag"]})
        assert found.status_code == 200
        assert found.content == straight.content
        assert said(found) == said(straight) | javascript
        assert unchanged.status_code == 304
        assert unchanged.headers["Cache-Control"] == straight.headers["Cache-Control"]


async def test_a_static_file_that_nginx_does_not_have_is_the_apps_to_answer(
    through: httpx.AsyncClient, nginx: Front
) -> None:
    url = staticfiles_storage.url("css/sale.css")
    served = (nginx.prefix / "public/static").readlink()
    empty = nginx.prefix / "empty"
    empty.mkdir()
    (nginx.prefix / "public/static").unlink()
    (nginx.prefix / "public/static").symlink_to(empty)
    try:
        found = await through.get(url, headers={"Accept-Encoding": "gzip"})
    finally:
        (nginx.prefix / "public/static").unlink()
        (nginx.prefix / "public/static").symlink_to(served)
    assert found.status_code == 200
    assert nginx.log()[-1]["upstream"] != ""
    assert "immutable" in found.headers["Cache-Control"]
    assert found.headers.get_list("Cache-Control") == [found.headers["Cache-Control"]]
    assert found.headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    "path",
    ["/static/../nginx.conf", "/static/%2e%2e/nginx.conf", "/static/css", "/static/", "/packed/static/css/base.css"],
)
async def test_nothing_but_static_files_is_served_from_the_disk(nginx: Front, path: str) -> None:
    with socket.create_connection(("127.0.0.1", nginx.port)) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = b"".join(iter(lambda: sock.recv(65536), b""))
    assert head.split(b"\r\n")[0].split(b" ")[1] in (b"404", b"400")


async def test_the_banner_comes_over_a_websocket_through_nginx(nginx: Front, sale: PublishedSale) -> None:
    address = f"{nginx.url.replace('http', 'ws')}/ws/sales/{sale.sku}/"
    async with websockets.connect(address, origin=websockets.Origin(nginx.url)) as viewer:
        async with asyncio.timeout(5):
            banner = await viewer.recv()
    assert isinstance(banner, str)
    assert 'id="banner"' in banner


async def test_a_page_of_another_site_gets_no_banner(nginx: Front, sale: PublishedSale) -> None:
    address = f"{nginx.url.replace('http', 'ws')}/ws/sales/{sale.sku}/"
    with pytest.raises(websockets.InvalidStatus, match="403"):
        await websockets.connect(address, origin=websockets.Origin("http://elsewhere.example"))


async def test_an_order_is_placed_and_repeated_through_nginx(
    nginx: Front, through: httpx.AsyncClient, sale: PublishedSale
) -> None:
    headers = cookie_of(shopper()) | {"Idempotency-Key": "once", "Origin": nginx.url}
    made = await through.post("/api/orders", json={"sku": sale.sku}, headers=headers)
    again = await through.post("/api/v1/orders", json={"sku": sale.sku}, headers=headers)
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json()["data"]["_id"] == again.json()["data"]["_id"]
    assert made.headers["X-Request-ID"] == nginx.log()[-2]["request_id"]
    receipt = made.json()["data"]["receiptUrl"]
    assert (await through.get(receipt)).status_code == 200
    assert urlsplit(receipt).path.split("/")[2] not in (nginx.prefix / "logs/access.log").read_text()


async def test_a_form_posted_through_nginx_is_of_the_same_origin(
    nginx: Front, through: httpx.AsyncClient, sale: PublishedSale
) -> None:
    form = {"quantity": "1", "attempt": "a", "price": "12900", "currency": "EUR"}
    for origin, status in ((nginx.url, 303), ("http://elsewhere.example", 403)):
        headers = cookie_of(shopper()) | {"Origin": origin}
        assert (await through.post(f"/sales/{sale.sku}/orders", data=form, headers=headers)).status_code == status


async def test_a_body_over_the_apps_limit_gets_the_apps_answer(through: httpx.AsyncClient) -> None:
    found = await through.post("/api/orders", content=b" " * 20_000, headers={"Content-Type": "application/json"})
    assert (found.status_code, found.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_what_is_for_operators_looks_like_any_unknown_address(through: httpx.AsyncClient) -> None:
    unknown = await through.get("/no-such-address")
    for path in ("/metrics", "/readyz"):
        found = await through.get(path)
        assert (found.status_code, found.text) == (404, unknown.text)
    assert (await through.get("/healthz")).json() == {"status": "ok"}


async def test_the_back_offices_door_is_reached(through: httpx.AsyncClient) -> None:
    found = await through.get("/admin/login/")
    assert found.status_code == 200
    assert "csrfmiddlewaretoken" in found.text
    assert "Content-Encoding" not in found.headers  # secrets are not compressed


async def test_a_compressed_static_file_is_compressed_once(nginx: Front) -> None:
    with socket.create_connection(("127.0.0.1", nginx.port)) as sock:
        url = staticfiles_storage.url("css/base.css")
        sock.sendall(f"GET {url} HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: sock.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head.lower().count(b"content-encoding") == 1
    original = Path(os.environ["FLASHDROP_DATA_DIR"]) / "static" / url.removeprefix("/static/")
    assert gzip.decompress(body) == original.read_bytes()
