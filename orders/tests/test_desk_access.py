"""The table of who may open what, whole: each page of the back office, with each right and without it, by request."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from functools import cache
from itertools import cycle
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from flashdrop.config import BASE_DIR
from orders.tests.conftest import OnSale
from orders.tests.test_desk_orders import bought
from sales import permissions
from sales.desk import access
from sales.models import Sale

pytestmark = pytest.mark.django_db(transaction=True)

EVERY_RIGHT = frozenset(value for name, value in vars(permissions).items() if name.isupper() and isinstance(value, str))
# Which of the pages take only a form.
POSTED = frozenset({"desk:cancel_refused", "desk:fulfil_refused"})
FLAGS = ("is_active", "is_staff")


def patterns(found: Any = None, prefix: str = "", space: str = "") -> Iterator[tuple[str, str, Any]]:
    """Each name, route and view of the URLconf."""
    for one in get_resolver().url_patterns if found is None else found:
        route = prefix + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from patterns(one.url_patterns, route, f"{one.namespace}:" if one.namespace else space)
        elif isinstance(one, URLPattern):
            yield f"{space}{one.name or ''}", route, one.callback


BACK_OFFICE = {name: view for name, route, view in patterns() if route.startswith(settings.ADMIN_PATH)}


def account(rights: frozenset[str], **changes: Any) -> tuple[User, Client]:
    user = User.objects.create(username=f"access-{secrets.token_hex(4)}", is_staff=True, **changes)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="sales", codename__in=rights))
    browser = Client()
    browser.force_login(user)
    return user, browser


def address(name: str, sale: Sale, order_id: str) -> str:
    """Where the page is, of this sale or order."""
    for args in ([], [sale.pk], [order_id]):
        route = next(route for known, route, _ in patterns() if known == name)
        wanted = "order_id" if "<order_id>" in route else "sale" if "<" in route else ""
        if (wanted == "order_id") == (args == [order_id]) and bool(wanted) == bool(args):
            return reverse(name, args=args)
    raise AssertionError(name)


def opened(browser: Client, name: str, where: str) -> bool:
    """Whether the page was opened, whatever it then said; nothing else may be answered than that, 403 or signing in."""
    response: HttpResponse = browser.post(where) if name in POSTED else browser.get(where)
    if response.status_code == 302 and "/login/" in response.headers["Location"]:
        return False
    if response.status_code in (401, 403):
        return False
    assert response.status_code in (200, 302, 410), (name, response.status_code)
    return True


def test_every_page_of_the_back_office_is_in_the_table_and_nothing_else_is() -> None:
    known = {*access.DESK, *access.SALES, *access.STAFF}
    missing = {
        name
        for name in BACK_OFFICE
        if name not in known
        and name.split(":")[1].rsplit("_", 1)[0] not in access.ACCOUNTS
        and name.split(":")[1].rsplit("_", 2)[0] not in access.ACCOUNTS
        # Django's own: an old address that redirects, and what is nowhere; names to choose from, by their model.
        and name not in ("admin:", "admin:autocomplete")
    }
    assert not missing
    assert known <= set(BACK_OFFICE)


def test_each_page_of_the_desk_is_guarded_under_its_own_name() -> None:
    guarded = {name: getattr(view, "page", name) for name, view in BACK_OFFICE.items() if name.startswith("desk:")}
    assert {name for name, page in guarded.items() if name != page} == set()
    unmarked = {name for name, view in BACK_OFFICE.items() if name.startswith("desk:") and not hasattr(view, "page")}
    assert unmarked == {"desk:live_data"}  # asks the table itself
    rights = {right for needs in (*access.DESK.values(), *access.SALES.values()) for right in needs}
    assert rights == EVERY_RIGHT


async def test_each_page_opens_with_its_rights_and_without_any_one_of_them_it_does_not(on_sale: OnSale) -> None:
    sale = await on_sale()
    order = await bought(sale)

    def work() -> None:
        Sale.objects.filter(pk=sale.pk).update(version=0)  # so that it can be deleted
        browser = cache(lambda rights: account(rights)[1])
        outside = [Client(), account(EVERY_RIGHT, is_active=False)[1], browser(EVERY_RIGHT)]
        User.objects.filter(pk=outside[2].session["_auth_user_id"]).update(is_staff=False)
        browser.cache_clear()
        for name, needs in (access.DESK | access.SALES).items():
            where = address(name, sale, order.id)
            assert opened(browser(needs), name, where), name
            without = [EVERY_RIGHT - {one} for one in needs] if name in access.DESK else [EVERY_RIGHT - needs]
            for rights in (*without, frozenset()):
                assert not opened(browser(rights), name, where), (name, sorted(EVERY_RIGHT - rights))
            assert [opened(stranger, name, where) for stranger in outside] == [False] * 3, name

    await asyncio.to_thread(work)


async def test_no_right_about_sales_opens_accounts_and_some_pages_are_for_all_the_staff(transactional_db: None) -> None:
    def work() -> None:
        all_rights, none = account(EVERY_RIGHT)[1], account(frozenset())[1]
        user, group = User.objects.create(username="victim"), Group.objects.create(name="victims")
        ids = {"auth_user": user.pk, "auth_group": group.pk}
        for name in BACK_OFFICE:
            model = next((one for one in access.ACCOUNTS if name.startswith(f"admin:{one}_")), None)
            if model:
                route = next(route for known, route, _ in patterns() if known == name)
                where = reverse(name, args=[ids.get(model, 1)] if "<" in route else [])
                # A row that is not there leads to the first page: no more is told of it.
                response = all_rights.get(where)
                assert response.status_code == 403 or response.headers.get("Location") == reverse("admin:index"), name
        for name in access.STAFF - {"admin:login", "admin:logout", "admin:app_list", "admin:view_on_site"}:
            assert opened(none, name, reverse(name)), name
            assert not opened(Client(), name, reverse(name)), name

    await asyncio.to_thread(work)


async def test_only_the_export_right_gives_no_name(on_sale: OnSale) -> None:
    sale = await on_sale()
    order = await bought(sale)

    def work() -> None:
        browser = account(frozenset({permissions.EXPORT_ORDERS, permissions.VIEW}))[1]
        for query in ("", "?format=csv", "?format=json", "?format=ndjson"):
            response = browser.get(reverse("desk:export", args=[sale.pk]) + query)
            assert response.status_code == 403 and order.shopper_name not in response.content.decode()

    await asyncio.to_thread(work)


@pytest.mark.parametrize("way", ["right", "group", "session", "password", *FLAGS])
async def test_what_is_taken_away_is_gone_with_the_next_request(
    client: httpx.AsyncClient, on_sale: OnSale, way: str
) -> None:
    sale = await on_sale()
    order = await bought(sale)
    group = await Group.objects.acreate(name=f"group-{secrets.token_hex(4)}")

    def begin() -> tuple[User, Client]:
        group.permissions.set(Permission.objects.filter(content_type__app_label="sales"))
        user, browser = account(EVERY_RIGHT if way != "group" else frozenset())
        user.groups.add(group)
        if way == "right":
            user.groups.clear()
        return user, browser

    def end(user: User) -> None:
        if way == "right":
            user.user_permissions.clear()
        elif way == "group":
            group.permissions.clear()
        elif way == "session":
            Session.objects.all().delete()
        elif way == "password":
            user.set_password("another")
            user.save()
        else:
            User.objects.filter(pk=user.pk).update(**{way: False})

    user, browser = await asyncio.to_thread(begin)
    figures = address("desk:live_data", sale, order.id)
    key = browser.cookies[settings.SESSION_COOKIE_NAME].value
    who = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={key}"}
    pages = {name: address(name, sale, order.id) for name in ("desk:live", "desk:control", "desk:export", "desk:order")}

    def which() -> set[str]:
        return {name for name, where in pages.items() if opened(browser, name, where)}

    assert (await client.get(figures, headers=who)).status_code == 200
    assert await asyncio.to_thread(which) == set(pages)
    await asyncio.to_thread(end, user)
    assert (await client.get(figures, headers=who)).status_code in (401, 403)
    assert await asyncio.to_thread(which) == set()


async def test_a_script_is_told_so_and_never_sent_to_sign_in(on_sale: OnSale) -> None:
    sale = await on_sale()
    order = await bought(sale)

    def work() -> None:
        asked = cycle(({"HX-Request": "true"}, {"X-Requested-With": "fetch"}, {"Accept": "application/json"}))
        outside = ((Client(), 401), (account(frozenset())[1], 403))
        for name in access.DESK.keys() - {"desk:live_data"}:
            for browser, status in outside:
                send, headers = browser.post if name in POSTED else browser.get, next(asked)
                response = send(address(name, sale, order.id), headers=headers)
                assert (response.status_code, response.content) == (status, b""), (name, headers)
                assert response.headers["HX-Refresh"] == "true"

    await asyncio.to_thread(work)


def test_the_table_in_the_docs_is_the_table() -> None:
    text = (BASE_DIR / "docs" / "reference" / "access.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    written = {}
    for line in lines:
        _, names, rights, _, _ = (part.strip() for part in line.split("|"))
        for name in names.replace("`", "").split(", "):
            written[name] = frozenset(rights.replace("`", "").replace(" or ", ", ").split(", "))
    assert written == {name.split(":")[1]: needs for name, needs in (access.DESK | access.SALES).items()}
