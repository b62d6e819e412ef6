"""Draws every state a shopper can see into `docs/images/states/`, and writes the page that shows them.

Run by `make screenshots`, not by the suite: pictures are looked at, and would differ in every run.
"""

from __future__ import annotations

import io
import re
from typing import Any

from PIL import Image

from conftest import BASE_DIR
from orders.tests.browser import DESKTOP, PHONE
from orders.tests.stage import Stage
from orders.tests.states import STATES, State

PICTURES = BASE_DIR / "docs" / "images" / "states"
PAGE = BASE_DIR / "docs" / "reference" / "states.md"
# A handful of colours and what smooth letters need: a picture is a few kilobytes, and no colour is lost.
COLOURS = 256
LARGE = {"banner-upcoming", "banner-live", "panel-order", "orders-some", "receipt-confirmed", "page-not-found"}
DARK = {"banner-live", "panel-order", "panel-ready", "refused-out-of-stock"}
OTHER_LANGUAGES = {
    "banner-upcoming": "ar",
    "banner-low": "de",
    "panel-order": "ar",
    "panel-pending": "de",
    "orders-some": "ar",
}
GROUPS = {
    "banner": (
        "The sale",
        "The plate is the sale's own: the same bytes for everybody, exchanged whole at each change.",
    ),
    "panel": ("The viewer's own part", "Under the plate stands what is the viewer's own, and what they can do next."),
    "refused": ("Answers that are none", "A try that came to nothing says why, and the same button is the next try."),
    "connection": ("The connection", "A page that can't follow the sale says so."),
    "receipt": ("Receipts", "An order's own page, for whoever holds its address; it prints on one sheet."),
    "orders": ("My orders", "All orders of this browser."),
    "page": ("Pages without a sale", "In place of what was asked for."),
}
ABOUT = """\
# What a shopper can see

Every state of the shop floor, drawn from a running shop by `make screenshots`. `orders/tests/test_states.py` brings a
real stack to each of them: on a phone and on a desktop, in the dark, at 400 %, in each language, with JavaScript and
without, and has axe look at it. The states and the way to each stand in `orders/tests/states.py`.
"""


async def test_pictures(stage: Stage) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.glob("*.png"):
        old.unlink()
    for state in STATES:
        async with visit(stage, state, "en") as page:
            await draw(page, f"{state.name}-phone", PHONE)
            if state.name in DARK:
                await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
                await draw(page, f"{state.name}-phone-dark", PHONE)
                await page.emulate_media(color_scheme="light", reduced_motion="reduce")
            if state.name in LARGE:
                await draw(page, f"{state.name}-desktop", DESKTOP)
        language = OTHER_LANGUAGES.get(state.name)
        if language:
            async with visit(stage, state, language) as page:
                await draw(page, f"{state.name}-phone-{language}", PHONE)
    PAGE.write_text(told())


def visit(stage: Stage, state: State, language: str) -> Any:
    return state.visit(stage, language, viewport=PHONE, reduced_motion="reduce", is_warm=True)


async def draw(page: Any, name: str, size: dict[str, int]) -> None:
    await page.set_viewport_size(size)
    picture = Image.open(io.BytesIO(await page.screenshot(full_page=True))).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)


def told() -> str:
    """The page that shows the pictures, one line for each state."""
    lines = [ABOUT.rstrip()]
    for group, (title, about) in GROUPS.items():
        lines += ["", f"## {title}", "", about]
        for state in [state for state in STATES if state.name.split("-")[0] == group]:
            lines += ["", f"### {state.name}", "", state.means, "", *shown(state)]
    return "\n".join(lines) + "\n"


def shown(state: State) -> list[str]:
    """The state's pictures: the phone's, then the others."""
    found = sorted(PICTURES.glob(f"{state.name}-*.png"), key=lambda picture: (len(picture.stem), picture.stem))
    size = re.compile(rf"{state.name}-(phone|desktop)\b")
    return [f"![{picture.stem}](../images/states/{picture.name})" for picture in found if size.match(picture.stem)]
