"""The frame of the desk's pages: who may see one, and what stands around it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from sales import permissions
from sales.models import Sale

View = Callable[..., HttpResponseBase]


class Tab(NamedTuple):
    """One of a sale's pages: its name, label, address and who may see it."""

    name: str
    label: str
    url_name: str
    permission: str


TABS = (
    Tab("settings", "Settings", "admin:sales_sale_change", permissions.VIEW),
    Tab("preview", "Preview", "desk:preview", permissions.VIEW),
    Tab("check", "Go / no-go", "desk:check", permissions.VIEW),
    Tab("rehearsal", "Rehearsal", "desk:rehearsal", permissions.REHEARSE),
    Tab("control", "Control", "desk:control", permissions.CONTROL),
    Tab("live", "Live", "desk:live", permissions.VIEW),
    Tab("orders", "Orders", "desk:sale_orders", permissions.VIEW_ORDERS),
    Tab("report", "Report", "desk:report", permissions.VIEW),
)


def desk_page(permission: str, *methods: str) -> Callable[[View], View]:
    """Mark a synchronous view as a page of the desk, for staff who have `permission` (of `sales.permissions`).

    Others are sent to sign in, or told 403. `methods` are GET unless named. A `sale_id` in the path arrives as the
    row, `sale`; 404 where there is none.
    """

    def decorated(view: View) -> View:
        @wraps(view)
        def page(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            if not may(request, permission):
                raise PermissionDenied
            if "sale_id" in kwargs:
                kwargs["sale"] = get_object_or_404(Sale, pk=kwargs.pop("sale_id"))
            return view(request, **kwargs)

        guarded: View = admin.site.admin_view(require_http_methods(methods or ("GET", "HEAD"))(page))
        return guarded

    return decorated


def may(request: HttpRequest, permission: str) -> bool:
    """Whether whoever asks has `permission`, one of `sales.permissions`."""
    return request.user.has_perm(f"sales.{permission}")


def frame(request: HttpRequest, title: str, sale: Sale | None = None, tab: str = "", **more: Any) -> dict[str, Any]:
    """The context of `desk/base.html`: the admin's own, the sale's tabs, and `more`."""
    return admin.site.each_context(request) | {
        "title": title,
        "sale": sale,
        "tabs": tabs(request, sale, tab) if sale is not None else [],
        **more,
    }


def tabs(request: HttpRequest, sale: Sale, current: str) -> list[dict[str, Any]]:
    """The sale's pages that this user may see: `label`, `url`, `is_current`."""
    return [
        {"label": tab.label, "url": reverse(tab.url_name, args=[sale.pk]), "is_current": tab.name == current}
        for tab in TABS
        if may(request, tab.permission)
    ]
