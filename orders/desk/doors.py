"""Who may enter: what shows orders shows shoppers' names, so every page needs the right to see them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

from sales import permissions
from sales.desk.page import View, desk_page, may

AWAY = "The ledger can't be asked right now, so we don't know. Please try again in a moment."


def orders_page(permission: str, *methods: str) -> Callable[[View], View]:
    """`desk_page` for those who may see orders and have `permission` too."""

    def decorated(view: View) -> View:
        @wraps(view)
        def page(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            if not may(request, permissions.VIEW_ORDERS):
                raise PermissionDenied
            return view(request, **kwargs)

        return desk_page(permission, *methods)(page)

    return decorated
