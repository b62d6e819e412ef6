"""The rate limiter, counting in a real gate."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from conftest import Publish, cookie_of, shopper
from flashdrop import lean, ratelimit
from flashdrop.config import config
from flashdrop.embedded.process import free_port
from flashdrop.ratelimit import RateLimiter
from orders import identity
from orders.identity import Shopper

TurnOn = Callable[..., None]
# A limiter that can't count must not become what it protects from.
AWAY_SECONDS = 4.0


@pytest.fixture
def turn_on(monkeypatch: pytest.MonkeyPatch) -> TurnOn:
    """Turn the limiter on for one test: `most` requests in `seconds`, behind `proxies`."""

    def work(most: int = 3, seconds: int = 60, proxies: int = 0, redis_url: str = config.redis_url) -> None:
        on = replace(config, rate_limiter_enabled=True, trusted_proxy_count=proxies)
        limiter = RateLimiter(redis_url, most, seconds)
        monkeypatch.setattr(ratelimit, "config", on)
        if proxies:  # which may connect from anywhere here
            monkeypatch.setattr(lean, "believed", lambda headers, peer: headers)
        monkeypatch.setattr(ratelimit, "limiter", lambda: limiter)

    return work


def new_address() -> str:
    """A client nobody has counted yet."""
    return ".".join(["10", *(str(byte) for byte in secrets.token_bytes(3))])


async def ask(
    peer: str,
    path: str = "/api/products",
    method: str = "GET",
    who: Shopper | None = None,
    body: object = None,
    **headers: str,
) -> httpx.Response:
    from flashdrop.asgi import application

    transport = httpx.ASGITransport(app=application, client=(peer, 4711))  # type: ignore[arg-type]
    sent = {name.replace("_", "-"): value for name, value in headers.items()} | (cookie_of(who) if who else {})
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        return await client.request(method, path, headers=sent, json=body)


async def statuses(times: int, peer: str, **request: object) -> list[int]:
    return [(await ask(peer, **request)).status_code for _ in range(times)]  # type: ignore[arg-type]


async def test_the_limiter_is_off_by_default() -> None:
    assert not config.rate_limiter_enabled
    peer = new_address()
    assert set(await statuses(150, peer)) == {200}


async def test_an_address_over_the_limit_is_told_when_to_come_back(turn_on: TurnOn) -> None:
    turn_on(most=3, seconds=60)
    peer = new_address()
    assert await statuses(3, peer) == [200] * 3
    answer = await ask(peer)
    assert answer.status_code == 429
    body = answer.json()
    assert set(body) == {"status", "data", "error", "code", "timestamp"}
    assert (body["status"], body["data"], body["code"]) == ("error", None, "RATE_LIMITED")
    assert 55 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_window_passes(turn_on: TurnOn) -> None:
    turn_on(most=1, seconds=1)
    peer = new_address()
    assert await statuses(2, peer) == [200, 429]
    await asyncio.sleep(int((await ask(peer)).headers["Retry-After"]) + 0.05)
    assert await statuses(1, peer) == [200]


async def test_other_addresses_have_budgets_of_their_own(turn_on: TurnOn) -> None:
    turn_on(most=1)
    assert [await statuses(2, new_address()) for _ in range(3)] == [[200, 429]] * 3


async def test_all_endpoints_share_one_budget(turn_on: TurnOn) -> None:
    turn_on(most=2)
    peer = new_address()
    assert (await ask(peer, "/api/products")).status_code == 200
    assert (await ask(peer, "/api/v1/orders")).status_code == 401
    assert (await ask(peer, "/api/auth/login", "POST")).status_code == 429


async def test_a_refused_purchase_takes_nothing_and_is_a_429(turn_on: TurnOn, publish: Publish) -> None:
    sale = await publish()
    turn_on(most=1)
    peer, who = new_address(), shopper()
    await ask(peer)
    for path in ("/api/orders", f"/sales/{sale.sku}/orders"):
        answer = await ask(peer, path, "POST", who)
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1


async def test_a_person_over_the_limit_gets_a_page(turn_on: TurnOn) -> None:
    turn_on(most=1)
    peer = new_address()
    await ask(peer)
    answer = await ask(peer, "/session", "POST")
    assert (answer.status_code, answer.headers["Content-Type"]) == (429, "text/html; charset=utf-8")
    assert "Too many requests" in answer.text


async def test_a_session_has_one_budget_from_all_addresses(turn_on: TurnOn) -> None:
    turn_on(most=2)
    who = shopper()
    found = [(await ask(new_address(), "/api/orders", who=who)).status_code for _ in range(4)]
    assert found == [200, 200, 429, 429]
    assert (await ask(new_address(), "/api/orders", who=shopper())).status_code == 200


async def test_nobody_uses_up_the_budget_of_whoever_has_the_name(turn_on: TurnOn, publish: Publish) -> None:
    sale, name = await publish(), f"limited-{secrets.token_hex(4)}"
    turn_on(most=3)
    stranger = new_address()
    found = [(await ask(stranger, "/api/orders", who=shopper(name))).status_code for _ in range(20)]
    assert found == [200] * 3 + [429] * 17
    # From wherever they ask, and in whichever browser.
    for _ in range(20):
        await ask(new_address(), "/api/orders", who=shopper(name))
    answer = await ask(new_address(), "/api/orders", "POST", shopper(name), {"sku": sale.sku})
    assert answer.status_code == 201


async def test_whom_a_proxy_vouches_for_has_one_budget(turn_on: TurnOn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "config", replace(identity.config, trust_user_id_header=True))
    turn_on(most=1)
    name = f"vouched-{secrets.token_hex(4)}"
    proxies = [f"127.{'.'.join(str(byte) for byte in secrets.token_bytes(3))}" for _ in range(2)]
    found = [(await ask(proxy, "/api/orders", X_User_Id=name)).status_code for proxy in proxies]
    assert found == [200, 429]


async def test_a_forged_cookie_charges_nobody_else(turn_on: TurnOn) -> None:
    turn_on(most=1)
    who = shopper()
    forged = cookie_of(who)["Cookie"][:-1]
    await ask(new_address(), "/api/orders", Cookie=forged)
    await ask(new_address(), "/api/orders", Cookie=forged)
    assert (await ask(new_address(), "/api/orders", who=who)).status_code == 200


async def test_simultaneous_requests_are_all_counted(turn_on: TurnOn) -> None:
    turn_on(most=5)
    peer = new_address()
    answers = await asyncio.gather(*(ask(peer) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 15


async def test_two_processes_share_one_budget(turn_on: TurnOn) -> None:
    peer = new_address()
    turn_on(most=2)
    assert await statuses(1, peer) == [200]
    turn_on(most=2)  # a limiter of its own, as another process has
    assert await statuses(2, peer) == [200, 429]


# Whose address


async def test_without_proxies_the_header_is_not_believed(turn_on: TurnOn) -> None:
    turn_on(most=1, proxies=0)
    peer = new_address()
    found = [(await ask(peer, X_Forwarded_For=new_address())).status_code for _ in range(2)]
    assert found == [200, 429]


async def test_behind_one_proxy_the_last_entry_counts(turn_on: TurnOn) -> None:
    turn_on(most=1, proxies=1)
    proxy, client = new_address(), new_address()
    # What stands before the proxy's own entry was made up by the client.
    found = [(await ask(proxy, X_Forwarded_For=f"{new_address()}, {client}")).status_code for _ in range(2)]
    assert found == [200, 429]
    assert (await ask(proxy, X_Forwarded_For=new_address())).status_code == 200
    assert (await ask(new_address(), X_Forwarded_For=client)).status_code == 429


async def test_behind_two_proxies_the_last_but_one_counts(turn_on: TurnOn) -> None:
    turn_on(most=1, proxies=2)
    proxy, inner, client = new_address(), new_address(), new_address()
    found = [(await ask(proxy, X_Forwarded_For=f"{new_address()},{client} ,{inner}")).status_code for _ in range(2)]
    assert found == [200, 429]
    assert (await ask(proxy, X_Forwarded_For=f"{client}, {new_address()}, {inner}")).status_code == 200


@pytest.mark.parametrize("forwarded", ["", ",", " , ,", "1.2.3.4"])
async def test_a_header_with_too_few_entries_counts_the_peer(turn_on: TurnOn, forwarded: str) -> None:
    turn_on(most=1, proxies=2)
    peer = new_address()
    found = [(await ask(peer, X_Forwarded_For=forwarded)).status_code for _ in range(2)]
    assert found == [200, 429]


async def test_a_repeated_header_is_read_as_one(turn_on: TurnOn) -> None:
    from flashdrop.asgi import application

    turn_on(most=1, proxies=1)
    client_address, found = new_address(), []
    for _ in range(2):
        transport = httpx.ASGITransport(app=application, client=(new_address(), 1))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            headers = [("X-Forwarded-For", new_address()), ("X-Forwarded-For", client_address)]
            found.append((await client.get("/api/products", headers=headers)).status_code)
    assert found == [200, 429]


# A limiter that can't count


async def test_without_redis_requests_pass(turn_on: TurnOn) -> None:
    turn_on(most=1, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    started = time.monotonic()
    assert await statuses(2, new_address()) == [200, 200]
    assert time.monotonic() - started < 2 * AWAY_SECONDS


async def test_with_a_redis_that_does_not_answer_requests_pass(turn_on: TurnOn) -> None:
    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    turn_on(most=1, redis_url=f"redis://127.0.0.1:{port}/0")
    started = time.monotonic()
    try:
        async with asyncio.timeout(AWAY_SECONDS + 1):
            assert await statuses(1, new_address()) == [200]
    finally:
        silent.close()
    assert time.monotonic() - started < AWAY_SECONDS
