"""What the pages about a viewer have in common: a partial for HTMX, a page or a redirect without it, kept by nobody."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django_htmx.middleware import HtmxDetails

from flashdrop.errors import payload_too_large, plain_error
from flashdrop.headers import is_same_origin
from flashdrop.languages import VARY, language_of, render
from flashdrop.lean import MAX_BODY_BYTES
from flashdrop.responses import Head, LeanResponse
from orders import notices
from orders.answers import CROSS_SITE, HISTORY_UNKNOWN, Answer
from orders.notices import Notice
from sales.showing import Showing

PRIVATE = {"Cache-Control": "private, no-store", "Vary": f"HX-Request, HX-History-Restore-Request, {VARY}"}


def wants_partial(request: HttpRequest) -> bool:
    """Whether HTMX asks for a part. When it restores its history it asks for the whole page, and says both."""
    details = HtmxDetails(request)
    return bool(details) and not details.history_restore_request


def answer(
    request: HttpRequest, showing: Showing, text: str, status: int, notice: Notice | None = None
) -> HttpResponse:
    """The panel for HTMX; for a plain form, a redirect to the panel's page, which tells the `notice` once."""
    if wants_partial(request):
        return panel_answer(request, showing, text, status)
    sku = showing.sale.sku
    address = reverse("me", args=[sku])
    response = redirect(address)
    if notice:
        notices.remember(response, sku, address, notice, request.is_secure())
    return response


def panel_answer(
    request: HttpRequest, showing: Showing, text: str, status: int = 200, *, is_pending: bool = False
) -> HttpResponse:
    if not wants_partial(request):
        face = showing.face(language_of(request))
        context = {**face.context, "banner": face.banner_html, "me": text}
        return html(request, "orders/me.html", context | {"is_pending": is_pending}, status)
    return LeanResponse(_panel_head(status), text.encode())


@cache
def _panel_head(status: int) -> Head:
    return Head(status, {"Content-Type": "text/html; charset=utf-8"} | PRIVATE)


def html(request: HttpRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    return private(HttpResponse(render(template, context, language_of(request)), status=status))


def history_unknown(request: HttpRequest) -> HttpResponse:
    return later(request, HISTORY_UNKNOWN)


def later(request: HttpRequest, told: Answer) -> HttpResponse:
    """A store is away, so that the same has to be asked for again."""
    return plain_error(request, told.status, "SALE_NOT_READY", told.message, told.retry_after_seconds)


def redirect(address: str) -> HttpResponse:
    return private(HttpResponseRedirect(address, status=303))


def private(response: HttpResponse) -> HttpResponse:
    for name, value in PRIVATE.items():
        response.headers[name] = value
    return response


def refuse_form(request: HttpRequest) -> HttpResponse | None:
    if not is_same_origin(request):
        return plain_error(request, CROSS_SITE.status, "CROSS_SITE", CROSS_SITE.message)
    if len(request.body) > MAX_BODY_BYTES:
        return payload_too_large(request)
    return None
