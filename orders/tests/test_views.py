"""The pages about the viewer: signing in and out, buying with HTMX and with a plain form, receipts."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from html import escape, unescape
from typing import Any

import httpx
import pytest
from django.http import HttpResponse

from conftest import Publish, cookie_of, eventually, settings_of, shopper
from flashdrop.batching import Batcher
from flashdrop.envelope import to_ms
from flashdrop.mongo_client import collection
from flashdrop.redis_client import redis
from orders.answers import ANSWERS
from orders.cancelling import cancel
from orders.identity import COOKIE, Shopper, sign_in_guest
from orders.notices import Notice, remember
from orders.order import context_of
from orders.placing import Refusal
from orders.receipts import receipt_path, receipt_token
from orders.recovery import finish_pending
from sales import publishing, stock
from sales.gate import Wish
from sales.published import PublishedSale

HTMX = {"HX-Request": "true"}
AS_SHOWN = {"quantity": "1", "price": "12900", "currency": "EUR"}
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)
HOSTILE = """<script>alert(1)</script><img src=x onerror='y'>" onfocus="z & co"""


def state(answer: httpx.Response) -> str:
    """The state of the one panel in the answer."""
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    panels = re.findall(r'<section id="me"[^>]*data-state="([a-z_]+)"', answer.text)
    assert len(panels) == 1, answer.text
    return str(panels[0])


def is_partial(answer: httpx.Response) -> bool:
    return answer.text.lstrip().startswith("<section") and "<html" not in answer.text


def notice(answer: httpx.Response) -> str:
    found = re.search(r'class="notice"[^>]*>(.*?)<', answer.text)
    return unescape(found[1]) if found else ""


def is_private(answer: httpx.Response) -> bool:
    return "no-store" in answer.headers["Cache-Control"] and "public" not in answer.headers["Cache-Control"]


async def panel(client: httpx.AsyncClient, sale: PublishedSale, who: Shopper | None = None) -> httpx.Response:
    """The viewer's panel, as HTMX asks for it."""
    return await client.get(f"/sales/{sale.sku}/me", headers=HTMX | (cookie_of(who) if who else {}))


async def buy(
    client: httpx.AsyncClient, sku: str, who: Shopper | None, *, plain: bool = False, **fields: Any
) -> httpx.Response:
    headers = ({} if plain else HTMX) | (cookie_of(who) if who else {})
    return await client.post(f"/sales/{sku}/orders", data=AS_SHOWN | fields, headers=headers)


async def follow(client: httpx.AsyncClient, answer: httpx.Response, who: Shopper | None) -> httpx.Response:
    """The page that a plain form's answer leads to."""
    assert answer.status_code == 303, answer.text
    assert answer.headers["Location"].startswith("/")
    assert "?" not in answer.headers["Location"]
    page = await client.get(answer.headers["Location"], headers=browser_of(answer, who))
    assert not is_partial(page)
    return page


def browser_of(answer: httpx.Response, who: Shopper | None) -> dict[str, str]:
    """What a browser sends after such an answer."""
    set_now = [f"{name}={value}" for name, value in answer.cookies.items() if value]
    cookies = [*(cookie_of(who).values() if who else ()), *set_now]
    return {"Cookie": "; ".join(cookies)} if cookies else {}


async def issued(sale: PublishedSale) -> int:
    return (await stock.levels(redis(), [sale.id]))[1][0].issued


# The viewer's panel


async def test_the_panel_of_somebody_who_is_not_signed_in_asks_who_it_is(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale = await publish()
    answer = await panel(client, sale)
    assert (answer.status_code, state(answer), is_partial(answer)) == (200, "signed_out", True)
    assert 'action="/session?lang=en"' in answer.text
    assert 'name="identifier"' in answer.text
    assert 'name="guest"' not in answer.text
    assert is_private(answer)


async def test_htmx_restoring_its_history_gets_the_whole_page(client: httpx.AsyncClient, publish: Publish) -> None:
    """It says `HX-Request` then, too; a panel in place of a page would be all that the browser shows."""
    sale, who = await publish(), shopper()
    restoring = HTMX | {"HX-History-Restore-Request": "true"}
    for headers in (restoring, restoring | cookie_of(who)):
        answer = await client.get(f"/sales/{sale.sku}/me", headers=headers)
        assert not is_partial(answer)
        assert 'id="me"' in answer.text
        assert "HX-History-Restore-Request" in answer.headers["Vary"]


async def test_guests_are_offered_where_they_are_admitted(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(guests_allowed=True)
    assert 'name="guest"' in (await panel(client, sale)).text


async def test_the_panel_of_somebody_signed_in_offers_to_buy(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(), shopper()
    answer = await panel(client, sale, who)
    assert (answer.status_code, state(answer), is_partial(answer)) == (200, "ready", True)
    assert who.name in answer.text
    assert f'action="/sales/{sale.sku}/orders?lang=en"' in answer.text
    assert {"HX-Request", "Cookie"} <= set(answer.headers["Vary"].split(", "))
    assert is_private(answer)


async def test_the_panel_of_somebody_who_has_bought_shows_the_order(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, who = await publish(), shopper()
    await buy(client, sale.sku, who)
    answer = await panel(client, sale, who)
    assert state(answer) == "order"
    assert "€129.00" in answer.text
    assert 'href="/orders/' in answer.text
    assert f'action="/sales/{sale.sku}/orders?lang=en"' not in answer.text


async def test_more_is_offered_below_the_limit(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(limit_per_shopper=2), shopper()
    await buy(client, sale.sku, who)
    assert f'action="/sales/{sale.sku}/orders?lang=en"' in (await panel(client, sale, who)).text
    await buy(client, sale.sku, who)
    assert f'action="/sales/{sale.sku}/orders?lang=en"' not in (await panel(client, sale, who)).text


async def test_another_browser_under_the_same_name_learns_only_that_it_was_used(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, name = await publish(), f"twin-{secrets.token_hex(4)}"
    mine, theirs = shopper(name), shopper(name)
    bought = await buy(client, sale.sku, mine)
    (link,) = re.findall(r'href="(/orders/[^"]+/)"', bought.text)
    order_id = link.split("/")[2].split(".")[0]
    for answer in (await panel(client, sale, theirs), await buy(client, sale.sku, theirs)):
        assert state(answer) == "taken"
        assert order_id not in answer.text
        assert "/orders/" not in answer.text.replace(f"/sales/{sale.sku}/orders", "")
    listing = await client.get("/orders/", headers=cookie_of(theirs))
    assert order_id not in listing.text


async def test_without_htmx_the_panel_is_a_page(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(), shopper()
    answer = await client.get(f"/sales/{sale.sku}/me", headers=cookie_of(who))
    assert (answer.status_code, state(answer), is_partial(answer)) == (200, "ready", False)
    assert 'id="banner"' in answer.text
    assert is_private(answer)


# Buying


async def test_buying_with_htmx_answers_with_the_order(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(limit_per_shopper=3), shopper()
    answer = await buy(client, sale.sku, who, quantity="2")
    assert (answer.status_code, state(answer), is_partial(answer)) == (201, "order", True)
    assert "1, 2" in answer.text
    assert is_private(answer)
    assert await issued(sale) == 2


async def test_buying_with_a_plain_form_leads_to_the_order(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(), shopper()
    answer = await buy(client, sale.sku, who, plain=True)
    assert answer.headers["Location"] == f"/sales/{sale.sku}/me"
    assert state(await follow(client, answer, who)) == "order"


async def test_the_same_attempt_is_the_same_order(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(limit_per_shopper=5), shopper()
    answers = await asyncio.gather(*(buy(client, sale.sku, who, attempt="a1") for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert {state(answer) for answer in answers} == {"order"}
    assert await issued(sale) == 1
    assert (await buy(client, sale.sku, who, attempt="a2")).status_code == 201
    assert await issued(sale) == 2


async def test_an_attempt_of_one_browser_is_not_known_in_another(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, name = await publish(limit_per_shopper=2), f"twin-{secrets.token_hex(4)}"
    assert (await buy(client, sale.sku, shopper(name), attempt="a1")).status_code == 201
    assert (await buy(client, sale.sku, shopper(name), attempt="a1")).status_code == 201
    assert await issued(sale) == 2


async def sold_out(client: httpx.AsyncClient, publish: Publish) -> PublishedSale:
    sale = await publish(stock=1)
    assert (await buy(client, sale.sku, shopper())).status_code == 201
    return sale


async def fenced(client: httpx.AsyncClient, publish: Publish) -> PublishedSale:
    sale = await publish()
    assert await stock.fence(redis(), sale.id, sale.epoch)
    return sale


def with_settings(**changes: Any) -> Any:
    async def make(client: httpx.AsyncClient, publish: Publish) -> PublishedSale:
        return await publish(**changes)

    return make


REFUSED = {
    Refusal.NOT_STARTED: with_settings(opens_at=NOW + 30 * MINUTE, closes_at=NOW + 40 * MINUTE),
    Refusal.ENDED: with_settings(opens_at=NOW - 40 * MINUTE, closes_at=NOW - MINUTE),
    Refusal.PAUSED: with_settings(paused=True),
    Refusal.OUT_OF_STOCK: sold_out,
    Refusal.NOT_READY: fenced,
}


@pytest.mark.parametrize("refusal", REFUSED)
async def test_a_refusal_is_told_in_the_panel(client: httpx.AsyncClient, publish: Publish, refusal: Refusal) -> None:
    sale, who = await REFUSED[refusal](client, publish), shopper()
    answer = await buy(client, sale.sku, who)
    assert answer.status_code == ANSWERS[refusal].status
    assert (state(answer), is_partial(answer), notice(answer)) == ("ready", True, ANSWERS[refusal].message)


@pytest.mark.parametrize("refusal", REFUSED)
async def test_a_refusal_is_repeated_on_the_page_that_a_plain_form_leads_to(
    client: httpx.AsyncClient, publish: Publish, refusal: Refusal
) -> None:
    sale, who = await REFUSED[refusal](client, publish), shopper()
    page = await follow(client, await buy(client, sale.sku, who, plain=True), who)
    assert (state(page), notice(page)) == ("ready", ANSWERS[refusal].message)


@pytest.mark.parametrize("plain", [False, True])
async def test_whoever_has_an_order_and_is_refused_another_is_told_both(
    client: httpx.AsyncClient, publish: Publish, plain: bool
) -> None:
    """An old order must not pass for the answer to a new try."""
    sale, who = await publish(stock=1, limit_per_shopper=2), shopper()
    assert (await buy(client, sale.sku, who)).status_code == 201
    answer = await buy(client, sale.sku, who, plain=plain)
    if plain:
        answer = await follow(client, answer, who)
    assert ANSWERS[Refusal.OUT_OF_STOCK].message in unescape(answer.text)


@pytest.mark.parametrize("plain", [False, True])
async def test_whoever_asks_for_more_than_what_is_left_of_the_limit_is_told_so(
    client: httpx.AsyncClient, publish: Publish, plain: bool
) -> None:
    sale, who = await publish(limit_per_shopper=3), shopper()
    assert (await buy(client, sale.sku, who, quantity="2")).status_code == 201
    answer = await buy(client, sale.sku, who, plain=plain, quantity="2")
    if plain:
        answer = await follow(client, answer, who)
    else:
        assert answer.status_code == 403
    assert state(answer) in ("order", "ready")
    assert notice(answer)
    assert await issued(sale) == 2


@pytest.mark.parametrize("plain", [False, True])
async def test_whoever_asks_for_more_than_the_limit_at_once_is_told_so(
    client: httpx.AsyncClient, publish: Publish, plain: bool
) -> None:
    sale, who = await publish(), shopper()
    answer = await buy(client, sale.sku, who, plain=plain, quantity="2")
    if plain:
        answer = await follow(client, answer, who)
    else:
        assert answer.status_code == 403
    assert state(answer) == "ready"
    assert notice(answer)
    assert await issued(sale) == 0


@pytest.mark.parametrize("plain", [False, True])
async def test_whoever_has_bought_and_clicks_again_is_shown_the_order(
    client: httpx.AsyncClient, publish: Publish, plain: bool
) -> None:
    sale, who = await publish(), shopper()
    await buy(client, sale.sku, who)
    answer = await buy(client, sale.sku, who, plain=plain)
    if plain:
        answer = await follow(client, answer, who)
    else:
        assert answer.status_code == 403
    assert state(answer) == "order"


async def test_buying_without_a_name_asks_for_one(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    answer = await buy(client, sale.sku, None)
    assert (answer.status_code, state(answer), is_partial(answer)) == (401, "signed_out", True)
    assert "sign in" in notice(answer)
    page = await follow(client, await buy(client, sale.sku, None, plain=True), None)
    assert state(page) == "signed_out"
    assert "sign in" in notice(page)


@pytest.mark.parametrize("plain", [False, True])
async def test_a_guest_who_is_not_admitted_is_asked_for_a_name(
    client: httpx.AsyncClient, publish: Publish, plain: bool
) -> None:
    sale, guest = await publish(), sign_in_guest()
    answer = await buy(client, sale.sku, guest, plain=plain)
    if plain:
        answer = await follow(client, answer, guest)
    else:
        assert answer.status_code == 401
    assert state(answer) == "signed_out"
    assert notice(answer) == ANSWERS[Refusal.NAME_NEEDED].message


@pytest.mark.parametrize("quantity", ["0", "-1", "101", "1.5", "x", "", "²", "\u0661", "1" * 500, "\0", "1 "])
async def test_a_quantity_that_is_no_number_in_range_is_refused(
    client: httpx.AsyncClient, publish: Publish, quantity: str
) -> None:
    sale, who = await publish(limit_per_shopper=100, stock=200), shopper()
    answer = await buy(client, sale.sku, who, quantity=quantity)
    assert (answer.status_code, state(answer), is_partial(answer)) == (400, "ready", True)
    assert notice(answer)
    assert await issued(sale) == 0


async def test_a_wrong_quantity_is_told_on_the_page_that_a_plain_form_leads_to(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, who = await publish(), shopper()
    page = await follow(client, await buy(client, sale.sku, who, plain=True, quantity="0"), who)
    assert (state(page), bool(notice(page))) == ("ready", True)


async def test_a_key_reused_for_another_quantity_is_refused(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(limit_per_shopper=3), shopper()
    await buy(client, sale.sku, who, attempt="a")
    answer = await buy(client, sale.sku, who, attempt="a", quantity="2")
    assert answer.status_code == 422
    assert ANSWERS[Refusal.KEY_REUSED].message in unescape(answer.text)


async def test_a_full_queue_is_told_in_the_panel(
    client: httpx.AsyncClient, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.reserving.Batcher", partial(Batcher, max_queue=1, max_in_flight=1))
    sale = await publish(stock=100)
    answers = await asyncio.gather(*(buy(client, sale.sku, shopper()) for _ in range(30)))
    full = [answer for answer in answers if answer.status_code == 503]
    assert full
    assert {(state(answer), notice(answer)) for answer in full} == {("ready", ANSWERS[Refusal.OVERLOADED].message)}
    assert {answer.headers["Retry-After"] for answer in full} == {"1"}


async def test_buying_what_is_not_on_show_is_not_found(client: httpx.AsyncClient, publish: Publish) -> None:
    settings = settings_of()
    await publish(settings)
    await publish(settings, published=False)
    for sku in (settings.sku, "nothing"):
        assert (await buy(client, sku, shopper())).status_code == 404


# The price that was shown


async def repriced(publish: Publish, **changes: Any) -> PublishedSale:
    """A sale whose price has just gone from 129 to 1999."""
    settings = settings_of(**changes)
    await publish(settings)
    return await publish(settings, price_minor=199900)


def prices(answer: httpx.Response) -> list[str]:
    """What the form says that it shows."""
    return re.findall(r'name="(?:price|currency)" value="([^"]*)"', answer.text)


@pytest.mark.parametrize("plain", [False, True])
async def test_at_another_price_than_the_form_showed_both_are_told_and_asked_again(
    client: httpx.AsyncClient, publish: Publish, plain: bool
) -> None:
    sale, who = await repriced(publish), shopper()
    answer = await buy(client, sale.sku, who, plain=plain)
    if plain:
        answer = await follow(client, answer, who)
    else:
        assert answer.status_code == 409
        assert 'data-code="PRICE_CHANGED"' in answer.text
    assert state(answer) == "ready"
    assert "€129.00" in notice(answer) and "€1,999.00" in notice(answer)
    assert await issued(sale) == 0
    assert prices(answer) == ["199900", "EUR"]
    assert "€1,999.00" in answer.text[answer.text.index('id="buy"') :]
    price, currency = prices(answer)
    again = await buy(client, sale.sku, who, plain=plain, price=price, currency=currency)
    page = await follow(client, again, who) if plain else again
    assert state(page) == "order"
    assert "€1,999.00" in page.text


@pytest.mark.parametrize(
    "shown",
    [
        {"price": None, "currency": None},
        {"price": ""},
        {"price": "-12900"},
        {"price": "\u0661\u0662"},
        {"price": "1" * 400},
        {"price": "12900.0"},
        {"currency": ""},
        {"currency": "eur"},
        {"currency": "<b>"},
    ],
)
async def test_a_form_that_says_no_price_is_asked_again_and_charged_nothing(
    client: httpx.AsyncClient, publish: Publish, shown: dict[str, str | None]
) -> None:
    sale, who = await publish(), shopper()
    data = {name: value for name, value in (AS_SHOWN | shown).items() if value is not None}
    answer = await client.post(f"/sales/{sale.sku}/orders", data=data, headers=HTMX | cookie_of(who))
    assert (answer.status_code, state(answer)) == (409, "ready")
    assert notice(answer) == "The price is €129.00. Press the button again to buy at it."
    assert prices(answer) == ["12900", "EUR"]
    assert await issued(sale) == 0


async def test_a_try_that_stands_is_found_whatever_the_price_is_by_then(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    settings, who = settings_of(), shopper()
    sale = await publish(settings)
    assert (await buy(client, sale.sku, who, attempt="a")).status_code == 201
    await publish(settings, price_minor=199900)
    again = await buy(client, sale.sku, who, attempt="a")
    assert (again.status_code, state(again)) == (200, "order")
    assert "€129.00" in again.text
    without = {"attempt": "a", "price": "", "currency": ""}
    assert (await buy(client, sale.sku, who, **without)).status_code == 200


async def test_a_price_that_changed_is_told_beside_what_is_held(client: httpx.AsyncClient, publish: Publish) -> None:
    settings, who = settings_of(limit_per_shopper=3), shopper()
    sale = await publish(settings)
    assert (await buy(client, sale.sku, who)).status_code == 201
    await publish(settings, price_minor=199900)
    answer = await buy(client, sale.sku, who, quantity="2")
    assert (answer.status_code, state(answer)) == (409, "order")
    assert "€1,999.00" in notice(answer)
    assert offered(answer) == {1: "€1,999.00", 2: "€3,998.00"}
    assert chosen(answer) == 2


async def test_the_panel_is_no_older_than_what_the_page_has_heard_of(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    settings, who = settings_of(), shopper()
    sale = await publish(settings)
    newer = (await publishing.publish(replace(settings, price_minor=199900))).sale
    answer = await client.get(f"/sales/{sale.sku}/me?seen={newer.version}", headers=HTMX | cookie_of(who))
    assert prices(answer) == ["199900", "EUR"]
    for made_up in ("x", "-1", "9" * 400, "\u0661"):
        address = f"/sales/{sale.sku}/me?seen={made_up}"
        assert (await client.get(address, headers=HTMX | cookie_of(who))).status_code == 200


# How many, and what they cost


def offered(answer: httpx.Response) -> dict[int, str]:
    """What can be chosen, and its total as the choice itself says it."""
    found = re.findall(
        r'<option value="(\d+)"(?: selected)? data-total="([^"]+)"([^>]*)>(\d+) · ([^<]+)<', select_of(answer)
    )
    assert all(value == number and total == text for value, total, _, number, text in found)
    return {int(value): total for value, total, out, _, _ in found if "disabled" not in out}


def chosen(answer: httpx.Response) -> int:
    found = re.findall(r'<option value="(\d+)" selected', select_of(answer))
    return int(found[0]) if found else 1


def select_of(answer: httpx.Response) -> str:
    found = re.search(r"<select.*?</select>", answer.text, re.DOTALL)
    return unescape(found[0]) if found else ""


async def shown_as_left(client: httpx.AsyncClient, sale: PublishedSale, left: int) -> None:
    async def is_shown() -> bool:
        stock_now = (await client.get(f"/api/products/{sale.sku}/stock")).json()["data"]
        return bool(stock_now["availableStock"] == left)

    await eventually(is_shown)


async def test_each_choice_says_what_it_costs(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(limit_per_shopper=3, price_minor=99900), shopper()
    answer = await panel(client, sale, who)
    assert offered(answer) == {1: "€999.00", 2: "€1,998.00", 3: "€2,997.00"}
    german = await client.get(f"/sales/{sale.sku}/me?lang=de", headers=HTMX | cookie_of(who))
    assert offered(german)[3] == "2.997,00\N{NO-BREAK SPACE}€"


@pytest.mark.parametrize(("left", "words"), [(1, "Only 1 is left. Choose 1."), (2, "Only 2 are left. Choose 1 or 2.")])
@pytest.mark.parametrize("plain", [False, True])
async def test_fewer_left_than_asked_for_says_how_many_and_offers_them(
    client: httpx.AsyncClient, publish: Publish, plain: bool, left: int, words: str
) -> None:
    sale, who = await publish(limit_per_shopper=5, stock=left + 1), shopper()
    assert (await buy(client, sale.sku, shopper())).status_code == 201
    answer = await buy(client, sale.sku, who, plain=plain, quantity="5")
    if plain:
        answer = await follow(client, answer, who)
    else:
        assert answer.status_code == 409
    assert (state(answer), notice(answer)) == ("ready", words)
    assert list(offered(answer)) == list(range(1, left + 1))
    assert chosen(answer) == left
    assert (await buy(client, sale.sku, who, quantity=str(left))).status_code == 201


async def test_no_more_is_offered_than_is_left(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(limit_per_shopper=5, stock=4), shopper()
    assert list(offered(await panel(client, sale, who))) == [1, 2, 3, 4]
    await buy(client, sale.sku, shopper(), quantity="2")
    await shown_as_left(client, sale, 2)
    assert list(offered(await panel(client, sale, who))) == [1, 2]
    bought = await buy(client, sale.sku, who, quantity="1")
    assert bought.status_code == 201
    await shown_as_left(client, sale, 1)
    assert list(offered(await panel(client, sale, who))) == [1]


@pytest.mark.parametrize("plain", [False, True])
async def test_more_than_is_still_allowed_says_how_many_are(
    client: httpx.AsyncClient, publish: Publish, plain: bool
) -> None:
    sale, who = await publish(limit_per_shopper=3), shopper()
    await buy(client, sale.sku, who, quantity="2")
    answer = await buy(client, sale.sku, who, plain=plain, quantity="3")
    if plain:
        answer = await follow(client, answer, who)
    assert (state(answer), notice(answer)) == ("order", "You may buy 1 more here.")
    assert list(offered(answer)) == [1]
    stranger = await buy(client, sale.sku, shopper(), quantity="4")
    assert (state(stranger), notice(stranger)) == ("ready", "One shopper may buy up to 3 here.")
    assert chosen(stranger) == 3


# Several orders in one sale


def totals(answer: httpx.Response) -> list[str]:
    """The sum, and what each of several orders cost."""
    total = re.findall(r"<dt>Total</dt>\s*<dd>([^<]+)</dd>", answer.text)
    parts = re.search(r'<ul class="parts">.*?</ul>', answer.text, re.DOTALL)
    return [*total, *re.findall(r"</bdi>(?:</s>)? · ([^<]+)</p>", parts[0] if parts else "")]


def held_units(answer: httpx.Response) -> str:
    (found,) = re.findall(r'class="ticket-units"><small>No.</small> <bdi>([^<]+)</bdi>', answer.text)
    return str(found)


async def test_a_second_purchase_is_shown_beside_the_first(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(limit_per_shopper=5), shopper()
    await buy(client, sale.sku, who, quantity="3")
    second = await buy(client, sale.sku, who, quantity="2")
    assert second.status_code == 201
    refused = await buy(client, sale.sku, who)
    assert refused.status_code == 403
    for answer in (second, await panel(client, sale, who), refused):
        assert (state(answer), held_units(answer)) == ("order", "1, 2, 3, 4, 5")
        assert totals(answer) == ["€645.00", "€258.00", "€387.00"]
        links = re.findall(r'href="(/orders/[^"]+/)"', answer.text)
        assert len(set(links)) == 2
        for link in links:
            assert (await client.get(link)).status_code == 200
    listed = await client.get("/orders/", headers=cookie_of(who))
    assert "1, 2, 3" in listed.text and "4, 5" in listed.text


async def test_orders_at_two_prices_are_added_up_and_in_two_currencies_are_not(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    settings, who = settings_of(limit_per_shopper=5), shopper()
    sale = await publish(settings)
    await buy(client, sale.sku, who)
    await publish(settings, price_minor=10000)
    assert totals(await buy(client, sale.sku, who, price="10000"))[0] == "€229.00"
    await publish(settings, price_minor=500, currency="JPY")
    answer = await buy(client, sale.sku, who, price="500", currency="JPY")
    assert totals(answer)[0] == "€229.00 + JP¥500"


async def test_an_order_given_up_since_is_told_beside_the_one_that_stands(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, who = await publish(limit_per_shopper=5), shopper()
    first = await buy(client, sale.sku, who, quantity="2")
    order_id = re.findall(r'href="/orders/([0-9a-f]+)\.', first.text)[0]
    await buy(client, sale.sku, who)
    await cancel(order_id, "tests", "for a test")
    answer = await panel(client, sale, who)
    assert (state(answer), held_units(answer)) == ("order", "3")
    assert totals(answer) == ["€129.00", "€129.00", "€258.00"]
    assert "<s><bdi>1, 2</bdi></s>" in answer.text
    again = await buy(client, sale.sku, who)
    assert (state(again), held_units(again)) == ("order", "3, 1")
    assert "<s>" not in again.text, "what was given up before is no news beside a newer order"


async def test_one_of_two_orders_still_pending_is_told_and_followed(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, who = await publish(limit_per_shopper=5), shopper()
    await buy(client, sale.sku, who, quantity="2")
    context = context_of(sale.sku, who.name, who.session_id, None)
    wish = Wish(secrets.token_hex(12), who.id, 1, False, context)
    await stock.reserve(redis(), sale.id, sale.epoch, [wish])
    answer = await panel(client, sale, who)
    assert (state(answer), held_units(answer)) == ("pending", "1, 2, 3")
    assert 'hx-trigger="every 1s"' in answer.text
    assert totals(answer) == ["€387.00", "€129.00", "€258.00"]
    await finish_pending(sale, before=datetime.now(UTC) + MINUTE)
    settled = await panel(client, sale, who)
    assert (state(settled), held_units(settled)) == ("order", "1, 2, 3")


# What is told once


async def test_what_came_of_a_try_is_told_once_and_to_nobody_else(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(paused=True), shopper()
    answer = await buy(client, sale.sku, who, plain=True)
    address, browser = answer.headers["Location"], browser_of(answer, who)
    assert "?" not in address
    first = await client.get(address, headers=browser)
    assert notice(first) == ANSWERS[Refusal.PAUSED].message
    gone = first.headers["Set-Cookie"]
    assert "flashdrop_notice=" in gone and "Max-Age=0" in gone and f"Path={address}" in gone
    for later in (cookie_of(who), cookie_of(shopper()), {}):
        assert notice(await client.get(address, headers=later)) == ""


async def test_a_part_of_the_page_does_not_take_what_the_page_is_to_tell(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, who = await publish(paused=True), shopper()
    answer = await buy(client, sale.sku, who, plain=True)
    browser = browser_of(answer, who)
    meanwhile = await client.get(answer.headers["Location"], headers=browser | HTMX)
    assert (notice(meanwhile), "Set-Cookie" in meanwhile.headers) == ("", False)
    assert notice(await client.get(answer.headers["Location"], headers=browser))


async def test_what_holds_no_longer_is_not_told(client: httpx.AsyncClient, publish: Publish) -> None:
    settings, who = settings_of(stock=1, limit_per_shopper=2), shopper()
    sale = await publish(settings, paused=True)
    answer = await buy(client, sale.sku, who, plain=True)
    await publish(settings)
    page = await client.get(answer.headers["Location"], headers=browser_of(answer, who))
    assert (state(page), notice(page)) == ("ready", "")
    assert "Set-Cookie" in page.headers
    first = await buy(client, sale.sku, shopper())
    assert first.status_code == 201
    answer = await buy(client, sale.sku, who, plain=True)
    await publish(settings, stock=5)
    page = await client.get(answer.headers["Location"], headers=browser_of(answer, who))
    assert notice(page) == "", "out of stock, beside four that are left"


async def test_a_lost_answer_is_not_told_beside_the_order_that_came_of_it(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, who = await publish(), shopper()
    notice_of_it = Notice(Refusal.NOT_READY.value, at_ms=to_ms(datetime.now(UTC)))
    response = HttpResponse()
    remember(response, sale.sku, f"/sales/{sale.sku}/me", notice_of_it, False)
    told = {"Cookie": f"{cookie_of(who)['Cookie']}; flashdrop_notice={response.cookies['flashdrop_notice'].value}"}
    address = f"/sales/{sale.sku}/me"
    assert notice(await client.get(address, headers=told)) == ANSWERS[Refusal.NOT_READY].message
    await buy(client, sale.sku, who)
    page = await client.get(address, headers=told)
    assert (state(page), notice(page)) == ("order", "")


async def test_what_another_version_has_left_to_be_told_is_not_told(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, who = await publish(), shopper()
    response = HttpResponse()
    remember(response, sale.sku, f"/sales/{sale.sku}/me", Notice("WAITING_ROOM"), False)
    told = {"Cookie": f"{cookie_of(who)['Cookie']}; flashdrop_notice={response.cookies['flashdrop_notice'].value}"}
    page = await client.get(f"/sales/{sale.sku}/me", headers=told)
    assert (page.status_code, state(page), notice(page)) == (200, "ready", "")


async def test_a_success_takes_away_what_was_left_to_be_told(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(), shopper()
    answer = await buy(client, sale.sku, who, plain=True)
    assert "flashdrop_notice=" in answer.headers["Set-Cookie"] and "Max-Age=0" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("made_up", ["nonsense", "W10=", "", "x:y", "\u20ac", "a" * 3000])
async def test_a_notice_that_we_did_not_leave_is_not_told(
    client: httpx.AsyncClient, publish: Publish, made_up: str
) -> None:
    sale, who = await publish(paused=True), shopper()
    other = await publish(paused=True)
    copied = await buy(client, other.sku, who, plain=True)
    for value in (made_up, copied.cookies["flashdrop_notice"]):
        cookies = f"{cookie_of(who)['Cookie']}; flashdrop_notice={value}"
        page = await client.get(f"/sales/{sale.sku}/me", headers={"Cookie": cookies.encode()})
        assert (page.status_code, notice(page)) == (200, "")


@pytest.mark.parametrize("parameter", ["answer", "notice", "code", "told"])
async def test_an_address_tells_nothing(client: httpx.AsyncClient, publish: Publish, parameter: str) -> None:
    sale = await publish()
    for refusal in Refusal:
        for who in (None, shopper()):
            page = await client.get(
                f"/sales/{sale.sku}/me?{parameter}={refusal.value}", headers=cookie_of(who) if who else {}
            )
            assert (page.status_code, notice(page)) == (200, "")


# Signing in and out


async def test_signing_in_with_htmx_answers_with_the_panel_and_the_cookie(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale = await publish()
    answer = await client.post("/session", data={"identifier": " Alice ", "sku": sale.sku}, headers=HTMX)
    assert (answer.status_code, state(answer), is_partial(answer)) == (200, "ready", True)
    assert '<strong dir="auto">Alice</strong>' in answer.text
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert is_private(answer)
    assert state(await panel(client, sale)) == "ready"


async def test_signing_in_with_a_plain_form_leads_back_to_the_sale(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    answer = await client.post("/session", data={"identifier": "Alice", "sku": sale.sku})
    assert answer.headers["Location"] == f"/sales/{sale.sku}/me"
    assert COOKIE in answer.cookies
    assert state(await follow(client, answer, None)) == "ready"


@pytest.mark.parametrize("sku", ["", "nothing", "//evil.example/", "https://evil.example"])
async def test_signing_in_elsewhere_leads_to_my_orders_and_nowhere_else(client: httpx.AsyncClient, sku: str) -> None:
    answer = await client.post("/session", data={"identifier": "Alice", "sku": sku})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/orders/")
    assert COOKIE in answer.cookies


@pytest.mark.parametrize("name", ["", "   ", "x" * 256, "a\0b", "a\x1bb"])
async def test_a_name_that_is_none_is_told_and_signs_nobody_in(
    client: httpx.AsyncClient, publish: Publish, name: str
) -> None:
    sale = await publish()
    answer = await client.post("/session", data={"identifier": name, "sku": sale.sku}, headers=HTMX)
    assert (answer.status_code, state(answer)) == (400, "signed_out")
    assert notice(answer)
    page = await follow(client, await client.post("/session", data={"identifier": name, "sku": sale.sku}), None)
    assert (state(page), bool(notice(page))) == ("signed_out", True)
    assert (await client.post("/session", data={"identifier": name})).status_code == 400
    assert COOKIE not in client.cookies


async def test_guests_sign_in_and_buy_where_they_are_admitted(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(guests_allowed=True)
    answer = await client.post("/session", data={"guest": "1", "sku": sale.sku}, headers=HTMX)
    assert state(answer) == "ready"
    assert "Guest" in answer.text
    assert state(await buy(client, sale.sku, None)) == "order"


async def test_signing_out_forgets_the_cookie(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    await client.post("/session", data={"identifier": "Alice"})
    answer = await client.post("/session/end", data={"sku": sale.sku}, headers=HTMX)
    assert (answer.status_code, state(answer), is_partial(answer)) == (200, "signed_out", True)
    assert COOKIE not in client.cookies
    assert state(await panel(client, sale)) == "signed_out"


async def test_signing_out_with_a_plain_form_leads_back(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    for fields, location in (({"sku": sale.sku}, f"/sales/{sale.sku}/me"), ({}, "/orders/")):
        await client.post("/session", data={"identifier": "Alice"})
        answer = await client.post("/session/end", data=fields)
        assert (answer.status_code, answer.headers["Location"]) == (303, location)
        assert COOKIE not in client.cookies


# Receipts and my orders


async def receipt_of(client: httpx.AsyncClient, sale: PublishedSale, who: Shopper) -> str:
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(who))
    return str(answer.json()["data"]["receiptUrl"])


async def test_a_receipt_is_shown_to_whoever_holds_its_link(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, who = await publish(name="Brass lamp"), shopper()
    answer = await client.get(await receipt_of(client, sale, who))  # nobody is signed in
    assert answer.status_code == 200
    for essential in ("Receipt", "Brass lamp", sale.sku, "€129.00", who.name):
        assert essential in answer.text
    assert 'data-status="completed"' in answer.text
    assert 'content="noindex"' in answer.text
    assert is_private(answer)


async def test_a_receipt_outlives_its_sale(client: httpx.AsyncClient, publish: Publish) -> None:
    settings = settings_of(name="Brass lamp")
    who = shopper()
    link = await receipt_of(client, await publish(settings), who)
    await publish(settings, published=False)
    receipt = await client.get(link)
    assert receipt.status_code == 200
    assert '<p class="receipt-name" dir="auto">Brass lamp</p>' in receipt.text
    mine = await client.get("/orders/", headers=cookie_of(who))
    assert '<h2 dir="auto">Brass lamp</h2>' in mine.text


async def test_a_link_we_did_not_make_is_not_found(client: httpx.AsyncClient, publish: Publish) -> None:
    link = await receipt_of(client, await publish(), shopper())
    token = link.split("/")[2]
    order_id, signature = token.split(".")
    forged = {
        "signature": f"{order_id}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}",
        "none": order_id,
        "empty": f"{order_id}.",
        "short": token[:-1],
        "long": f"{token}A",
        "other order": f"{'0' * 24}.{signature}",
        "case": token.swapcase(),
        "nul": "%00",
        "noise": "a.b.c",
    }
    for name, wrong in forged.items():
        answer = await client.get(f"/orders/{wrong}/")
        assert answer.status_code == 404, name
        assert order_id not in answer.text


async def test_an_order_on_its_way_has_a_receipt_that_says_so(client: httpx.AsyncClient) -> None:
    answer = await client.get(receipt_path(secrets.token_hex(12)))
    assert answer.status_code == 200
    assert 'data-status="pending"' in answer.text


async def test_a_cancelled_orders_receipt_says_so(client: httpx.AsyncClient, publish: Publish) -> None:
    link = await receipt_of(client, await publish(), shopper())
    await collection("orders").update_one(
        {"_id": link.split("/")[2].split(".")[0]},
        {"$set": {"status": "cancelled", "given_up_at": NOW}, "$unset": {"units": 1, "slots": 1}},
    )
    answer = await client.get(link)
    assert 'data-status="cancelled"' in answer.text
    assert "Cancelled" in answer.text


async def test_a_token_of_another_kind_opens_no_receipt(client: httpx.AsyncClient) -> None:
    value = cookie_of(shopper())["Cookie"].split("=", 1)[1]
    assert (await client.get(f"/orders/{value}/")).status_code == 404
    assert (await client.get(f"/orders/{value.replace(':', '.')}/")).status_code == 404
    assert receipt_token("x") != receipt_token("y")


async def test_my_orders_lists_this_browsers_orders(client: httpx.AsyncClient, publish: Publish) -> None:
    who, names = shopper(), ["First lamp", "Second lamp"]
    links = []
    for name in names:
        links.append(await receipt_of(client, await publish(name=name), who))
        await asyncio.sleep(0.005)
    answer = await client.get("/orders/", headers=cookie_of(who))
    assert answer.status_code == 200
    assert who.name in answer.text
    assert answer.text.index(links[1]) < answer.text.index(links[0])
    assert all(name in answer.text for name in names)
    assert is_private(answer)


async def test_my_orders_asks_strangers_to_sign_in(client: httpx.AsyncClient) -> None:
    answer = await client.get("/orders/")
    assert answer.status_code == 200
    assert 'action="/session?lang=en"' in answer.text


async def test_my_orders_says_that_there_are_none(client: httpx.AsyncClient) -> None:
    answer = await client.get("/orders/", headers=cookie_of(shopper()))
    assert "No orders" in answer.text


# What must not get through


@pytest.mark.parametrize("path", ["/session", "/session/end", "/sales/{sku}/orders"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver@evil.example"},
        {"Origin": "http://["},
        {"Referer": "https://evil.example/"},
    ],
)
async def test_a_form_of_another_site_is_refused(
    client: httpx.AsyncClient, publish: Publish, path: str, headers: dict[str, str]
) -> None:
    sale, who = await publish(), shopper()
    fields = {"identifier": "mallory", "sku": sale.sku, "quantity": "1"}
    answer = await client.post(path.format(sku=sale.sku), data=fields, headers=headers | cookie_of(who))
    assert answer.status_code == 403
    assert "another site" in answer.text
    assert "Set-Cookie" not in answer.headers
    assert await issued(sale) == 0


async def test_a_hostile_name_is_text_wherever_it_is_shown(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(limit_per_shopper=2)
    who = shopper(HOSTILE + secrets.token_hex(4))
    twin = shopper(who.name)
    signed_in = await client.post("/session", data={"identifier": who.name, "sku": sale.sku}, headers=HTMX)
    answers = {
        "signed in": signed_in,
        "ready": await panel(client, sale, who),
        "order": await buy(client, sale.sku, who),
        "page": await client.get(f"/sales/{sale.sku}/me", headers=cookie_of(who)),
        "taken": await panel(client, sale, twin),
        "refused": await buy(client, sale.sku, who, quantity="0"),
        "my orders": await client.get("/orders/", headers=cookie_of(who)),
    }
    link = re.search(r'href="(/orders/[^"]+/)"', answers["order"].text)
    assert link
    answers["receipt"] = await client.get(link[1])
    for where, answer in answers.items():
        assert "<script>alert" not in answer.text, where
        assert "<img" not in answer.text, where
        assert '" onfocus' not in answer.text, where
        assert escape(HOSTILE) in answer.text, where


async def test_a_hostile_name_breaks_no_json(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/auth/login", json={"identifier": HOSTILE})
    assert answer.json()["data"]["identifier"] == HOSTILE
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


FORM = "application/x-www-form-urlencoded"
BROKEN = {
    "no boundary": ("multipart/form-data", b"x"),
    "empty multipart": ("multipart/form-data; boundary=b", b""),
    "half multipart": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="sku"\r\n\r\nx',
    ),
    "odd boundary": ("multipart/form-data; boundary=" + "b" * 300, b"--b\r\n"),
    "bad base64": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="sku"\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n--b--\r\n',
    ),
    "odd charset": (f"{FORM}; charset=utf-7", b"sku=x"),
    "unknown charset": (f"{FORM}; charset=nothing", b"sku=x"),
    "many fields": (FORM, b"&".join(b"a%d" % i for i in range(2000))),
    "not utf-8": (FORM, b"identifier=\xff\xfe&sku=%ff%00"),
    "noise": (FORM, bytes(range(256))),
    "nothing": (FORM, b""),
    "another type": ("text/plain", b"sku=x"),
}


@pytest.mark.parametrize("path", ["/session", "/session/end", "/sales/{sku}/orders"])
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_form_is_never_an_error_of_ours(
    client: httpx.AsyncClient, publish: Publish, path: str, name: str
) -> None:
    sale = await publish()
    media, body = BROKEN[name]
    headers = HTMX | {"Content-Type": media} | cookie_of(shopper())
    answer = await client.post(path.format(sku=sale.sku), content=body, headers=headers)
    assert answer.status_code < 500


ODD_QUERIES = {
    "many fields": "&".join(f"a{i}" for i in range(2000)),
    "not utf-8": "answer=%ff%fe",
    "long": "answer=" + "x" * 9000,
    "percent": "%",
}


@pytest.mark.parametrize("query", ODD_QUERIES)
@pytest.mark.parametrize("path", ["/sales/{sku}/me", "/sales/{sku}/", "/orders/", "/"])
async def test_an_odd_query_is_never_an_error_of_ours(
    client: httpx.AsyncClient, publish: Publish, path: str, query: str
) -> None:
    sale = await publish()
    answer = await client.get(f"{path.format(sku=sale.sku)}?{ODD_QUERIES[query]}", headers=cookie_of(shopper()))
    assert answer.status_code < 500


@pytest.mark.parametrize("path", ["/session", "/session/end", "/sales/{sku}/orders"])
async def test_a_form_over_16_kib_is_too_large(client: httpx.AsyncClient, publish: Publish, path: str) -> None:
    sale = await publish()
    answer = await client.post(path.format(sku=sale.sku), data={"identifier": "x" * 17000})
    assert answer.status_code == 413
