"""The back office in a real browser, at another address: every page and script goes there, signed out too."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.urls import reverse

from conftest import BASE_DIR, Processes, eventually, settings_of
from flashdrop.embedded.process import free_port
from orders.tests.browser import DESKTOP
from orders.tests.conftest import wait_until_it_answers
from orders.tests.test_desk_bulk import filled
from sales import catalogue
from sales.desk import access
from sales.models import Sale

ADMIN_PATH = "back/office/"
PASSWORD = secrets.token_urlsafe(12)
HOLDS_A_PATH = re.compile(r"""["'`(=\s]/?admin/(?!base|index|change|object|delete|css|js|img)""")


def manage(*command: str, **environment: str) -> None:
    subprocess.run(
        [sys.executable, str(BASE_DIR / "manage.py"), *command], env=os.environ | environment, check=True, timeout=60
    )


def there(name: str, *args: str) -> str:
    """Where a page is in the shop below."""
    return reverse(name, args=args).replace("/admin/", f"/{ADMIN_PATH}", 1)


@pytest.fixture(scope="module")
def office(migrated: None, static_files: None) -> Iterator[str]:
    """A shop whose back office is elsewhere, with an account."""
    started, port = Processes(), free_port()
    manage("ensure_admin", "elsewhere", ADMIN_PASSWORD=PASSWORD)
    started.start("serve", "--port", str(port), "--workers", "1", ADMIN_PATH=ADMIN_PATH, LOG_LEVEL="ERROR")
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_it_answers(url)
        yield url
    finally:
        started.stop_all()


@asynccontextmanager
async def signed_in(chromium: Any, office: str, asked: list[str]) -> AsyncIterator[Any]:
    """A page of somebody of the staff; each address that it asks for is noted."""
    context = await chromium.new_context(viewport=DESKTOP, base_url=office, timezone_id="America/Vancouver")
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url.removeprefix(office)))
    try:
        await page.goto(there("admin:index"))
        await sign_in(page)
        yield page
    finally:
        await context.close()
    assert errors == []


async def sign_in(page: Any) -> None:
    await page.fill("#id_username", "elsewhere")
    await page.fill("#id_password", PASSWORD)
    await page.click('input[type="submit"]')
    await page.wait_for_selector("#user-tools")


async def sign_out(page: Any) -> None:
    """As when the session ends: what else the browser keeps is still there."""
    await page.context.clear_cookies(name="sessionid")


async def sale_with(count: int) -> Sale:
    """A sale in the shop and in its back office, with that many orders."""
    sku = f"elsewhere-{secrets.token_hex(4)}"
    await asyncio.to_thread(manage, "seed_demo", "--sku", sku, "--stock", "1000")
    sale = await catalogue.get_by_sku(sku)
    assert sale is not None
    row = Sale(**{name: getattr(sale, name) for name in settings_of().__dataclass_fields__})
    if count:
        await filled(row, count)
    return row


def test_no_script_and_no_template_holds_the_address_of_the_back_office() -> None:
    for folder in ("static/js", "templates"):
        for path in sorted((BASE_DIR / folder).rglob("*.*")):
            assert not HOLDS_A_PATH.search(path.read_text(encoding="utf-8")), path


@pytest.mark.browser
async def test_every_page_works_at_another_address(office: str, chromium: Any) -> None:
    asked: list[str] = []
    sale = await sale_with(1)
    async with signed_in(chromium, office, asked) as page:
        for name in sorted(access.DESK.keys() | access.SALES.keys()):
            if name.endswith(("_confirm", "_run", "_refused", "_order", ":order", "_delete")):
                continue
            address = there(name) if "list" in name or name.endswith((":orders", "_add")) else there(name, sale.pk)
            answer = await page.request.get(address)
            assert answer.status == 200, address
            if "html" in answer.headers["content-type"] and name != "desk:export":
                await page.goto(address)
                links = await page.eval_on_selector_all("a, form", "all => all.map((one) => one.href ?? one.action)")
                assert [link for link in links if "/admin/" in str(link)] == [], address
        await page.goto(there("admin:sales_sale_add"))
        await page.select_option("select[name=time_zone]", "Europe/Berlin")
        kept = [one for one in await page.context.cookies() if one["name"] == "desk_time_zone"]
        assert [(one["path"], one["value"]) for one in kept] == [(f"/{ADMIN_PATH}", "Europe/Berlin")]
    assert [address for address in asked if address.startswith("/admin")] == []


@pytest.mark.browser
async def test_whoever_is_signed_out_during_a_run_is_told_so_and_goes_on(office: str, chromium: Any) -> None:
    asked: list[str] = []
    sale = await sale_with(230)
    async with signed_in(chromium, office, asked) as page:
        await page.goto(there("desk:sale_orders", sale.pk))
        await page.click('text="Cancel all of them…"')
        await page.fill("#typed", "cancel 230 orders")
        await page.fill("[name=reason]", "Sent back")
        steps = 0

        async def one_step(route: Any) -> None:
            nonlocal steps
            if route.request.headers["accept"] == "application/json":
                steps += 1
                if steps == 2:
                    await sign_out(page)
            await route.continue_()

        await page.route("**/run/**", one_step)
        await page.click('form.order-confirm button[type="submit"]')
        problem = page.locator("[data-problem]")
        await problem.wait_for(state="visible")
        told = await problem.inner_text()
        assert "You were signed out. 200 of 230 are cancelled" in told and "no answer" not in told
        await page.click('text="Sign in again and go on"')
        await sign_in(page)
        assert "200 of 230 gone through" in await page.inner_text("[data-stand]")
        await page.click("[data-go-on]")
        await page.wait_for_selector("[data-finished]:not([hidden])")
        assert await page.inner_text("[data-stand]") == "Finished: 230 cancelled."
        assert not [address for address in asked if address.startswith("/admin")]


@pytest.mark.browser
@pytest.mark.parametrize("name", ["desk:check", "desk:control", "desk:live"])
async def test_what_keeps_itself_fresh_says_that_one_is_signed_out(office: str, chromium: Any, name: str) -> None:
    sale = await sale_with(0)
    async with signed_in(chromium, office, []) as page:

        async def hurried(route: Any) -> None:
            answer = await route.fetch()
            await route.fulfill(
                response=answer, body=(await answer.text()).replace('data-every="10"', 'data-every="1"')
            )

        await page.route(f"**{there('desk:check', sale.pk)}", hurried)
        await page.goto(there(name, sale.pk))
        await sign_out(page)

        async def is_told() -> bool:
            if name == "desk:live":
                return "You are signed out" in await page.inner_text("#live-state")
            return await page.locator("#id_password").count() > 0

        await eventually(is_told, 15)
