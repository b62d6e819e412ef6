"""The JSON API about products; the contract is docs/reference/api.md. Served from the board."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase

from flashdrop.api import api
from sales.board import current_board
from sales.views import from_board, not_ready


@api("GET", at_once=True)
async def products(request: HttpRequest) -> HttpResponseBase:
    """The published sales' products."""
    board = await current_board()
    if not board.is_known or not (board.by_sku or board.knows_what_is_on_show):
        return not_ready(request)
    return board.products.response(request)


@api("GET", at_once=True)
async def product(request: HttpRequest, sku: str) -> HttpResponseBase:
    """One product."""
    return await from_board(request, sku, lambda showing: showing.product)


@api("GET", at_once=True)
async def sale_status(request: HttpRequest, sku: str) -> HttpResponseBase:
    """The sale's phase and stock, with the gate's clock."""
    now = (await current_board()).now()
    return await from_board(request, sku, lambda showing: showing.status(now))


@api("GET", at_once=True)
async def stock(request: HttpRequest, sku: str) -> HttpResponseBase:
    """The stock alone."""
    return await from_board(request, sku, lambda showing: showing.stock)
