"""What brings a real shop to a state and keeps it there: sales, shoppers, and a page that hears or doesn't."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from conftest import BASE_DIR, client_of, cookie_of, eventually, settings_of, shopper, withdraw_all
from flashdrop.envelope import iso_utc
from flashdrop.languages import COOKIE as LANGUAGE_COOKIE
from flashdrop.redis_client import redis
from orders.cancelling import cancel
from orders.identity import COOKIE, Shopper, cookie_value
from orders.order import context_of
from orders.receipts import receipt_path
from orders.recovery import finish_pending
from orders.tests.browser import visitor
from sales import publishing, stock
from sales.gate import Wish
from sales.keys import sale_keys
from sales.published import PublishedSale, SaleSettings

NAME = "Mara Lindqvist"
PRODUCT = "Kupfer Lamp"
HOUR = timedelta(hours=1)
GATEWAY_PAGES = BASE_DIR / "deploy" / "nginx" / "errors"


class Stage:
    """A shop whose web processes run and whose worker doesn't: what is pending stays so, what is lost stays lost.

    Args:
        url: the shop's address.
        unready_url: the address of a shop that can't reach its stores.
    """

    def __init__(self, chromium: Any, url: str, unready_url: str) -> None:
        self.url, self.unready_url = url, unready_url
        self._chromium = chromium
        self._set_up: dict[str, Any] = {}

    async def sale(self, **changes: Any) -> PublishedSale:
        """A sale that every page of the shop shows."""
        standard = {"sku": f"lamp-{secrets.token_hex(4)}", "name": PRODUCT, "stock": 250, "description": ""}
        sale = (await publishing.publish(settings_of(**{**standard, **changes}))).sale
        async with client_of(self.url) as client:

            async def is_shown() -> bool:
                answer = await client.get(f"/api/products/{sale.sku}/sale-status")
                return answer.status_code == 200 and answer.json()["data"]["phase"] != "not_ready"

            await eventually(is_shown)
        return sale

    async def change(self, sale: PublishedSale, **changes: Any) -> PublishedSale:
        """Publish other settings of a sale that runs, and wait until the shop follows them."""
        settings = {field: getattr(sale, field) for field in SaleSettings.__dataclass_fields__}
        changed = (await publishing.publish(settings_of(**{**settings, **changes}))).sale
        async with client_of(self.url) as client:

            async def is_shown() -> bool:
                data = (await client.get(f"/api/products/{sale.sku}/sale-status")).json()["data"]
                is_in_time = data["endDate"] == iso_utc(changed.closes_at)
                return is_in_time and (data["phase"] == "paused") == changed.paused

            await eventually(is_shown)
        return changed

    async def withdraw_all(self) -> None:
        """Take every sale off this shop."""
        self._set_up.clear()
        await withdraw_all()
        async with client_of(self.url) as client:

            async def is_empty() -> bool:
                return not (await client.get("/api/products")).json()["data"]

            await eventually(is_empty)

    async def buy(self, sale: PublishedSale, who: Shopper | None = None, quantity: int = 1) -> str:
        """Somebody buys; the order's id."""
        async with client_of(self.url) as client:
            wish = {"sku": sale.sku, "quantity": quantity}
            answer = await client.post("/api/orders", json=wish, headers=cookie_of(who or shopper()))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["_id"])

    async def reserve(self, sale: PublishedSale, who: Shopper, quantity: int = 1) -> str:
        """Somebody holds units, and the web process that reserved them died before it wrote the order."""
        context = context_of(sale.sku, who.name, who.session_id, None)
        wish = Wish(secrets.token_hex(12), who.id, quantity, False, context)
        (answer,) = await stock.reserve(redis(), sale.id, sale.epoch, [wish])
        assert answer.reservation is not None, answer
        return wish.order_id

    async def cancel(self, order_id: str) -> None:
        await cancel(order_id, "stage", "for the picture")

    async def finish(self, sale: PublishedSale) -> None:
        """What the worker does with what is pending."""
        await finish_pending(sale, before=datetime.now(UTC) + HOUR)

    async def lose_gate(self, sale: PublishedSale) -> None:
        """What a gate has that lost its memory."""
        await redis().hdel(sale_keys(sale.id).sale, "epoch")

    @asynccontextmanager
    async def visit(self, language: str = "en", who: Shopper | None = None, **options: Any) -> AsyncIterator[Any]:
        """A page in a browser of its own, that reads `language` and is signed in as `who`."""
        # What the shop says in a language is asked for as a browser does.
        async with visitor(self._chromium, self.url, locale=language, timezone_id="UTC", **options) as page:
            await sign_in_by_cookie(page, self.url, who)
            yield page

    def unlisted(self, key: str) -> Any:
        """What was set up once under `key`, and is looked at again; None the first time."""
        return self._set_up.get(key)

    def keep(self, key: str, found: Any) -> None:
        self._set_up[key] = found


class Deaf:
    """A page's socket that lives and brings no news until it may `hear`, as on a slow network."""

    def __init__(self) -> None:
        self._is_deaf = True
        self._kept: list[str] = []
        self._page_side: Any = None

    async def sit(self, page: Any) -> Deaf:
        await page.route_web_socket("**/ws/**", self._route)
        return self

    def hear(self) -> None:
        """Bring the newest, and from now on whatever comes."""
        self._is_deaf = False
        for text in self._kept[-1:]:
            self._page_side.send(text)

    def _route(self, page_side: Any) -> None:
        self._page_side = page_side
        page_side.connect_to_server().on_message(self._relay)

    def _relay(self, text: str) -> None:
        if self._is_deaf:
            self._kept.append(text)
        else:
            self._page_side.send(text)


async def sign_in_by_cookie(page: Any, url: str, who: Shopper | None) -> None:
    if who is not None:
        await page.context.add_cookies([{"name": COOKIE, "value": cookie_value(who), "url": url}])


async def choose_language(page: Any, url: str, language: str) -> None:
    """The viewer's choice, as the form at every page's foot sets it."""
    await page.context.add_cookies([{"name": LANGUAGE_COOKIE, "value": language, "url": url}])


def someone() -> Shopper:
    """The shopper of the pictures, in a browser of their own."""
    return shopper(NAME)


def a_newcomer() -> Shopper:
    """Under whose name nothing was ever bought; a member number, which is the same in every language."""
    return shopper("4711 0815")


def receipt_of(order_id: str) -> str:
    return receipt_path(order_id)


def gateway_page(name: str) -> str:
    """An error page of the gateway in front of the shop."""
    return Path(GATEWAY_PAGES / name).read_text()


def soon(**ahead: float) -> datetime:
    return datetime.now(UTC) + timedelta(**ahead)
