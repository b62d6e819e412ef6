"""What tests in a real Chromium share: phones and desktops, their errors, and the steps every shopper takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from conftest import client_of, cookie_of, shopper
from sales.published import PublishedSale

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 800}
WITHIN_A_SECOND = 1000


@asynccontextmanager
async def visitor(chromium: Any, shop: str, **options: Any) -> AsyncIterator[Any]:
    """A page in a browser of its own, a phone unless `options` (of Playwright's `new_context`) say otherwise.

    A console error or an exception in a script fails the test, once it has got to its end.
    """
    context = await chromium.new_context(**{"viewport": PHONE, "base_url": shop, **options})
    page = await context.new_page()
    errors = listen(page)
    try:
        yield page
    finally:
        await context.close()
    assert not errors, errors


def listen(page: Any) -> list[str]:
    """The errors of a page, as they come."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
    page.on("console", lambda line: errors.append(f"{line.text} at {line.location}") if is_error(line) else None)
    return errors


def is_error(message: Any) -> bool:
    """A refused purchase is a 4xx by contract, and Chromium prints every 4xx; htmx prints what is away."""
    is_about_an_answer = message.text.startswith(("Failed to load resource", "Response Status Error Code 5", "htmx:"))
    return message.type == "error" and not is_about_an_answer


async def buy_elsewhere(shop: str, sale: PublishedSale) -> None:
    """Somebody else buys one unit."""
    async with client_of(shop) as client:
        answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))
        assert answer.status_code == 201, answer.text


async def wait_for_phase(page: Any, phase: str, timeout_ms: int = 8000) -> None:
    await page.wait_for_selector(f'#banner[data-phase="{phase}"]', timeout=timeout_ms)


async def wait_for_panel(page: Any, state: str, timeout_ms: int = 8000) -> None:
    await page.wait_for_selector(f'#me[data-state="{state}"]', timeout=timeout_ms)


async def sign_in(page: Any, name: str) -> None:
    await page.fill('#me input[name="identifier"]', name)
    await page.press('#me input[name="identifier"]', "Enter")
    await wait_for_panel(page, "ready")
