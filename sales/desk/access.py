"""Who may open what in the back office: one table, by which its pages are guarded.

A page of the desk asks for its name here (`sales.desk.page.desk_page`), and one that is not here can't be made. What it
says holds for every request: nothing is remembered of who asked before. What shows orders shows shoppers' names, so
that each such page needs the right to see them, whatever else it needs. The pages below `admin:` are Django's own,
which guards them by the same permissions; they stand here so that the table is whole, and a test holds all to it.
"""

from __future__ import annotations

from importlib import import_module

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.db import close_old_connections
from django.http import HttpRequest

from flashdrop.readable import NUL
from sales.permissions import (
    ADD,
    CANCEL_ORDERS,
    CHANGE,
    CONTROL,
    DELETE,
    EXPORT_ORDERS,
    FULFIL_ORDERS,
    REHEARSE,
    VIEW,
    VIEW_ORDERS,
)  # fmt: skip

Needs = frozenset[str]
CANCELLING, FULFILLING = frozenset({VIEW_ORDERS, CANCEL_ORDERS}), frozenset({VIEW_ORDERS, FULFIL_ORDERS})

# Staff who are signed in and have all of these, of `sales.permissions`.
DESK: dict[str, Needs] = {
    "desk:control": frozenset({CONTROL}),
    "desk:preview": frozenset({VIEW}),
    "desk:preview_page": frozenset({VIEW}),
    "desk:check": frozenset({VIEW}),
    "desk:check_lines": frozenset({VIEW}),
    "desk:rehearsal": frozenset({REHEARSE}),
    "desk:rehearsal_progress": frozenset({REHEARSE}),
    "desk:live": frozenset({VIEW}),
    "desk:live_data": frozenset({VIEW}),
    "desk:report": frozenset({VIEW}),
    "desk:orders": frozenset({VIEW_ORDERS}),
    "desk:sale_orders": frozenset({VIEW_ORDERS}),
    "desk:order": frozenset({VIEW_ORDERS}),
    "desk:export": frozenset({VIEW_ORDERS, EXPORT_ORDERS}),
    "desk:cancel_order": CANCELLING,
    "desk:cancel_list": CANCELLING,
    "desk:cancel_confirm": CANCELLING,
    "desk:cancel_run": CANCELLING,
    "desk:cancel_refused": CANCELLING,
    "desk:fulfil_order": FULFILLING,
    "desk:reopen_order": FULFILLING,
    "desk:fulfil_list": FULFILLING,
    "desk:fulfil_confirm": FULFILLING,
    "desk:fulfil_run": FULFILLING,
    "desk:fulfil_refused": FULFILLING,
}
# Django's pages about sales: staff who have any of these.
SALES: dict[str, Needs] = {
    "admin:sales_sale_changelist": frozenset({VIEW, CHANGE}),
    "admin:sales_sale_add": frozenset({ADD}),
    "admin:sales_sale_change": frozenset({VIEW, CHANGE}),  # saving it: CHANGE
    "admin:sales_sale_history": frozenset({VIEW, CHANGE}),
    "admin:sales_sale_delete": frozenset({DELETE}),  # of a draft; no role has it
}
# Everybody of the staff; only `login` is for others too.
STAFF = frozenset(
    f"admin:{name}"
    for name in (
        "index",
        "login",
        "logout",
        "password_change",
        "password_change_done",
        "jsi18n",
        "app_list",
        "view_on_site",
    )
)
# Administrators: no permission of `sales.permissions` opens Django's pages about these.
ACCOUNTS = frozenset({"auth_user", "auth_group", "axes_accessattempt", "axes_accesslog", "axes_accessfailurelog"})


class SignedOut(Exception):
    """Nobody of the staff is signed in there."""


def may_open(request: HttpRequest, page: str) -> bool:
    """Whether whoever asks may open the page with that name."""
    has = [request.user.has_perm(f"sales.{permission}") for permission in DESK.get(page) or SALES[page]]
    return all(has) if page in DESK else any(has)


async def admits(request: HttpRequest, page: str) -> bool:
    """`may_open`, for a hot view: without Django's middleware, which would cost more than what is asked for.

    Raises:
        SignedOut: nobody of the staff is signed in there.
    """
    session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "").replace(NUL, "")
    found = await sync_to_async(_may_open)(session_key, page) if session_key else None
    if found is None:
        raise SignedOut
    return found


def _may_open(session_key: str, page: str) -> bool | None:
    """None: nobody of the staff."""
    # No request begins here, so nobody else looks whether the connection has survived the database.
    close_old_connections()
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    request.user = get_user(request)
    if not (request.user.is_active and request.user.is_staff):
        return None
    return may_open(request, page)
