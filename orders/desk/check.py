"""Go or no-go: what is looked at before a sale opens, with lights, and what to do."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from orders.readiness.in_force import Row
from orders.readiness.readiness import check as look
from sales.desk import journal
from sales.desk.page import desk_page, frame
from sales.models import Sale

MAX_SHOPPERS = 10_000_000


@desk_page("desk:check")
def check(request: HttpRequest, sale: Sale) -> HttpResponse:
    """The page: a verdict, a line for each thing, and the number of shoppers that is compared."""
    context = frame(request, "Go / no-go", sale, tab="check", **_found(request, sale))
    return render(request, "desk/check.html", context)


@desk_page("desk:check_lines")
def lines(request: HttpRequest, sale: Sale) -> HttpResponse:
    """The part of the page that is looked at anew every ten seconds."""
    return render(request, "desk/_check_lines.html", {"sale": sale, **_found(request, sale)})


def _found(request: HttpRequest, sale: Sale) -> dict[str, Any]:
    shoppers = _number(request.GET.get("shoppers", ""))
    query = f"?shoppers={shoppers}" if shoppers else ""
    return {
        "verdict": look(Row(sale.settings(), sale.needs_publishing), journal.entries(sale), shoppers),
        "shoppers": shoppers,
        "lines_url": reverse("desk:check_lines", args=[sale.pk]) + query,
    }


def _number(text: str) -> int | None:
    digits = text.replace(",", "").replace(" ", "").replace(".", "")
    if not digits.isascii() or not digits.isdigit() or len(digits) > len(str(MAX_SHOPPERS)):
        return None
    return min(int(digits), MAX_SHOPPERS) or None
