"""Browser sessions: whose they are, when they end, and that they end for every copy of their cookie."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import orjson
import pytest
from django.core.signing import b64_encode

from conftest import Publish, Stores, client_of, cookie_of, eventually, follows, in_process_client, shopper
from flashdrop.redis_client import redis
from flashdrop.signing import QuickSigner
from orders import identity, sessions
from orders.identity import COOKIE, Shopper, cookie_value, read_cookie, sign_in_guest
from orders.sessions import SESSION_SECONDS
from sales.keys import ENDED_SESSIONS

HTMX = {"HX-Request": "true"}
DAY = 24 * 3600


def new_name() -> str:
    return f"session-{secrets.token_hex(4)}"


def holder(client: httpx.AsyncClient) -> Shopper:
    """Whose cookie this browser has."""
    found = read_cookie(client.cookies[COOKIE])
    assert found is not None
    return found


def with_cookie(value: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={value}"}


async def sign_in(client: httpx.AsyncClient, name: str, how: str, sku: str = "") -> None:
    if how == "api":
        answer = await client.post("/api/auth/login", json={"identifier": name})
    else:
        fields = {"identifier": name} | ({"sku": sku} if how != "my orders" else {})
        answer = await client.post("/session", data=fields, headers=HTMX if how == "htmx" else {})
    assert answer.status_code in (200, 303), answer.text


async def sign_out(client: httpx.AsyncClient, how: str, sku: str = "") -> httpx.Response:
    if how == "api":
        return await client.post("/api/auth/logout")
    fields = {"sku": sku, "confirmed": "1"} if how != "my orders" else {"confirmed": "1"}
    return await client.post("/session/end", data=fields, headers=HTMX if how == "htmx" else {})


async def orders_of(cookie: str) -> httpx.Response:
    async with in_process_client() as client:
        return await client.get("/api/orders", headers=with_cookie(cookie))


HOW = pytest.mark.parametrize("how", ["api", "form", "htmx", "my orders"])


# Whose it is


@HOW
async def test_whoever_signs_in_over_somebody_gets_a_session_of_their_own(
    client: httpx.AsyncClient, publish: Publish, how: str
) -> None:
    """The first one kept the cookie, and knows the other's name."""
    sale, victim = await publish(), new_name()
    await sign_in(client, new_name(), how, sale.sku)
    kept = client.cookies[COOKIE]
    await sign_in(client, victim, how, sale.sku)
    assert holder(client).session_id != read_cookie(kept).session_id  # type: ignore[union-attr]
    order = (await client.post("/api/orders", json={"sku": sale.sku})).json()["data"]
    await sign_out(client, how, sale.sku)
    async with in_process_client() as attacker:
        attacker.cookies.set(COOKIE, kept)
        await sign_in(attacker, victim, how, sale.sku)
        assert (await attacker.get("/api/orders")).json()["data"] == []
        for path in ("/orders/", f"/sales/{sale.sku}/me"):
            page = await attacker.get(path)
            assert order["_id"] not in page.text and order["receiptUrl"] not in page.text


async def test_nor_does_a_guest_hand_on_a_session(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(guests_allowed=True)
    seen = set()
    for fields in ({"guest": "1"}, {"identifier": new_name()}, {"guest": "1"}, {"guest": "1"}):
        await client.post("/session", data={"sku": sale.sku, **fields})
        seen.add(holder(client).session_id)
    assert len(seen) == 4


@HOW
async def test_the_same_name_goes_on_in_its_session_and_no_longer_than_that(
    client: httpx.AsyncClient, publish: Publish, how: str
) -> None:
    sale, name = await publish(), new_name()
    began_at = int(time.time()) - 29 * DAY
    someone = replace(shopper(name), session_began_at=began_at)
    client.cookies.set(COOKIE, cookie_value(someone), domain="testserver.local", path="/")
    await sign_in(client, name.upper(), how, sale.sku)
    assert (holder(client).session_id, holder(client).session_began_at) == (someone.session_id, began_at)
    cookie = next(found for found in client.cookies.jar if found.name == COOKIE)
    assert cookie.expires is not None and abs(cookie.expires - (began_at + SESSION_SECONDS)) < 5


# Its age


@pytest.mark.parametrize(("days", "status"), [(0, 200), (29.9, 200), (30.1, 401), (400, 401)])
async def test_a_session_ends_after_thirty_days(client: httpx.AsyncClient, days: float, status: int) -> None:
    someone = replace(shopper(), session_began_at=int(time.time() - days * DAY))
    assert (await client.get("/api/orders", headers=cookie_of(someone))).status_code == status


async def test_whoever_comes_back_later_is_nobody_anywhere(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, late = await publish(guests_allowed=True), int(time.time()) - SESSION_SECONDS - 1
    for who in (replace(shopper(), session_began_at=late), replace(sign_in_guest(), session_began_at=late)):
        answers = [
            await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(who)),
            await client.post(f"/sales/{sale.sku}/orders", headers=HTMX | cookie_of(who)),
        ]
        assert [answer.status_code for answer in answers] == [401, 401]
        assert 'data-state="signed_out"' in (await client.get(f"/sales/{sale.sku}/me", headers=cookie_of(who))).text


def former_cookie(someone: Shopper) -> str:
    """As it was signed before sessions had an age."""
    fields = [someone.id, someone.name, someone.session_id, 0]
    return QuickSigner(salt="flashdrop.shopper").sign(b64_encode(orjson.dumps(fields)).decode())


async def test_a_cookie_of_before_counts_from_a_fixed_day(monkeypatch: pytest.MonkeyPatch) -> None:
    someone = shopper()
    assert time.time() >= identity.UNDATED_BEGAN_AT
    for days, is_known in ((29, True), (31, False)):
        monkeypatch.setattr(identity, "UNDATED_BEGAN_AT", int(time.time()) - days * DAY)
        found = read_cookie(former_cookie(someone))
        assert (found is not None and found.session_id == someone.session_id) == is_known


async def test_a_cookie_of_before_ends_by_signing_out_too(
    client: httpx.AsyncClient, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "UNDATED_BEGAN_AT", int(time.time()) - DAY)
    sale, value = await publish(), former_cookie(shopper())
    bought = await client.post("/api/orders", json={"sku": sale.sku}, headers=with_cookie(value))
    assert bought.status_code == 201
    assert (await client.post("/api/auth/logout", headers=with_cookie(value))).status_code == 200
    assert (await orders_of(value)).status_code == 401


# Signing out


@HOW
async def test_a_copied_cookie_ends_with_signing_out(client: httpx.AsyncClient, publish: Publish, how: str) -> None:
    sale, other, name = await publish(), await publish(), new_name()
    await sign_in(client, name, how, sale.sku)
    await client.post("/api/orders", json={"sku": sale.sku})
    copied = client.cookies[COOKIE]
    assert len((await orders_of(copied)).json()["data"]) == 1
    await sign_out(client, how, sale.sku)
    assert COOKIE not in client.cookies
    async with in_process_client() as thief:
        thief.cookies.set(COOKIE, copied)
        assert (await thief.get("/api/orders")).status_code == 401
        assert (await thief.get(f"/api/orders/{sale.sku}")).status_code == 401
        assert (await thief.post("/api/orders", json={"sku": other.sku})).status_code == 401
        assert 'data-state="signed_out"' in (await thief.get(f"/sales/{sale.sku}/me")).text
        # Signing in by it doesn't wake it.
        await sign_in(thief, name, how, sale.sku)
        assert (await thief.get("/api/orders")).json()["data"] == []


async def test_signing_out_twice_is_harmless(client: httpx.AsyncClient) -> None:
    await sign_in(client, new_name(), "api")
    copied = client.cookies[COOKIE]
    for headers in ({}, {}, with_cookie(copied), with_cookie("made-up")):
        assert (await client.post("/api/auth/logout", headers=headers)).status_code == 200


async def test_other_sessions_of_the_same_name_go_on(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, name = await publish(limit_per_shopper=2), new_name()
    here, there = shopper(name), shopper(name)
    for who in (here, there):
        await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(who))
    await client.post("/api/auth/logout", headers=cookie_of(here))
    found = await client.get("/api/orders", headers=cookie_of(there))
    assert [len(order["units"]) for order in found.json()["data"]] == [1]


async def test_what_was_bought_stays_hidden_when_redis_has_lost_the_list(
    client: httpx.AsyncClient, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the processes that knew it are gone: the ledger still knows."""
    sale, someone = await publish(), shopper()
    purchase = {"json": {"sku": sale.sku}, "headers": cookie_of(someone) | {"Idempotency-Key": "1"}}
    order = (await client.post("/api/orders", **purchase)).json()["data"]  # type: ignore[arg-type]
    await client.post("/api/auth/logout", headers=cookie_of(someone))
    await redis().delete(ENDED_SESSIONS)
    monkeypatch.setattr(sessions, "_ended", {})
    assert (await orders_of(cookie_value(someone))).json()["data"] == []
    assert (await client.get(f"/api/orders/{sale.sku}", headers=cookie_of(someone))).status_code == 404
    page = await client.get(f"/sales/{sale.sku}/me", headers=cookie_of(someone))
    assert order["_id"] not in page.text and 'data-state="taken"' in page.text
    assert order["_id"] not in (await client.get("/orders/", headers=cookie_of(someone))).text
    again = await client.post("/api/orders", **purchase)  # type: ignore[arg-type]
    assert (again.status_code, again.json()["data"]) == (403, None)
    # Its receipt is for whoever has the link, as ever.
    assert order["_id"] in (await client.get(order["receiptUrl"])).text


async def test_cancelled_orders_are_hidden_too(client: httpx.AsyncClient, publish: Publish) -> None:
    from orders import ledger
    from orders.cancelling import cancel

    sale, someone = await publish(), shopper()
    order = (await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(someone))).json()["data"]
    await cancel(order["_id"], by="mia", reason="test")
    await sessions.end(someone.id, someone.session_id)
    assert (await ledger.find([order["_id"]]))[order["_id"]].session_ended


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("store", ["mongo", "valkey"])
async def test_without_a_store_nobody_is_told_that_they_are_signed_out(
    client: httpx.AsyncClient, publish: Publish, stores: Stores, store: str
) -> None:
    sale = await publish()
    await sign_in(client, new_name(), "api")
    with standing_still(getattr(stores, store).process.pid):
        answer = await sign_out(client, "api")
        assert (answer.status_code, answer.json()["code"]) == (503, "SALE_NOT_READY")
        assert int(answer.headers["Retry-After"]) >= 1 and "Set-Cookie" not in answer.headers
        answer = await sign_out(client, "htmx", sale.sku)
        assert answer.status_code == 503 and "Set-Cookie" not in answer.headers
        assert "data-message" in answer.text
    copied = client.cookies[COOKIE]
    assert (await sign_out(client, "htmx", sale.sku)).status_code == 200
    assert (await orders_of(copied)).status_code == 401


async def test_every_process_hears_of_it_within_seconds(shop: str, publish: Publish) -> None:
    sale, other = await publish(), await publish()
    for one in (sale, other):
        await follows(shop, one)
    one_each = httpx.Limits(max_keepalive_connections=0)
    async with client_of(shop, limits=one_each) as client, client_of(shop, limits=one_each) as thief:
        await sign_in(client, new_name(), "api")
        await client.post("/api/orders", json={"sku": sale.sku})
        copied = with_cookie(client.cookies[COOKIE])
        await sign_out(client, "api")

        async def all_refuse() -> bool:
            for _ in range(24):
                if (await thief.get("/api/orders", headers=copied)).status_code != 401:
                    return False
            return True

        assert await eventually(all_refuse, seconds=5)
        bought = [
            (await thief.post("/api/orders", json={"sku": other.sku}, headers=copied)).status_code for _ in "1234"
        ]
        assert bought == [401] * 4


# The list


async def test_the_list_is_bounded_and_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LISTED", 100)
    monkeypatch.setattr(sessions, "_ended", {})
    await redis().delete(ENDED_SESSIONS)
    ids = [secrets.token_urlsafe(12) for _ in range(500)]
    for session_id in ids:
        await sessions.end("nobody", session_id)
    assert await redis().xlen(ENDED_SESSIONS) <= 200  # Redis trims whole nodes
    assert 0 < await redis().ttl(ENDED_SESSIONS) <= SESSION_SECONDS
    assert len(sessions._ended) <= 100


async def test_a_process_that_starts_reads_the_whole_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PAGE", 7)
    ids = [secrets.token_urlsafe(12) for _ in range(30)]
    for session_id in ids:
        await sessions.end("nobody", session_id)
    monkeypatch.setattr(sessions, "_ended", {})
    watcher = sessions.Watcher()
    try:
        await eventually(lambda: asyncio.sleep(0, all(map(sessions.has_ended, ids))))
        late = secrets.token_urlsafe(12)
        await redis().xadd(ENDED_SESSIONS, {"session": late})
        await eventually(lambda: asyncio.sleep(0, sessions.has_ended(late)))
    finally:
        await watcher.stop()


async def test_following_goes_on_after_what_nobody_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "FOLLOW_SECONDS", 0.01)
    follow, calls = sessions.Watcher.follow, 0

    async def fails_twice(self: sessions.Watcher) -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise KeyError("of a cluster that lost a slot")
        await follow(self)

    monkeypatch.setattr(sessions.Watcher, "follow", fails_twice)
    watcher, session_id = sessions.Watcher(), secrets.token_urlsafe(12)
    try:
        await redis().xadd(ENDED_SESSIONS, {"session": session_id})
        await eventually(lambda: asyncio.sleep(0, sessions.has_ended(session_id)))
    finally:
        await watcher.stop()
