"""The live view: its figures are the stores', for those who may see them; and what is not known is not made up."""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client

from conftest import cookie_of, eventually, shopper, show
from flashdrop import mongo_client, redis_client
from flashdrop.config import config
from flashdrop.embedded.process import free_port
from flashdrop.redis_client import redis
from orders import ledger
from orders.desk.figures import lookout
from orders.desk.live import live_data
from orders.worker import HEARTBEAT_SECONDS
from sales import stock
from sales.backoffice import save_and_publish
from sales.desk import roles
from sales.gate import Wish
from sales.keys import WORKER_ALIVE, WORKER_HEARTBEAT
from sales.models import Sale

pytestmark = pytest.mark.django_db(transaction=True)

# Answered by this process; the browser trusts the name.
ORIGIN = "http://localhost"
NO_FAVICON = "Failed to load resource: the server responded with a status of 404 (Not Found)"


@pytest.fixture
async def sale(transactional_db: None) -> Sale:
    """Open, with 3 units, as the back office publishes it."""
    return await published(stock=3)


async def published(**changes: Any) -> Sale:
    now = datetime.now(UTC)
    window = {"opens_at": now - timedelta(minutes=1), "closes_at": now + timedelta(hours=1)}
    fields: dict[str, Any] = {"name": "Lamp", "price_minor": 100, "stock": 3, "published": True} | window | changes
    made = Sale(**fields)
    made.sku = f"live-{made.pk}"
    await asyncio.to_thread(save_and_publish, made)
    await show()
    return made


def signed_in(role: str | None, **flags: Any) -> Client:
    """Somebody of the staff in one of the desk's roles, in a browser of their own."""
    roles.ensure()
    someone = User.objects.create(username=f"live-{role}-{time.monotonic_ns()}", is_staff=True, **flags)
    if role is not None:
        someone.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(someone)
    return browser


async def browser_of(role: str | None, **flags: Any) -> Client:
    return await asyncio.to_thread(signed_in, role, **flags)


def session_of(browser: Client) -> dict[str, str]:
    return {"Cookie": f"sessionid={browser.cookies['sessionid'].value}"}


def data_url(sale: Sale) -> str:
    return f"/admin/desk/sales/{sale.pk}/live/data"


async def page(browser: Client, sale: Sale) -> HttpResponse:
    response: Any = await asyncio.to_thread(browser.get, f"/admin/desk/sales/{sale.pk}/live/")
    return response  # type: ignore[no-any-return]


async def text_of(browser: Client, sale: Sale) -> str:
    response = await page(browser, sale)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def tile(text: str, name: str) -> str | None:
    """The value of one figure on the page."""
    found = re.search(rf'data-figure="{name}">.*?data-value>([^<]*)<', text, re.DOTALL)
    return found and found[1]


@pytest.fixture
async def viewer() -> AsyncIterator[dict[str, str]]:
    """The request header of somebody who may look and no more."""
    yield session_of(await browser_of("viewer"))


async def look(client: httpx.AsyncClient, sale: Sale, who: dict[str, str]) -> dict[str, Any]:
    response = await client.get(data_url(sale), headers=who)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def buy(client: httpx.AsyncClient, sale: Sale) -> int:
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))
    return answer.status_code


async def test_the_figures_are_what_the_stores_hold(
    client: httpx.AsyncClient, sale: Sale, viewer: dict[str, str]
) -> None:
    assert [await buy(client, sale) for _ in range(5)] == [201, 201, 201, 409, 409]

    async def settled() -> dict[str, Any] | None:
        found = await look(client, sale, viewer)
        figures, charts = found["figures"], found["charts"]
        is_told = "Out of stock</th>" in charts["outcomes"] and "Order confirmed</th>" in charts["outcomes"]
        return found if is_told and figures["sold"]["value"] == "3" and figures["tried"]["value"] == "5" else None

    found: dict[str, Any] = await eventually(settled)
    figures = found["figures"]
    _, (levels,) = await stock.levels(redis(), [sale.pk])
    tally = await ledger.tally(sale.pk)
    assert (figures["left"]["value"], levels.available) == ("0", 0)
    assert figures["left"]["note"] == "of 3 · 3 taken"
    assert figures["sold"]["value"] == f"{tally.units}"
    assert figures["sold"]["note"].startswith(f"in {tally.orders} orders")
    assert figures["pending"] == {"value": "0", "note": "none waits"}
    assert (found["phase"], found["phase_words"]) == ("sold_out", "Sold out")
    shown = re.findall(r'scope="row">([^<]+)</th>\s*<td class="chart-value">(\d+)<', found["charts"]["outcomes"])
    assert {"Order confirmed": "3", "Out of stock": "2"}.items() <= dict(shown).items()  # others are the whole shop's
    assert found["edge"]["word"] == "Closes in"
    assert abs(found["edge"]["at"] - sale.closes_at.timestamp() * 1000) < 1


async def test_the_page_itself_shows_the_same(client: httpx.AsyncClient, sale: Sale) -> None:
    assert await buy(client, sale) == 201
    text = await text_of(await browser_of("viewer"), sale)
    assert (tile(text, "left"), tile(text, "sold")) == ("2", "1")
    assert ">Open</h2>" in text
    assert "The gate (Redis, counts stock) answers." in text
    assert "The ledger (MongoDB, keeps orders) answers." in text
    assert 'role="img" aria-label="Orders, per second, last 5 minutes' in text
    assert data_url(sale) in text
    assert not re.search(r"<[^>]+ style=|<script>", text)


async def test_an_order_that_waits_is_shown_with_its_age(
    client: httpx.AsyncClient, sale: Sale, viewer: dict[str, str]
) -> None:
    wish = Wish("live-pending", "somebody", 1, False, "")
    await stock.reserve(redis(), sale.pk, 1, [wish])
    await asyncio.sleep(0.3)
    await show()
    found = await look(client, sale, viewer)
    assert found["figures"]["pending"]["value"] == "1"
    oldest = re.fullmatch(r"the oldest for ([\d.]+) s", found["figures"]["pending"]["note"])
    assert oldest and 0.3 <= float(oldest[1]) < 5
    assert found["figures"]["left"]["note"] == "of 3 · 1 taken"
    assert found["figures"]["sold"]["value"] == "0"


async def test_the_phase_follows_at_once(client: httpx.AsyncClient, sale: Sale, viewer: dict[str, str]) -> None:
    assert (await look(client, sale, viewer))["phase_words"] == "Open"
    sale.paused = True
    await asyncio.to_thread(save_and_publish, sale)

    async def is_paused() -> bool:
        return bool((await look(client, sale, viewer))["phase_words"] == "Paused")

    await eventually(is_paused)


async def test_a_draft_and_a_sale_to_come_say_so(client: httpx.AsyncClient, viewer: dict[str, str]) -> None:
    draft = await published(published=False)
    found = await look(client, draft, viewer)
    assert (found["phase_words"], found["figures"]["left"], found["edge"]) == ("Not on show", None, None)
    coming = await published(opens_at=datetime.now(UTC) + timedelta(minutes=5))
    found = await look(client, coming, viewer)
    assert (found["phase"], found["edge"]["word"]) == ("upcoming", "Opens in")


async def test_the_worker_is_missed(client: httpx.AsyncClient, sale: Sale, viewer: dict[str, str]) -> None:
    async def worker() -> tuple[str, str]:
        checks = (await look(client, sale, viewer))["checks"]
        return next((check["state"], check["words"]) for check in checks if check["name"] == "worker")

    async def is_missed() -> bool:
        state, said = await worker()
        return state == "bad" and said.startswith("No worker is running.")

    async def is_waiting() -> bool:
        state, said = await worker()
        return state == "bad" and said.startswith("The workers run, but get nothing done")

    async def is_alive() -> bool:
        return (await worker())[0] == "ok"

    for key in (WORKER_HEARTBEAT, WORKER_ALIVE):
        await redis().delete(key)
    await eventually(is_missed)
    await redis().set(WORKER_ALIVE, 1, ex=HEARTBEAT_SECONDS)
    await eventually(is_waiting)
    await redis().set(WORKER_HEARTBEAT, 1, ex=HEARTBEAT_SECONDS)
    await eventually(is_alive)


async def test_counting_goes_on_after_any_error(sale: Sale, monkeypatch: pytest.MonkeyPatch) -> None:
    really = ledger.tally

    async def fails(sale_id: str) -> ledger.Tally:
        raise KeyError("what nobody foresaw")

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "tally", fails)
        assert (await lookout().look(sale.pk)).sold is None
    assert ledger.tally is really
    await asyncio.sleep(1.1)  # the pause between two counts

    async def counted() -> bool:
        return (await lookout().look(sale.pk)).sold is not None

    await eventually(counted)


async def test_a_gate_that_is_silent_leaves_its_figures_unknown(
    client: httpx.AsyncClient, sale: Sale, viewer: dict[str, str]
) -> None:
    assert await buy(client, sale) == 201
    await look(client, sale, viewer)
    # Nobody is answered meanwhile.
    await redis().client_pause(3000)
    await asyncio.sleep(1.0)
    started = time.monotonic()
    found = await look(client, sale, viewer)
    assert time.monotonic() - started < 3
    figures = found["figures"]
    assert [figures[name] for name in ("pending", "rate", "viewers", "tried")] == [None] * 4
    assert found["charts"] is None
    assert {check["name"]: check["state"] for check in found["checks"]} == {
        "gate": "bad",
        "ledger": "ok",
        "worker": "unknown",
    }
    # What the ledger says is still known.
    assert figures["sold"]["value"] == "1"

    async def is_back() -> bool:
        await show()
        found = await look(client, sale, viewer)
        return bool(found["phase"] == "active" and found["figures"]["left"]["value"] == "2")

    await eventually(is_back)


@contextmanager
def stores_away() -> Iterator[None]:
    """Whoever connects meanwhile finds nobody; this test's own connections stay."""
    with pytest.MonkeyPatch.context() as patch:
        dead = f"mongodb://127.0.0.1:{free_port()}/flashdrop?replicaSet=rs0"
        patch.setattr(mongo_client, "config", replace(config, mongodb_url=dead))
        patch.setattr(mongo_client, "SELECT_SERVER_MS", 200)
        patch.setattr(redis_client, "config", replace(config, redis_url=f"redis://127.0.0.1:{free_port()}/0"))
        yield


async def test_with_both_stores_away_the_page_opens_and_says_what_is_not_known(sale: Sale) -> None:
    browser = await browser_of("viewer")
    with stores_away():
        text = await text_of(browser, sale)
    assert ">Not known</h2>" in text
    assert [tile(text, name) for name in ("sold", "rate", "pending")] == ["?"] * 3
    assert text.count("not known yet") == 6
    assert "The gate (Redis, counts stock) does not answer." in text
    assert "The ledger (MongoDB, keeps orders) does not answer." in text
    assert "The charts appear when the gate answers." in text


@pytest.mark.parametrize("role", ["viewer", "merchandiser", "operator"])
async def test_every_role_may_watch(role: str, client: httpx.AsyncClient, sale: Sale) -> None:
    browser = await browser_of(role)
    assert (await page(browser, sale)).status_code == 200
    assert (await client.get(data_url(sale), headers=session_of(browser))).status_code == 200


async def test_others_may_not(client: httpx.AsyncClient, sale: Sale) -> None:
    browser = await browser_of(None)
    assert (await page(browser, sale)).status_code == 403
    refused = await client.get(data_url(sale), headers=session_of(browser))
    assert (refused.status_code, refused.json()) == (403, {"code": "FORBIDDEN"})
    for cookie in ({}, {"Cookie": "sessionid=made-up"}):
        refused = await client.get(data_url(sale), headers=cookie)
        assert (refused.status_code, refused.json()) == (401, {"code": "UNAUTHORIZED"})
    stranger = await page(Client(), sale)
    assert (stranger.status_code, stranger.headers["Location"].split("?")[0]) == (302, "/admin/login/")
    assert (await client.post(data_url(sale), headers=session_of(browser))).status_code == 405


async def test_somebody_who_is_dismissed_sees_no_more_figures(client: httpx.AsyncClient, sale: Sale) -> None:
    browser = await browser_of("viewer")
    who = session_of(browser)
    assert (await client.get(data_url(sale), headers=who)).status_code == 200
    await User.objects.filter(username__startswith="live-viewer").aupdate(is_active=False)
    assert (await client.get(data_url(sale), headers=who)).status_code == 401


async def test_twenty_people_cost_one_look_at_the_stores(
    client: httpx.AsyncClient, sale: Sale, viewer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    look_once = lookout()._look
    await look(client, await published(), viewer)  # who is asking is known from here on
    monkeypatch.setattr("orders.desk.figures.FRESH_SECONDS", 60.0)  # however slow the machine

    async def counted(sale_id: str) -> Any:
        looks.append(sale_id)
        return await look_once(sale_id)

    monkeypatch.setattr(lookout(), "_look", counted)
    answers = await asyncio.gather(*(client.get(data_url(sale), headers=viewer) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert looks == [sale.pk]


async def test_the_figures_take_the_lean_door_and_are_kept_by_nobody(
    client: httpx.AsyncClient, sale: Sale, viewer: dict[str, str]
) -> None:
    assert live_data.hot  # type: ignore[attr-defined]
    answer = await client.get(data_url(sale), headers=viewer | {"Accept-Encoding": "gzip"})
    assert (answer.headers["Cache-Control"], answer.headers["Content-Encoding"]) == ("private, no-store", "gzip")


@pytest.mark.browser
async def test_the_page_moves_by_itself_and_says_when_it_does_not(
    client: httpx.AsyncClient, sale: Sale, chromium: Any
) -> None:
    browser = await browser_of("viewer")
    who = session_of(browser)
    is_cut = False
    complaints: list[str] = []

    async def answer(route: Any) -> None:
        if is_cut:
            await route.abort()
            return
        path = route.request.url.removeprefix(ORIGIN)
        if path.endswith("/live/"):
            response: Any = await page(browser, sale)
            body = response.content
        else:
            response = await client.get(path, headers=who)
            body = response.content
        if response.status_code >= 400 and path != "/favicon.ico":
            complaints.append(f"{response.status_code} {path}")
        headers = {name: value for name, value in response.headers.items() if name.lower() != "content-encoding"}
        await route.fulfill(status=response.status_code, headers=headers, body=body)

    context = await chromium.new_context(viewport={"width": 320, "height": 640})
    tab = await context.new_page()
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    await tab.route(f"{ORIGIN}/**", answer)
    await tab.goto(f"{ORIGIN}/admin/desk/sales/{sale.pk}/live/")
    try:

        async def says(selector: str, text: str) -> None:
            async def found() -> bool:
                return text in (await tab.inner_text(selector))

            await eventually(found, 20)

        await says("#live-state", "Live.")
        await says("[data-figure=left] [data-value]", "3")
        assert await buy(client, sale) == 201
        await says("[data-figure=left] [data-value]", "2")
        await says("#chart-outcomes", "Order confirmed")
        assert await tab.inner_text("#live-announcer") == ""
        sale.paused = True
        await asyncio.to_thread(save_and_publish, sale)
        await says("#live-announcer", "Paused. Nobody can buy")
        assert await tab.evaluate("document.documentElement.scrollWidth") <= 320
        await redis().client_pause(3000)
        await says("[data-figure=pending] [data-old]", "Last known at")
        await says("[data-figure=left] [data-value]", "2")
        assert [text for text in complaints if text != NO_FAVICON] == []
        is_cut = True
        await says("#live-state", "Connection lost. The figures are from")
        is_cut = False
        await says("#live-state", "Live.")
    finally:
        await context.close()
