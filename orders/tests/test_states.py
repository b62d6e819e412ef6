"""Every state a shopper can see: small and large, light and dark, in each language, and to axe."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT

from orders.tests.browser import DESKTOP, PHONE, wait_for_panel
from orders.tests.stage import NAME, PRODUCT, Stage
from orders.tests.states import STATES, State

pytestmark = pytest.mark.browser

# A lamp that blinks is painted sixty times a second, by a processor that has tests to run.
ON_PHONE = {"viewport": PHONE, "reduced_motion": "reduce"}
# A desktop's 1280 by 1024 at 400 %.
ZOOMED = {"width": 320, "height": 256}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Nothing is fetched for it: what it would fetch is for rules that are not among these.
EVERYTHING = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"], "preload": False}
# What darkness changes; and what a language does.
COLOURS = EVERYTHING | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
STRUCTURE = EVERYTHING | {"rules": {"color-contrast": {"enabled": False}}}
# What stays as it is in every language: names, zones, currencies, what an order or a product is numbered by.
UNTRANSLATED = re.compile(
    rf"{re.escape(NAME)}|{PRODUCT}(, second edition|, artist's proof)?|Flashdrop|UTC"
    r"|\blamp-[0-9a-f]+|\b[0-9a-f]{24}\b"
)
# All text of the page's own part, what is only said aloud there, and the notes that scripts fill.
WORDS = """() => {
  const main = document.querySelector("main");
  const walk = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
  const found = [document.title];
  while (walk.nextNode()) if (!walk.currentNode.parentElement.closest("noscript")) found.push(walk.currentNode.data);
  for (const place of main.querySelectorAll("[aria-label], [alt]")) found.push(place.ariaLabel ?? place.alt);
  for (const id of ["announcer", "connection"]) found.push(document.getElementById(id).textContent);
  return found;
}"""
# Buttons, links that look like one, and fields.
SMALL_ACTIONS = """() => [...document.querySelectorAll("main .button, main input:not([type=hidden]), main select")]
  .filter((e) => e.checkVisibility({ visibilityProperty: true }))
  .map((e) => [e.textContent.trim() || e.name, e.getBoundingClientRect().width, e.getBoundingClientRect().height])
  .filter(([, width, height]) => width < 44 || height < 44)"""
# What is wider or higher than the box that it is in, where the box shows no more than itself.
CUT_OFF = """() => [...document.querySelectorAll("main *, header *, footer *")]
  .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest(".sr-only, svg"))
  .filter((e) => {
    const inner = e.getBoundingClientRect();
    const box = e.closest(".plate, .panel, .width").getBoundingClientRect();
    const written = document.createRange();
    written.selectNodeContents(e);
    const text = e.children.length ? inner : written.getBoundingClientRect();
    const isAside = [inner, text].some((r) => r.width && (r.left < box.left - 1 || r.right > box.right + 1));
    const isBeyond = inner.top < box.top - 1 || inner.bottom > box.bottom + 1;
    const isTooMuch = e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1;
    return isAside || isBeyond || (isTooMuch && getComputedStyle(e).overflow !== "visible");
  })
  .map((e) => e.outerHTML.slice(0, 120))"""
# As much room as a reader may ask for (WCAG 1.4.12).
SPACE_TEXT_OUT = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    * { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important }
    p { margin-bottom: 2em !important }
  `);
  document.adoptedStyleSheets = [sheet];
}"""
WIDTHS = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"


@pytest.mark.parametrize("state", STATES, ids=[state.name for state in STATES])
async def test_a_state_is_fit_for_everyone(stage: Stage, state: State) -> None:
    async with state.visit(stage, **ON_PHONE) as page:
        english = await words_of(page)
        await looks_right(page)
        await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        await violates_nothing(page, COLOURS)
        await page.emulate_media(color_scheme="light", reduced_motion="reduce")
        await page.set_viewport_size(DESKTOP)
        await fits(page)
        await violates_nothing(page, STRUCTURE)
        await page.set_viewport_size(ZOOMED)
        await fits(page)
        assert await page.evaluate(CUT_OFF) == []
        await page.evaluate(SPACE_TEXT_OUT)
        assert await page.evaluate(CUT_OFF) == []
    await asyncio.gather(*(speaks(stage, state, language, english) for language in ("de", "ar")))


async def speaks(stage: Stage, state: State, language: str, english: set[str]) -> None:
    """All of the state is in the language, and written in its direction."""
    async with state.visit(stage, language, **ON_PHONE) as page:
        assert await page.get_attribute("html", "lang") == language
        assert await page.get_attribute("html", "dir") == ("rtl" if language == "ar" else "ltr")
        assert await still_english(page, language, english) == []
        await fits(page)
        if language == "ar":
            await violates_nothing(page, STRUCTURE)


@pytest.mark.parametrize("state", [state for state in STATES if not state.needs_scripts], ids=lambda state: state.name)
async def test_a_state_shows_without_scripts(stage: Stage, state: State) -> None:
    async with state.visit(stage, viewport=PHONE, java_script_enabled=False) as page:
        assert await page.locator("main h1").count() == 1
        # Nothing that only a script could make true.
        text = await page.inner_text("main")
        assert "Opens in" not in text and "Closes in" not in text


async def test_what_is_wrong_would_be_found(stage: Stage) -> None:
    sale = await stage.sale()
    async with stage.visit("ar", viewport=PHONE) as page:
        await page.goto(f"/sales/{sale.sku}/")
        await wait_for_panel(page, "signed_out")
        assert (await page.evaluate(CUT_OFF), await still_english(page, "ar", set())) == ([], [])
        await page.evaluate("() => document.querySelector('label').remove()")
        with pytest.raises(AssertionError, match="label"):
            await violates_nothing(page)
        await page.evaluate("() => (document.querySelector('#me h2').textContent = 'Unbreakable'.repeat(30))")
        assert len(await still_english(page, "ar", set())) == 1
        await page.evaluate("() => (document.querySelector('#me h2').style.whiteSpace = 'nowrap')")
        assert await page.evaluate(CUT_OFF) != []
        with pytest.raises(AssertionError):
            await fits(page)


async def test_all_forms_work_without_scripts(stage: Stage) -> None:
    sale = await stage.sale()
    async with stage.visit(java_script_enabled=False) as page:
        await page.goto(f"/sales/{sale.sku}/me")
        await page.click('footer button[value="de"]')
        assert await page.inner_text("#me h2") == "Wer kauft?"
        await page.fill('#me input[name="identifier"]', "\u200b")
        await page.press('#me input[name="identifier"]', "Enter")
        await page.wait_for_selector('#me [role="alert"]')
        await page.fill('#me input[name="identifier"]', NAME)
        await page.press('#me input[name="identifier"]', "Enter")
        await wait_for_panel(page, "ready")
        await page.click("#buy")
        await wait_for_panel(page, "order")
        assert await page.inner_text("#me h2") == "Es gehört Ihnen"
        await page.click('#me a[href^="/orders/"]')
        assert await page.get_attribute("main article", "data-status") == "completed"
        await page.click('footer button[value="en"]')
        assert await page.inner_text("main h1") == "Receipt"
        await page.click('header a[href="/orders/"]')
        assert NAME in await page.inner_text("main")
        await page.click('main form button:has-text("Sign out")')
        assert await page.inner_text("#me h2") == "Before you sign out"
        await page.click('#me form button:has-text("Sign out")')
        assert await page.locator('main input[name="identifier"]').count() == 1


async def looks_right(page: Any) -> None:
    await fits(page)
    await violates_nothing(page)
    assert await page.evaluate(SMALL_ACTIONS) == []


async def fits(page: Any) -> None:
    """Nothing has to be scrolled to the side, and nothing sticks out."""
    width, inside = await page.evaluate(
        "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= inside


async def violates_nothing(page: Any, options: dict[str, Any] | None = None) -> None:
    """What axe finds, by rule and place: nothing."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    found = await page.evaluate("(options) => axe.run(options)", options or EVERYTHING)
    assert [(rule["id"], node["html"][:160]) for rule in found["violations"] for node in rule["nodes"]] == []


async def words_of(page: Any) -> set[str]:
    """Every piece of text a viewer can see or hear, that holds a word."""
    texts = await page.evaluate(WORDS)
    pieces = {UNTRANSLATED.sub("", text) for text in texts}
    return {piece for piece in pieces if re.search("[A-Za-z]{2}", piece)}


async def still_english(page: Any, language: str, english: set[str]) -> list[str]:
    found = await words_of(page)
    # In Arabic any Latin letter gives it away; in German, a text that is the English one.
    return sorted(found if language == "ar" else (found & english) - SAME_IN_GERMAN)


SAME_IN_GERMAN = {"Name", "Name:"}
