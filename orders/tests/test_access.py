"""What axe can't see: a purchase by keyboard, what is said aloud, where the focus is, colours and motion turned off."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import eventually
from orders.tests.browser import DESKTOP, wait_for_panel, wait_for_phase
from orders.tests.stage import HOUR, NAME, Stage, receipt_of, someone, soon
from orders.tests.states import STATES

pytestmark = pytest.mark.browser

TABS_AT_MOST = 25
FOCUSED = "() => document.activeElement.id"
# Everything that is said through the announcer, from now on.
LISTEN = """() => {
  window.said = [];
  const place = document.getElementById("announcer");
  const watch = { childList: true, characterData: true, subtree: true };
  new MutationObserver(() => window.said.push(place.textContent)).observe(place, watch);
}"""
OUTLINE = """() => {
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  return [outlineStyle, parseFloat(outlineWidth)];
}"""
# Of the top and of the side where lines begin: a notice has the one, what is boxed has both.
BORDER = """(e) => {
  const { borderTopWidth, borderInlineStartWidth } = getComputedStyle(e);
  return Math.max(parseFloat(borderTopWidth), parseFloat(borderInlineStartWidth));
}"""
LAMP_AND_GROUND = """(e) =>
  [getComputedStyle(e, "::before"), getComputedStyle(document.body)].map((style) => style.backgroundColor)
"""
BOXED = ("#banner", "#me", ".bar", ".plate-low", "main .button", "main .notice", "main input:not([type=hidden])")
MOVING = "() => document.getAnimations().filter((a) => a.playState === 'running').length"
BY_NAME = {state.name: state for state in STATES}


async def tab_to(page: Any, selector: str) -> None:
    """Press Tab until the focus is there, and can be seen wherever it stops."""
    for _ in range(TABS_AT_MOST):
        await page.keyboard.press("Tab")
        style, width = await page.evaluate(OUTLINE)
        assert style != "none" and width >= 2
        if await page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never came to {selector}")


async def test_a_purchase_by_keyboard_alone(stage: Stage) -> None:
    sale = await stage.sale()
    async with stage.visit(viewport=DESKTOP) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await wait_for_panel(page, "signed_out")
        await page.keyboard.press("Tab")
        assert await page.evaluate("() => document.activeElement.matches('.skip')")
        await page.keyboard.press("Enter")
        await tab_to(page, "#identifier")
        await page.keyboard.type(NAME)
        await page.keyboard.press("Enter")
        await wait_for_panel(page, "ready")
        assert await page.evaluate(FOCUSED) == "me-title"
        await tab_to(page, "#buy")
        await page.keyboard.press("Enter")
        await wait_for_panel(page, "order")
        assert await page.evaluate(FOCUSED) == "me-title"
        assert await page.inner_text("#me-title") == "It's yours"
        await tab_to(page, '#me a[href^="/orders/"]')
        await page.keyboard.press("Enter")
        await page.wait_for_selector('[data-status="completed"]')


async def test_only_a_change_of_state_is_said_aloud(stage: Stage) -> None:
    sale = await stage.sale(stock=40, limit_per_shopper=40, opens_at=soon(hours=1), closes_at=soon(hours=2))
    async with stage.visit() as page:
        await page.goto(f"/sales/{sale.sku}/")
        await wait_for_panel(page, "signed_out")
        await page.evaluate(LISTEN)
        # Ticks, and another banner of the same state.
        sale = await stage.change(sale, opens_at=soon(minutes=90), closes_at=soon(hours=3))
        await page.wait_for_selector("#banner [data-ticking]:has-text('01:29:')")
        sale = await stage.change(sale, opens_at=soon(minutes=-1), closes_at=soon(hours=3))
        await wait_for_phase(page, "active")
        for quantity, left in ((20, 20), (10, 10), (7, 3), (1, 2)):
            await stage.buy(sale, quantity=quantity)
            await page.wait_for_selector(f'#banner[data-available="{left}"]')
        await stage.reserve(sale, someone(), quantity=2)
        await page.wait_for_selector('#banner[data-settling="true"]')
        sale = await stage.change(sale, paused=True)
        await wait_for_phase(page, "paused")
        assert await page.evaluate("() => window.said") == ["On sale now", "Only 3 left", "All taken for now", "Paused"]


@pytest.mark.parametrize("is_polling", [False, True], ids=["socket", "polls"])
async def test_the_focus_outlives_what_is_exchanged_around_it(stage: Stage, is_polling: bool) -> None:
    sale = await stage.sale(opens_at=soon(hours=1), closes_at=soon(hours=2))
    async with stage.visit(who=someone()) as page:
        if is_polling:
            await page.route_web_socket("**/ws/**", lambda socket: socket.close())
        await page.goto(f"/sales/{sale.sku}/")
        await wait_for_panel(page, "ready")
        await page.focus("#remind-me")
        sale = await stage.change(sale, stock=251, closes_at=sale.closes_at + HOUR)
        await page.wait_for_selector('#banner[data-total="251"]', timeout=8000)
        assert await page.evaluate(FOCUSED) == "remind-me"
        # What had it is gone with the state: the heading of the new one says where one is.
        sale = await stage.change(sale, opens_at=soon(minutes=-1), closes_at=sale.closes_at + HOUR)
        await wait_for_phase(page, "active")
        assert await page.evaluate(FOCUSED) == "banner-state"
        await page.focus("#buy")
        await stage.buy(sale)
        await page.wait_for_selector('#banner[data-available="250"]', timeout=8000)
        assert await page.evaluate(FOCUSED) == "buy"


async def test_a_refusal_has_the_focus_and_is_an_alert(stage: Stage) -> None:
    async with BY_NAME["refused-out-of-stock"].visit(stage) as page:
        assert await page.evaluate(FOCUSED) == "me-title"
        assert await page.inner_text('#me [role="alert"]') == "This item is out of stock."


async def test_a_receipt_that_gets_confirmed_says_so(stage: Stage) -> None:
    who, sale = someone(), await stage.sale()
    order_id = await stage.reserve(sale, who)
    async with stage.visit() as page:
        await page.goto(receipt_of(order_id))
        await page.wait_for_selector('[data-status="pending"]')
        await page.evaluate(LISTEN)
        await page.focus("#receipt a")
        async with page.expect_response(lambda answer: answer.status == 204):
            pass
        assert await page.evaluate("() => document.activeElement.tagName") == "A"
        await stage.finish(sale)
        await page.wait_for_selector('[data-status="completed"]')
        assert await page.evaluate("() => window.said") == ["Receipt"]


async def test_what_has_the_focus_is_not_under_the_note_about_the_connection(stage: Stage) -> None:
    async with BY_NAME["connection-polling"].visit(stage) as page:
        note = page.locator("#connection")
        await page.set_viewport_size({"width": 360, "height": 320})
        for selector in ("footer button >> nth=2", "#me form button.button-link", "#buy", ".brand"):
            await page.focus(selector)

            focused = page.locator(selector)

            async def is_clear(focused: Any = focused) -> bool:
                mine, over = await focused.bounding_box(), await note.bounding_box()
                return bool(mine["y"] >= over["y"] + over["height"] or mine["y"] + mine["height"] <= over["y"])

            await eventually(is_clear, 2)


@pytest.mark.parametrize("name", ["banner-low", "banner-sold-out", "panel-order", "panel-waiting", "refused-limit"])
async def test_nothing_is_told_by_colour_alone_where_colours_are_forced(stage: Stage, name: str) -> None:
    async with BY_NAME[name].visit(stage) as page:
        await page.emulate_media(forced_colors="active")
        for selector in BOXED:
            for place in await page.locator(selector).all():
                assert await place.evaluate(BORDER) >= 1, selector
        # A colour of the system's own, not the ground's: what is filled is seen to be.
        lamp, ground = await page.locator("#banner-state").evaluate(LAMP_AND_GROUND)
        is_lit = await page.get_attribute("#banner", "data-phase") != "upcoming"
        assert (lamp not in (ground, "rgba(0, 0, 0, 0)")) == is_lit


@pytest.mark.parametrize("name", ["banner-live", "panel-pending", "refused-overloaded"])
async def test_nothing_moves_for_whoever_asked_for_stillness(stage: Stage, name: str) -> None:
    async with BY_NAME[name].visit(stage, reduced_motion="reduce") as page:
        assert await page.evaluate(MOVING) == 0
        await page.hover("main .button >> nth=0")
        assert await page.evaluate(MOVING) == 0
