"""The frame of the desk's pages: who may see one, and what stands around it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from sales.desk import access
from sales.models import Sale

View = Callable[..., HttpResponseBase]


class Tab(NamedTuple):
    """One of a sale's pages: its name, its label and its name in the URLconf."""

    name: str
    label: str
    url_name: str


TABS = (
    Tab("settings", "Settings", "admin:sales_sale_change"),
    Tab("preview", "Preview", "desk:preview"),
    Tab("check", "Go / no-go", "desk:check"),
    Tab("rehearsal", "Rehearsal", "desk:rehearsal"),
    Tab("control", "Control", "desk:control"),
    Tab("live", "Live", "desk:live"),
    Tab("orders", "Orders", "desk:sale_orders"),
    Tab("report", "Report", "desk:report"),
)


def desk_page(name: str, *methods: str) -> Callable[[View], View]:
    """Mark a synchronous view as the page of the desk with that name in the URLconf, for those whom `access` admits.

    Others are sent to sign in, or told 403; a script is told 401 instead of being sent, since it would take where it
    ends for an answer. `methods` are GET unless named. A `sale_id` in the path arrives as the row, `sale`; 404 where
    there is none.
    """
    access.DESK[name]  # a page without a line in the table is none

    def decorated(view: View) -> View:
        @wraps(view)
        def page(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            if not access.may_open(request, name):
                return _refused(request)
            if "sale_id" in kwargs:
                kwargs["sale"] = get_object_or_404(Sale, pk=kwargs.pop("sale_id"))
            return view(request, **kwargs)

        guarded = admin.site.admin_view(require_http_methods(methods or ("GET", "HEAD"))(page))

        @wraps(guarded)
        def entered(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            if _is_script(request) and not admin.site.has_permission(request):
                return _for_script(401)
            answer: HttpResponseBase = guarded(request, **kwargs)
            return answer

        entered.page = name  # type: ignore[attr-defined]
        return entered

    return decorated


def _is_script(request: HttpRequest) -> bool:
    return "HX-Request" in request.headers or "X-Requested-With" in request.headers or not request.accepts("text/html")


def _refused(request: HttpRequest) -> HttpResponse:
    if _is_script(request):
        return _for_script(403)
    raise PermissionDenied


def _for_script(status: int) -> HttpResponse:
    # What htmx keeps fresh shows the whole page instead, and with it why.
    return HttpResponse(status=status, headers={"HX-Refresh": "true", "Cache-Control": "no-store"})


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
        if access.may_open(request, tab.url_name)
    ]
