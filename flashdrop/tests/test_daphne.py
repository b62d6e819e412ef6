"""The other server that runs the shop: it reads requests as the wire does."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from conftest import BASE_DIR, eventually, fetch
from flashdrop.embedded.process import free_port
from flashdrop.tests.raw_http import JSON, dial, get, request
from flashdrop.tests.test_wire_limits import LOGIN, OFFERS


@pytest.fixture(scope="module")
def daphne(static_files: None) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "flashdrop.asgi:application"]
    process = subprocess.Popen(command, cwd=BASE_DIR, env=dict(os.environ), stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


async def answers(port: int) -> bool:
    with contextlib.suppress(Exception):
        return fetch(f"http://127.0.0.1:{port}/healthz").status_code == 200
    return False


@pytest.mark.parametrize("offer", ["h2c", "several", "tls"])
async def test_an_offer_is_ignored_and_the_body_read(daphne: int, offer: str) -> None:
    await eventually(lambda: answers(daphne), 30)
    line = await dial(daphne)
    for body, status in ((get("/healthz"), 400), (LOGIN, 200)):
        raw = request("POST", "/api/auth/login", JSON | OFFERS[offer], body)
        line.write(raw[: -len(body)])
        assert await line.stays_open(0.1)
        line.write(body)
        assert (await line.answer("POST")).status == status
        assert await line.stays_open(0.1), "one request, one answer"
    await line.close()


async def test_trailers_are_no_headers(daphne: int) -> None:
    await eventually(lambda: answers(daphne), 30)
    line = await dial(daphne)
    raw = request("POST", "/api/auth/login", JSON | {"Transfer-Encoding": "chunked"})
    raw = raw.replace(b"Content-Length: 0\r\n", b"") + b"%x\r\n%b\r\n0\r\n" % (len(LOGIN), LOGIN)
    line.write(raw + b"Sec-Fetch-Site: cross-site\r\nContent-Type: text/plain\r\n\r\n")
    told = await line.answer("POST")
    assert (told.status, json.loads(told.body)["data"]["identifier"]) == (200, "Alice")
    await line.close()
