"""Signing out of a browser that shows orders: what it costs is said before, and why they are gone afterwards."""

from __future__ import annotations

import re
import secrets
from typing import Any

import httpx
import pytest

from conftest import Publish, in_process_client
from orders.identity import COOKIE, LEFT_COOKIE
from sales.published import PublishedSale

HTMX = {"HX-Request": "true"}
SINCE = "This name has bought here; this browser was signed out since. Open your receipt link."
ELSEWHERE = "This name has bought here, in another browser."
NONE_YET = "No orders in this browser yet."


def state(answer: httpx.Response) -> str:
    (found,) = re.findall(r'<section id="me"[^>]*data-state="([a-z_]+)"', answer.text)
    return str(found)


async def buyer(client: httpx.AsyncClient, sale: PublishedSale, name: str | None = None) -> tuple[str, str]:
    """Somebody who has signed in and bought here: their name and the receipt's address."""
    name = name or f"leaving-{secrets.token_hex(4)}"
    await client.post("/session", data={"identifier": name, "sku": sale.sku})
    bought = await client.post("/api/orders", json={"sku": sale.sku})
    assert bought.status_code == 201
    return name, bought.json()["data"]["receiptUrl"]


async def sign_out(client: httpx.AsyncClient, sale: PublishedSale | None, **fields: Any) -> httpx.Response:
    """As a page with scripts does it, from the sale; as a plain form without."""
    data = ({"sku": sale.sku} if sale else {}) | fields
    return await client.post("/session/end", data=data, headers=HTMX if sale else {})


async def test_the_panel_says_what_signing_out_costs_and_gives_the_links(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, other = await publish(name="First lamp"), await publish(name="Second lamp")
    name, link = await buyer(client, sale)
    _, other_link = await buyer(client, other, name)
    asked = await sign_out(client, sale)
    assert (asked.status_code, state(asked)) == (200, "leaving")
    assert "this browser no longer shows what you bought" in asked.text
    assert all(part in asked.text for part in (link, other_link, "First lamp", "Second lamp"))
    assert COOKIE in client.cookies
    # Nothing has happened yet.
    assert state(await client.get(f"/sales/{sale.sku}/me", headers=HTMX)) == "order"
    done = await sign_out(client, sale, confirmed="1")
    assert (done.status_code, state(done)) == (200, "signed_out")
    assert COOKIE not in client.cookies


@pytest.mark.parametrize("from_sale", [True, False])
async def test_a_plain_form_leads_to_a_page_that_says_so(
    client: httpx.AsyncClient, publish: Publish, from_sale: bool
) -> None:
    sale = await publish()
    _, link = await buyer(client, sale)
    fields = {"sku": sale.sku} if from_sale else {}
    asked = await client.post("/session/end", data=fields)
    assert asked.status_code == 303
    page = await client.get(asked.headers["Location"])
    assert page.headers["Cache-Control"] == "private, no-store"
    assert (page.status_code, state(page)) == (200, "leaving")
    assert link in page.text and 'name="confirmed"' in page.text
    assert f'href="{f"/sales/{sale.sku}/me" if from_sale else "/orders/"}"' in page.text
    done = await client.post("/session/end", data=fields | {"confirmed": "1"})
    assert done.headers["Location"] == (f"/sales/{sale.sku}/me" if from_sale else "/orders/")
    assert COOKIE not in client.cookies


async def test_without_orders_there_is_no_question(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    for one in (sale, None):
        await client.post("/session", data={"identifier": f"nothing-{secrets.token_hex(4)}"})
        assert (await client.get("/session/end")).headers["Location"] == "/orders/"
        assert (await client.get(f"/session/end?sku={sale.sku}")).headers["Location"] == f"/sales/{sale.sku}/me"
        answer = await sign_out(client, one)
        assert answer.status_code == (200 if one else 303)
        assert COOKIE not in client.cookies
    assert (await client.get("/session/end")).status_code == 303


@pytest.mark.parametrize("how", ["form", "api"])
async def test_whoever_comes_back_is_told_why_their_order_is_not_shown(
    client: httpx.AsyncClient, publish: Publish, how: str
) -> None:
    sale = await publish()
    name, link = await buyer(client, sale)
    await (client.post("/api/auth/logout") if how == "api" else sign_out(client, sale, confirmed="1"))
    signed_in = await client.post("/session", data={"identifier": name, "sku": sale.sku}, headers=HTMX)
    tried = await client.post(f"/sales/{sale.sku}/orders", headers=HTMX)
    assert tried.status_code == 403
    for answer in (signed_in, tried, await client.get(f"/sales/{sale.sku}/me"), await client.get("/orders/")):
        assert SINCE in answer.text and NONE_YET not in answer.text
        assert link not in answer.text
    assert (await client.get(link)).status_code == 200


async def test_somebody_else_at_that_browser_learns_nothing_more(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    name, link = await buyer(client, sale)
    await sign_out(client, sale, confirmed="1")
    await client.post("/session", data={"identifier": "Mallory"})
    assert NONE_YET in (await client.get("/orders/")).text
    await client.post("/session", data={"identifier": name})
    for path in ("/orders/", f"/sales/{sale.sku}/me", "/session/end"):
        assert link not in (await client.get(path, follow_redirects=True)).text
    assert (await client.get("/api/orders")).json()["data"] == []


async def test_whoever_was_signed_in_over_is_told_the_same(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    name, _ = await buyer(client, sale)
    for identifier in ("Bob", name):
        await client.post("/session", data={"identifier": identifier})
    assert SINCE in (await client.get("/orders/")).text
    assert SINCE in (await client.get(f"/sales/{sale.sku}/me")).text


async def test_another_browser_is_told_of_another_browser(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, later = await publish(), await publish()
    name, link = await buyer(client, sale)
    async with in_process_client() as other:
        await other.post("/session", data={"identifier": name})
        page = await other.get("/orders/")
        assert ELSEWHERE in page.text and NONE_YET not in page.text and SINCE not in page.text
        _, shown = await buyer(other, later, name)
        page = await other.get("/orders/")
        assert shown in page.text and link not in page.text and NONE_YET not in page.text
        assert "in another browser or before signing out" in (await other.get(f"/sales/{sale.sku}/me")).text


@pytest.mark.parametrize("value", ["", "x", "a.b:c", "\u00e9", "a" * 4000])
async def test_a_made_up_memory_of_sessions_is_none(client: httpx.AsyncClient, publish: Publish, value: str) -> None:
    sale = await publish()
    name, _ = await buyer(client, sale)
    async with in_process_client() as other:
        await other.post("/session", data={"identifier": name})
        cookies = f"{COOKIE}={other.cookies[COOKIE]}; {LEFT_COOKIE}={value}".encode()
        page = await other.get("/orders/", headers=[(b"Cookie", cookies)])  # type: ignore[arg-type]
        assert page.status_code == 200 and ELSEWHERE in page.text


async def test_only_the_last_sessions_are_remembered(client: httpx.AsyncClient) -> None:
    for number in range(12):
        await client.post("/session", data={"identifier": f"many-{number}"})
    cookie = next(one for one in client.cookies.jar if one.name == LEFT_COOKIE)
    assert len(cookie.value or "") < 200
    assert {"HttpOnly", "SameSite"} <= set(cookie._rest)  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_other_methods_are_refused(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/session/end")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST, HEAD")
