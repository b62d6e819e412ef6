"""The page that gives a sale's orders as a file."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django import forms
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from orders import ledger_desk
from orders.export_stream import stream
from orders.exporting import COLUMNS, Export, Format
from orders.ledger_desk import OrderState, Wanted
from sales.desk import journal, words
from sales.desk.page import desk_page, frame
from sales.models import Sale

FORMATS = [
    (Format.CSV.value, "CSV, for Excel, Numbers and other spreadsheets"),
    (Format.JSON.value, "JSON, one document"),
    (Format.NDJSON.value, "JSON lines, one order per line, for very large sales"),
]
STATES = [
    ("", "All orders"),
    (OrderState.OPEN.value, "Open: sold, not yet fulfilled"),
    (OrderState.FULFILLED.value, "Fulfilled"),
    (OrderState.CANCELLED.value, "Cancelled"),
    (OrderState.RELEASED.value, "Given up: reserved, never confirmed"),
]
NAMES = {"since": "from", "until": "to"}
EXPORTS_SHOWN = 8
log = logging.getLogger(__name__)


class ExportForm(forms.Form):
    """What to put into the file. The names in the address are those of the orders list."""

    format = forms.ChoiceField(choices=FORMATS)
    state = forms.ChoiceField(choices=STATES, required=False)
    since = forms.DateTimeField(required=False)
    until = forms.DateTimeField(required=False)

    def add_prefix(self, field_name: str) -> str:
        return NAMES.get(field_name, field_name)

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        since, until = found.get("since"), found.get("until")
        if since and until and until <= since:
            self.add_error("until", "This is before the first time, so no order could match. Choose a later one.")
        return found

    def export(self, sale: Sale, at: datetime) -> Export:
        """What a valid form asks for. What is placed after `at` is left to the next file."""
        found = self.cleaned_data
        wanted = Wanted(
            sale_id=sale.pk,
            since=found["since"],
            until=min(found["until"] or at, at),
            state=OrderState(found["state"]) if found["state"] else None,
        )
        return Export(Format(found["format"]), wanted, sale.pk, sale.sku, sale.name, at)


@desk_page("desk:export", "GET")
def export(request: HttpRequest, sale: Sale) -> HttpResponseBase:
    """The choices; with `format`, the file itself."""
    if "format" not in request.GET:
        return _page(request, sale, ExportForm({**request.GET.dict(), "format": Format.CSV.value}))
    form = ExportForm(request.GET)
    if not form.is_valid():
        return _page(request, sale, form, status=400)
    wanted = form.export(sale, datetime.now(UTC))
    try:
        # Asked beforehand: once the file has begun, all that is left is to break off.
        loops.run(lambda: ledger_desk.read(""))
    except PyMongoError as error:
        log.warning("sale %s: no export, the ledger can't be asked: %s", sale.sku, error)
        return _page(request, sale, form, status=503, is_ledger_away=True)
    journal.note(request.user, sale, f"Began to export orders: {_described(wanted)}")
    response = StreamingHttpResponse(
        stream(wanted, partial(_note_end, request.user, sale)), content_type=wanted.form.content_type
    )
    response.headers["Content-Disposition"] = content_disposition_header(True, wanted.file_name) or ""
    response.headers["X-Accel-Buffering"] = "no"  # a proxy must not gather millions of rows first
    return response


async def _note_end(user: AbstractBaseUser | AnonymousUser, sale: Sale, how: str) -> None:
    def note() -> None:
        # No request begins or ends here, so nobody else looks after the connection.
        close_old_connections()
        try:
            journal.note(user, sale, how)
        finally:
            close_old_connections()

    await sync_to_async(note, thread_sensitive=False)()


def _page(
    request: HttpRequest, sale: Sale, form: ExportForm, *, status: int = 200, is_ledger_away: bool = False
) -> HttpResponse:
    context = frame(
        request,
        "Export orders",
        sale,
        "orders",
        form=form,
        is_ledger_away=is_ledger_away,
        columns=COLUMNS,
        exports=[entry for entry in journal.entries(sale) if "xport" in entry.action][:EXPORTS_SHOWN],
    )
    return render(request, "desk/export.html", context, status=status)


def _described(export: Export) -> str:
    wanted, parts = export.wanted, [export.form.value.upper()]
    parts.append(wanted.state.value if wanted.state else "all orders")
    if wanted.since:
        parts.append(f"from {words.moment(wanted.since)}")
    if wanted.until:
        parts.append(f"until {words.moment(wanted.until)}")
    return ", ".join(parts)
