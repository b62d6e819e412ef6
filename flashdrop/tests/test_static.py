"""Static files at the lean door."""

from __future__ import annotations

import httpx
import pytest
from django.contrib.staticfiles.storage import staticfiles_storage


async def test_a_file_named_by_its_hash_may_be_kept_forever(client: httpx.AsyncClient) -> None:
    answer = await client.get(staticfiles_storage.url("css/base.css"))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Content-Encoding"] == "gzip"
    again = await client.get(str(answer.url), headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


async def test_a_plain_name_is_asked_for_again(client: httpx.AsyncClient) -> None:
    answer = await client.get("/static/img/demo.svg")
    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert answer.headers["Cache-Control"] == "max-age=60, public"


async def test_the_admins_files_are_there_too(client: httpx.AsyncClient) -> None:
    assert (await client.get(staticfiles_storage.url("admin/css/base.css"))).status_code == 200


@pytest.mark.parametrize(
    "path", ["", "no/such.css", "../db.sqlite3", "%2e%2e/db.sqlite3", "css", "/etc/passwd", "css/\x00"]
)
async def test_nothing_else_can_be_read(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(httpx.URL("http://testserver/static/" + path.replace("\x00", "%00")))).status_code == 404
