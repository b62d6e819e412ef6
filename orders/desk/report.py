"""The after-sale report: a page, a file to print or mail, and the figures as JSON."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header

from flashdrop.mongo_client import PyMongoError
from orders.desk.counting import StillCounting, counted
from orders.desk.report_figures import as_json
from orders.desk.report_telling import told
from orders.report import Report
from sales.desk import journal
from sales.desk.page import desk_page, frame
from sales.models import Sale

# A page says that it is being counted rather than keep somebody waiting; a program waits.
PAGE_PATIENCE = 1.0
FILE_PATIENCE = 25.0
STYLES = ("css/desk-report-file.css", "css/desk-chart.css", "css/desk-report.css")
ENTRIES = 200
log = logging.getLogger(__name__)


@desk_page("desk:report")
def report(request: HttpRequest, sale: Sale) -> HttpResponseBase:
    """The page; with `format=json` the figures, with `download=html` the file. `fresh` counts again."""
    is_json, is_file = request.GET.get("format") == "json", request.GET.get("download") == "html"
    patience = FILE_PATIENCE if is_json or is_file else PAGE_PATIENCE
    try:
        found = counted(sale.pk, patience, is_fresh="fresh" in request.GET)
    except StillCounting:
        return _json("COUNTING", 503) if is_json else _page(request, sale, None, "counting", refresh_seconds=2)
    except PyMongoError as error:
        log.warning("sale %s: no report, the ledger can't be asked: %s", sale.sku, error)
        return _json("LEDGER_AWAY", 503) if is_json else _page(request, sale, None, "away", status=503)
    if found is None:
        return _json("NEVER_PUBLISHED", 404) if is_json else _page(request, sale, None, "unpublished")
    if is_json:
        return JsonResponse(as_json(found, journal.entries(sale, limit=ENTRIES)))
    return _file(request, sale, found) if is_file else _page(request, sale, found, "counted")


def _page(
    request: HttpRequest, sale: Sale, found: Report | None, what: str, *, status: int = 200, refresh_seconds: int = 0
) -> HttpResponse:
    more = told(found, journal.entries(sale, limit=ENTRIES)) if found else {}
    context = frame(request, "Report", sale, "report", what=what, refresh_seconds=refresh_seconds, **more)
    return render(request, "desk/report.html", context, status=status)


def _file(request: HttpRequest, sale: Sale, found: Report) -> HttpResponse:
    context = {"sale": sale, "css": _styles(), **told(found, journal.entries(sale, limit=ENTRIES))}
    response = render(request, "desk/report_file.html", context)
    name = f"report-{sale.sku}-{found.counted_at:%Y-%m-%d-%H%M}Z.html"
    response.headers["Content-Disposition"] = content_disposition_header(True, name) or ""
    return response


def _json(code: str, status: int) -> JsonResponse:
    response = JsonResponse({"code": code}, status=status)
    if status == 503:
        response.headers["Retry-After"] = "5"
    return response


@cache
def _styles() -> str:
    """Our own style sheets as text: the file stands alone."""
    found = [finders.find(name) for name in STYLES]
    return "\n".join(Path(path).read_text(encoding="utf-8") for path in found if isinstance(path, str))
