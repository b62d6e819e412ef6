"""The benchmark's judge of real browsers: a page that shows what the ledger does not hold is found, and the reverse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flashdrop.bench import chromium
from flashdrop.bench.chromium import ChromiumMissing, Watch, browsers, is_refusal, phone
from flashdrop.bench.pages import none_row
from flashdrop.bench.verdict import Held, LastPage, untruths

BUYER = LastPage("ada", "sold_out", "order", (1,), may_buy=False)
LATE = LastPage("bob", "sold_out", "ready", (), may_buy=False)
ORDERS = [Held("ada", (1,))]
BUY_URL = "http://127.0.0.1:8000/sales/lamp/orders"


def test_pages_that_show_the_ledger_are_true() -> None:
    assert untruths([BUYER, LATE, replace(LATE, shopper_id="eve", state="given_up")], ORDERS, 1) == []


@pytest.mark.parametrize(
    ("pages", "orders", "stock", "said"),
    [
        # The canary: an order that no page shows, be its owner among the pages or not.
        ([BUYER, LATE], [*ORDERS, Held("bob", (2,))], 2, "shopper bob: the panel says ready, the ledger holds No. 2"),
        ([BUYER, LATE], [*ORDERS, Held("zoe", (2,))], 2, "No. 2 of zoe: on no page"),
        ([BUYER, LATE], [], 0, "shopper ada: the panel shows No. 1, the ledger holds nothing"),
        ([replace(BUYER, units=(2,)), LATE], ORDERS, 1, "shopper ada: the panel shows No. 2, the ledger holds No. 1"),
        ([replace(BUYER, units=()), LATE], ORDERS, 1, "shopper ada: the panel shows nothing, the ledger holds No. 1"),
        ([BUYER], [Held("ada", (1, 2))], 2, "shopper ada: the panel shows No. 1, the ledger holds No. 1, 2"),
        ([BUYER, replace(LATE, state="pending")], ORDERS, 1, "shopper bob: the panel says pending, which is nothing"),
        ([BUYER, replace(LATE, state="taken")], ORDERS, 1, "shopper bob: the panel says taken, which is nothing"),
        ([BUYER, replace(LATE, state=None)], ORDERS, 1, "shopper bob: the panel says None, which is nothing"),
        ([BUYER, replace(LATE, may_buy=True)], ORDERS, 1, "shopper bob: the panel still offers to buy"),
        ([BUYER, replace(LATE, phase="active")], ORDERS, 1, "shopper bob: the banner says active"),
        ([BUYER, LATE], ORDERS, 2, "No. 2: not sold"),
        ([BUYER, LATE], ORDERS, 0, "No. 1: sold, and above the stock"),
        (
            [BUYER, replace(BUYER, shopper_id="bob")],
            [*ORDERS, Held("bob", (1,))],
            1,
            "No. 1 was sold 2 times",
        ),
    ],
)
def test_each_difference_is_found(pages: list[LastPage], orders: list[Held], stock: int, said: str) -> None:
    (found,) = untruths(pages, orders, stock)
    assert found.startswith(said)


def test_only_a_refused_purchase_may_be_in_the_console() -> None:
    said = "Failed to load resource: the server responded with a status of 409 (Conflict)"
    assert is_refusal(said, BUY_URL)
    assert not is_refusal(said.replace("409", "503"), BUY_URL)
    assert not is_refusal(said.replace("409", "404"), BUY_URL.replace("orders", "me"))
    assert not is_refusal("Failed to load resource: net::ERR_CONNECTION_REFUSED", BUY_URL)
    assert not is_refusal("Response Status Error Code 409", BUY_URL)


def test_what_must_not_happen_fails_the_run_when_it_does() -> None:
    assert none_row("errors", []).holds is True
    row = none_row("errors", ["a", "b", "a"], "note")
    assert (row.holds, row.figure, row.notes) == (False, 3.0, ("note", "2 x a", "1 x b"))


@pytest.mark.browser
async def test_a_page_is_watched_for_errors_and_for_other_origins() -> None:
    html = """<script>
      fetch("http://elsewhere.invalid/").catch(() => {});
      console.error("wrong");
      setTimeout(() => { throw new TypeError("worse"); });
    </script><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" alt="">"""
    async with browsers() as (browser,):
        context = await phone(browser, "http://127.0.0.1:1")
        page = await context.new_page()
        watch = Watch(page, "http://127.0.0.1:1")
        await page.route("http://127.0.0.1:1/", lambda route: route.fulfill(body=html, content_type="text/html"))
        await page.goto("/")
        await page.wait_for_load_state("networkidle")
        seen: dict[str, Any] = await page.evaluate("benchLast()")
    assert watch.foreign == ["http://elsewhere.invalid/"]
    assert {"wrong", "TypeError: worse"} <= set(watch.errors)
    assert (seen["phase"], seen["state"], seen["may_buy"]) == (None, None, False)


async def test_without_chromium_the_benchmark_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "NAMES", ("nothing-of-this-name",))
    with pytest.raises(ChromiumMissing, match="make tools"):
        async with browsers():
            pass
