"""How a state is reached: what is set up in the stores, and what then happens on the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from orders import panel
from orders.identity import Shopper
from orders.notices import Notice
from orders.placing import Refusal
from orders.tests.stage import PRODUCT, Deaf, Stage, gateway_page, receipt_of, someone, soon
from sales.published import PublishedSale

SIGN_OUT = '[action^="/session/end"]'
LATE_MS = 4_000
UPCOMING = {"opens_at": lambda: soon(hours=1), "closes_at": lambda: soon(hours=2)}


class Setting(NamedTuple):
    """Where the state is found: an address, by whom, about which sale."""

    path: str
    who: Shopper | None = None
    sale: PublishedSale | None = None
    has_scripts: bool = True
    language: str = "en"


Arrange = Callable[[Stage], Awaitable[Setting]]
Act = Callable[[Stage, Any, Setting], Awaitable[None]]


def page_of(sale: PublishedSale) -> str:
    return f"/sales/{sale.sku}/"


def sale_with(who: Callable[[], Shopper] | None = None, **changes: Any) -> Arrange:
    """A sale as published, looked at by nobody in particular or by `who`."""

    async def arrange(stage: Stage) -> Setting:
        sale = await stage.sale(**{name: value() if callable(value) else value for name, value in changes.items()})
        return Setting(page_of(sale), who() if who else None, sale)

    return arrange


def bought_out(*, held: bool) -> Arrange:
    """A sale whose every unit is taken; `held` where one of the orders isn't confirmed yet."""

    async def arrange(stage: Stage) -> Setting:
        sale = await stage.sale(stock=3, limit_per_shopper=3)
        await stage.buy(sale, quantity=2)
        await (stage.reserve(sale, someone()) if held else stage.buy(sale))
        return Setting(page_of(sale), None, sale)

    return arrange


async def nearly_gone(stage: Stage) -> Setting:
    sale = await stage.sale(stock=40, limit_per_shopper=40)
    await stage.buy(sale, quantity=37)
    return Setting(page_of(sale), None, sale)


async def half_gone(stage: Stage, **changes: Any) -> Setting:
    sale = await stage.sale(stock=60, limit_per_shopper=40, **changes)
    await stage.buy(sale, quantity=37)
    return Setting(page_of(sale), None, sale)


async def over(stage: Stage) -> Setting:
    return await _settings_changed_after_37(stage, closes_at=soon(minutes=-1), opens_at=soon(minutes=-31))


async def paused(stage: Stage) -> Setting:
    return await _settings_changed_after_37(stage, paused=True)


async def _settings_changed_after_37(stage: Stage, **changes: Any) -> Setting:
    setting = await half_gone(stage)
    assert setting.sale is not None
    return setting._replace(sale=await stage.change(setting.sale, **changes))


async def lost(stage: Stage) -> Setting:
    setting = await half_gone(stage)
    assert setting.sale is not None
    await stage.lose_gate(setting.sale)
    return setting


def order(*, limit: int = 1) -> Arrange:
    async def arrange(stage: Stage) -> Setting:
        sale, who = await stage.sale(limit_per_shopper=limit), someone()
        await stage.buy(sale)
        await stage.buy(sale, who)
        return Setting(page_of(sale), who, sale)

    return arrange


async def several_orders(stage: Stage) -> Setting:
    sale, who = await stage.sale(limit_per_shopper=8), someone()
    await stage.buy(sale, who, quantity=3)
    await stage.buy(sale)
    await stage.buy(sale, who, quantity=2)
    return Setting(page_of(sale), who, sale)


async def pending(stage: Stage) -> Setting:
    sale, who = await stage.sale(), someone()
    await stage.reserve(sale, who)
    return Setting(page_of(sale), who, sale)


async def taken(stage: Stage) -> Setting:
    sale = await stage.sale()
    await stage.buy(sale, someone())
    return Setting(page_of(sale), someone(), sale)


async def given_up(stage: Stage) -> Setting:
    sale, who = await stage.sale(), someone()
    await stage.cancel(await stage.buy(sale, who))
    return Setting(page_of(sale), who, sale)


def receipt(of: str) -> Arrange:
    async def arrange(stage: Stage) -> Setting:
        sale, who = await stage.sale(limit_per_shopper=2), someone()
        order_id = await (stage.reserve if of == "pending" else stage.buy)(sale, who, quantity=2)
        if of == "cancelled":
            await stage.cancel(order_id)
        return Setting(receipt_of(order_id), who)

    return arrange


async def some_orders(stage: Stage) -> Setting:
    who = someone()
    for name in (PRODUCT, "Kupfer Lamp, second edition", "Kupfer Lamp, artist's proof"):
        sale = await stage.sale(name=name, limit_per_shopper=3)
        order_id = await (stage.reserve if "proof" in name else stage.buy)(sale, who, quantity=2)
        if "second" in name:
            await stage.cancel(order_id)
    return Setting("/orders/", who)


def address(path: str, who: Callable[[], Shopper] | None = None) -> Arrange:
    async def arrange(stage: Stage) -> Setting:
        return Setting(path, who() if who else None)

    return arrange


async def unready(stage: Stage) -> Setting:
    return Setting(f"{stage.unready_url}/")


async def nothing_on_sale(stage: Stage) -> Setting:
    await stage.withdraw_all()
    return Setting("/")


# What happens on the page


async def buy_behind_its_back(stage: Stage, page: Any, setting: Setting) -> None:
    """The last unit goes while the page, on a slow network, still shows it."""
    assert setting.sale is not None
    await stage.buy(setting.sale)
    await page.click("#buy")
    await page.wait_for_selector('#me [role="alert"]')
    if setting.has_scripts:
        page.context.deaf.hear()


async def ask_for_more_than_are_left(stage: Stage, page: Any, setting: Setting) -> None:
    """Two of five go meanwhile."""
    assert setting.sale is not None
    await page.select_option("#quantity", "5")
    await stage.buy(setting.sale, quantity=2)
    await page.click("#buy")
    await page.wait_for_selector('#me [role="alert"]')


async def change_price_behind_its_back(stage: Stage, page: Any, setting: Setting) -> None:
    assert setting.sale is not None
    await stage.change(setting.sale, price_minor=14900)
    await page.click("#buy")
    await page.wait_for_selector('#me [role="alert"]')


async def buy_in_another_tab(stage: Stage, page: Any, setting: Setting) -> None:
    assert setting.sale is not None
    await stage.buy(setting.sale, setting.who)
    await page.click("#buy")


async def sign_in_unseen(stage: Stage, page: Any, setting: Setting) -> None:
    """A name of nothing but a character without width."""
    await page.fill('#me input[name="identifier"]', "\u200b")
    await page.press('#me input[name="identifier"]', "Enter")


async def ask_to_leave(stage: Stage, page: Any, setting: Setting) -> None:
    await page.click(f"#me form{SIGN_OUT} button")


async def leave_and_return(stage: Stage, page: Any, setting: Setting) -> None:
    """Sign out, in spite of what it costs, and sign in again under the same name."""
    assert setting.who is not None
    await ask_to_leave(stage, page, setting)
    await page.click(f'#me[data-state="leaving"] form{SIGN_OUT} button')
    await page.fill('#me[data-state="signed_out"] input[name="identifier"]', setting.who.name)
    await page.press('#me input[name="identifier"]', "Enter")
    await page.wait_for_selector('#me[data-state="taken"]')


async def leave_and_look_for_orders(stage: Stage, page: Any, setting: Setting) -> None:
    await leave_and_return(stage, page, setting)
    await page.click('header a[href="/orders/"]')


async def press_buy(stage: Stage, page: Any, setting: Setting) -> None:
    await page.click("#buy")


async def sit_deaf(stage: Stage, page: Any, setting: Setting) -> None:
    page.context.deaf = await Deaf().sit(page)


def answered(name: str) -> Act:
    """A gateway answers in the shop's place; a real one can't be made to fail and stand still."""

    async def before(stage: Stage, page: Any, setting: Setting) -> None:
        body, status = gateway_page(f"{name}.html"), {"unanswered": 502, "too-many": 429}[name]
        await page.route(
            "**/orders?lang=*", lambda route: route.fulfill(status=status, body=body, content_type="text/html")
        )

    return before


async def answer_overloaded(stage: Stage, page: Any, setting: Setting) -> None:
    """The shop's own answer while too many buy at once."""
    assert setting.sale is not None and setting.who is not None
    body = panel.ready(setting.sale, setting.language, setting.who, Notice(Refusal.OVERLOADED.value))
    await page.route("**/orders?lang=*", lambda route: route.fulfill(status=503, body=body, content_type="text/html"))


async def never_answer_panel(stage: Stage, page: Any, setting: Setting) -> None:
    await page.route("**/me?lang=*", lambda route: None)


async def cut_socket(stage: Stage, page: Any, setting: Setting) -> None:
    await page.route_web_socket("**/ws/**", lambda socket: socket.close())
    await page.clock.install()


async def wait_long(stage: Stage, page: Any, setting: Setting) -> None:
    await page.clock.run_for(LATE_MS)


async def lose_network(stage: Stage, page: Any, setting: Setting) -> None:
    await page.context.set_offline(True)
    await page.clock.run_for(LATE_MS)


async def freeze(stage: Stage, page: Any, setting: Setting) -> None:
    """The page's clock is at the opening, and the shop has not said that it opened."""
    await sit_deaf(stage, page, setting)
    await page.clock.install()
    # Its clock is moved, so what the shop says of the time and of the sale is kept from it.
    for pattern in ("**/sale-status", "**/banner?lang=*"):
        await page.route(pattern, lambda route: None)


async def wait_until_due(stage: Stage, page: Any, setting: Setting) -> None:
    await page.clock.fast_forward("01:00:01")
