"""The shop floor's pages about a sale. All of them are served from the board, the same bytes for everyone."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext_noop as _

from flashdrop.api import page
from flashdrop.errors import handler404, plain_error
from flashdrop.languages import VARY, language_of, render
from flashdrop.prepared import Prepared
from sales.archive import shown
from sales.board import Board, current_board
from sales.reminder import calendar_file
from sales.showing import Showing


@page("GET", at_once=True)
async def home(request: HttpRequest) -> HttpResponseBase:
    """The sale that has the front page."""
    board = await current_board()
    showing = board.featured()
    if showing is not None:
        return showing.face(language_of(request)).page.response(request)
    if not board.is_known or board.doubts:
        return not_ready(request, board)
    response = HttpResponse(render("sales/none.html", {}, language_of(request)))
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Vary"] = VARY
    return response


@page("GET", at_once=True)
async def sale_page(request: HttpRequest, sku: str) -> HttpResponseBase:
    """A sale's page."""
    return await from_board(request, sku, lambda showing: showing.face(language_of(request)).page)


@page("GET", at_once=True)
async def banner(request: HttpRequest, sku: str) -> HttpResponseBase:
    """The banner alone, for pages whose socket is down."""
    return await from_board(request, sku, lambda showing: showing.face(language_of(request)).banner)


@page("GET")
async def reminder(request: HttpRequest, sku: str) -> HttpResponseBase:
    """The opening as a calendar file."""
    board = await current_board()
    showing = await shown(sku)
    if showing is None:
        return not_found(request, board)
    language = language_of(request)
    address = request.build_absolute_uri(reverse("sale", args=[sku]))
    response = HttpResponse(calendar_file(showing.sale, address, language), content_type="text/calendar; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{sku}.ics"'
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Vary"] = VARY
    return response


async def from_board(request: HttpRequest, sku: str, part: Callable[[Showing], Prepared]) -> HttpResponseBase:
    """One prepared part of a sale on show or archived, in the form the request accepts; else why there is none."""
    board = await current_board()
    showing = board.by_sku.get(sku) or await shown(sku)
    return part(showing).response(request) if showing else not_found(request, board)


def not_found(request: HttpRequest, board: Board) -> HttpResponse:
    """404 for a sale that is not on show; 503 while nobody knows which sales there are."""
    return handler404(request) if board.knows_every_sale else not_ready(request, board)


def not_ready(request: HttpRequest, board: Board) -> HttpResponse:
    """503: the stores have not been heard yet."""
    message = _("The shop is not ready yet. Please try again in a moment.")
    return plain_error(request, 503, "SALE_NOT_READY", message, retry_after_seconds=2)
