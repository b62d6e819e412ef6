"""Every state a shopper can see: the subject of `test_states.py`, and of the pictures in `docs/reference/states.md`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from conftest import eventually
from orders.identity import sign_in_guest
from orders.tests.arranging import (
    UPCOMING,
    Act,
    Arrange,
    Setting,
    address,
    answer_overloaded,
    answered,
    ask_for_more_than_are_left,
    ask_to_leave,
    bought_out,
    buy_behind_its_back,
    buy_in_another_tab,
    change_price_behind_its_back,
    cut_socket,
    freeze,
    given_up,
    half_gone,
    leave_and_look_for_orders,
    leave_and_return,
    lose_network,
    lost,
    nearly_gone,
    never_answer_panel,
    nothing_on_sale,
    order,
    over,
    page_of,
    paused,
    pending,
    press_buy,
    receipt,
    sale_with,
    several_orders,
    sign_in_unseen,
    sit_deaf,
    some_orders,
    taken,
    unready,
    wait_long,
    wait_until_due,
)
from orders.tests.stage import Stage, a_newcomer, someone


class State(NamedTuple):
    """One of the states.

    Args:
        name: of its pictures.
        means: what it means and when it shows, for `docs/reference/states.md`.
        seen: a selector of what shows that the page is in it.
        arrange: sets the stack up.
        act: what happens then, on the page; None where there is nothing to happen but to look.
        before: what the page has to go through before it is opened: a socket cut, an answer replaced.
        is_used_up: looking at it changes what it needs, so that each look is set up anew.
        needs_scripts: without scripts there is no such state.
    """

    name: str
    means: str
    seen: str
    arrange: Arrange
    act: Act | None = None
    before: Act | None = None
    is_used_up: bool = False
    needs_scripts: bool = False

    @asynccontextmanager
    async def visit(
        self, stage: Stage, language: str = "en", *, is_warm: bool = False, **options: Any
    ) -> AsyncIterator[Any]:
        """A page in this state, in a browser of its own; `is_warm`: one that has the shop's files already."""
        has_scripts = options.get("java_script_enabled", True)
        setting = await self._setting(stage)
        async with stage.visit(language, setting.who, **options) as page:
            if is_warm:
                await page.goto("/orders/")
            await self._enter(stage, page, setting._replace(has_scripts=has_scripts, language=language))
            yield page

    async def _setting(self, stage: Stage) -> Setting:
        setting: Setting | None = None if self.is_used_up else stage.unlisted(self.name)
        if setting is None:
            setting = await self.arrange(stage)
            stage.keep(self.name, setting)
        return setting

    async def _enter(self, stage: Stage, page: Any, setting: Setting) -> None:
        if self.before:
            await self.before(stage, page, setting)
        is_shop_page = setting.sale is not None and setting.path == page_of(setting.sale)
        if not setting.has_scripts:
            await self._enter_plainly(page, f"{setting.path}me" if is_shop_page else setting.path)
        else:
            await page.goto(setting.path)
        if is_shop_page and setting.has_scripts and self.name != "panel-loading":
            await page.wait_for_selector('#me:not([data-state="loading"])')
        if self.act:
            await self.act(stage, page, setting)
        await page.wait_for_selector(self.seen)

    async def _enter_plainly(self, page: Any, path: str) -> None:
        """Without scripts the viewer's own panel is a page of its own, and news comes with another look."""

        async def is_there() -> bool:
            await page.goto(path)
            return self.act is not None or bool(await page.locator(self.seen).count())

        await eventually(is_there)


STATES = [
    State(
        "banner-upcoming",
        "Before the opening: a countdown by the shop's clock, and the opening as a calendar file.",
        '#banner[data-phase="upcoming"]',
        sale_with(**UPCOMING),
    ),
    State(
        "banner-opening",
        "The countdown is at zero and the shop hasn't said that the sale is open: a second or less, as a rule.",
        "h2:has-text('Opening'), h2[data-when-due]",
        sale_with(**UPCOMING),
        act=wait_until_due,
        before=freeze,
        needs_scripts=True,
    ),
    State("banner-live", "The sale is open; the figure falls as units go.", '#banner[data-phase="active"]', half_gone),
    State("banner-low", "A tenth of the stock or less is left.", '#banner[data-low="true"]', nearly_gone),
    State(
        "banner-settling",
        "Every unit is taken, but not every order is confirmed: some may come back.",
        '#banner[data-settling="true"]',
        bought_out(held=True),
    ),
    State(
        "banner-sold-out",
        "Every unit is taken and confirmed.",
        '#banner[data-phase="sold_out"][data-settling="false"]',
        bought_out(held=False),
    ),
    State("banner-paused", "The merchandiser has paused the sale.", '#banner[data-phase="paused"]', paused),
    State("banner-over", "The sale's window is closed.", '#banner[data-phase="ended"]', over),
    State(
        "banner-not-ready",
        "The gate that holds the stock can't be asked, or is being rebuilt: nothing is sold, nothing is guessed.",
        '#banner[data-phase="not_ready"]',
        lost,
    ),
    State(
        "panel-loading",
        "The page is there and the viewer's own part isn't yet.",
        '#me[data-state="loading"]',
        sale_with(),
        before=never_answer_panel,
        needs_scripts=True,
    ),
    State(
        "panel-signed-out",
        "Nobody is signed in; this sale admits guests.",
        '#me[data-state="signed_out"]',
        sale_with(guests_allowed=True),
    ),
    State(
        "panel-wrong-name",
        "What was typed can't be a name.",
        '#me[data-state="signed_out"] [role="alert"]',
        sale_with(),
        act=sign_in_unseen,
    ),
    State("panel-ready", "Signed in, and the sale is open.", '#me[data-state="ready"]', sale_with(someone)),
    State(
        "panel-waiting",
        "Signed in before the opening: the button opens by itself.",
        '#me[data-state="ready"]',
        sale_with(someone, **UPCOMING),
    ),
    State(
        "panel-guest",
        "Signed in without a name, where several units may be bought at once.",
        '#me[data-state="ready"]',
        sale_with(sign_in_guest, guests_allowed=True, limit_per_shopper=5),
    ),
    State("panel-order", "The order is confirmed; the number is the shopper's.", '#me[data-state="order"]', order()),
    State(
        "panel-order-more",
        "The order is confirmed, and this shopper may buy more.",
        '#me[data-state="order"] #buy',
        order(limit=3),
    ),
    State(
        "panel-orders",
        "Several orders in this sale: all units, the sum, and each order's receipt.",
        "#me .parts",
        several_orders,
    ),
    State(
        "panel-pending",
        "A unit is reserved and its order not yet written down; the page asks again by itself.",
        '#me[data-state="pending"]',
        pending,
    ),
    State("panel-taken", "This name has bought in another browser.", '#me[data-state="taken"]', taken),
    State(
        "panel-leaving",
        "Signing out of a browser that shows orders: what it costs, and the links to keep.",
        '#me[data-state="leaving"]',
        order(),
        act=ask_to_leave,
    ),
    State(
        "panel-left",
        "This name has bought in this browser, which was signed out since.",
        '#me[data-state="taken"] .who',
        order(),
        act=leave_and_return,
        is_used_up=True,
    ),
    State("panel-given-up", "The order was cancelled; the sale is still open.", '#me[data-state="given_up"]', given_up),
    State(
        "refused-out-of-stock",
        "Somebody else was faster with the last unit.",
        '#me [role="alert"]',
        sale_with(someone, stock=1),
        act=buy_behind_its_back,
        before=sit_deaf,
        is_used_up=True,
    ),
    State(
        "refused-few-left",
        "Fewer are left than were asked for: how many, and the choice among them.",
        '#me [data-code="OUT_OF_STOCK"]',
        sale_with(someone, stock=5, limit_per_shopper=5),
        act=ask_for_more_than_are_left,
        before=sit_deaf,
        is_used_up=True,
    ),
    State(
        "refused-price",
        "The price changed before the button was pressed: nothing is bought, and both prices are told.",
        '#me [data-code="PRICE_CHANGED"]',
        sale_with(someone),
        act=change_price_behind_its_back,
        before=sit_deaf,
        is_used_up=True,
    ),
    State(
        "refused-limit",
        "A second try, in another tab, for more than one shopper may have.",
        '#me[data-state="order"] [role="alert"]',
        sale_with(someone),
        act=buy_in_another_tab,
        is_used_up=True,
    ),
    State(
        "refused-overloaded",
        "Too many are buying at once; pressing the button again repeats the same try.",
        '#me[data-state="ready"] [role="alert"]',
        sale_with(someone),
        act=press_buy,
        before=answer_overloaded,
        needs_scripts=True,
    ),
    State(
        "refused-unanswered",
        "The gateway answered in the shop's place: the shop did not, in time.",
        '#me[data-state="ready"] [role="alert"]',
        sale_with(someone),
        act=press_buy,
        before=answered("unanswered"),
        needs_scripts=True,
    ),
    State(
        "connection-polling",
        "The page's socket is closed: it asks every few seconds instead, and says so.",
        'html[data-connection="polling"] #connection:not([hidden])',
        sale_with(someone),
        act=wait_long,
        before=cut_socket,
        needs_scripts=True,
    ),
    State(
        "connection-lost",
        "The device is offline: what the page shows may be out of date, and looks it.",
        'html[data-connection="lost"] #connection:not([hidden])',
        sale_with(someone),
        act=lose_network,
        before=cut_socket,
        needs_scripts=True,
    ),
    State(
        "receipt-confirmed", "A receipt, for whoever holds its link.", '[data-status="completed"]', receipt("completed")
    ),
    State(
        "receipt-pending",
        "A receipt whose order isn't written down yet.",
        '[data-status="pending"]',
        receipt("pending"),
    ),
    State(
        "receipt-cancelled",
        "A receipt of an order that was cancelled.",
        '[data-status="cancelled"]',
        receipt("cancelled"),
    ),
    State("orders-signed-out", "My orders, and nobody is signed in.", "main form", address("/orders/")),
    State("orders-none", "My orders, and there are none.", "main a.button", address("/orders/", a_newcomer)),
    State(
        "orders-left",
        "My orders: they were placed before signing out.",
        "main .lead",
        order(),
        act=leave_and_look_for_orders,
        is_used_up=True,
    ),
    State("orders-some", "My orders: confirmed, cancelled, being confirmed.", ".orders", some_orders),
    State(
        "page-not-found",
        "No sale, or nothing at all, at this address.",
        ".message-code",
        address("/sales/no-such-lamp/"),
    ),
    State("page-not-ready", "The shop has not reached its stores since it started.", ".message-code", unready),
    State("page-none", "No sale is published.", ".message", nothing_on_sale, is_used_up=True),
]
