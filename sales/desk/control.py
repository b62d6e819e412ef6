"""The control page: how a sale stands, and what can be done to it now. Each control is confirmed before it is done."""

from __future__ import annotations

import secrets
from copy import copy
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.safestring import SafeString

from sales.backoffice import LedgerAway
from sales.desk import advice, consequences, controls, journal, local_time, standing, states
from sales.desk.controls import Action, AlreadySo, Ask, Refused
from sales.desk.local_time import BadTime
from sales.desk.page import desk_page, frame
from sales.desk.standing import Standing
from sales.desk.time_fields import READING, WallTimeField, WallTimeInput, ZoneSelect
from sales.models import MAX_STOCK, Sale

MAX_MINUTES = 7 * 24 * 60
EXTENSIONS = (5, 15, 60)
LATELY = 8
# What a question carries over to its answer.
KEPT = ("do", "units", "minutes", "at", f"at{READING}", "time_zone")


class AskForm(forms.Form):
    """What was asked, in the words of a form; `ask` has it in ours."""

    do = forms.ChoiceField(choices=[(action, action) for action in Action])
    units = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_STOCK,
        error_messages={
            "min_value": "Give a number of units above zero.",
            "max_value": f"A sale has at most {MAX_STOCK:,} units.",
            "invalid": "Give the number of units in digits.",
        },
    )
    minutes = forms.IntegerField(required=False, min_value=1, max_value=MAX_MINUTES)
    at = WallTimeField(required=False)
    time_zone = forms.CharField(required=False, max_length=100)
    seen = forms.CharField(required=False, max_length=100)
    token = forms.CharField(required=False, max_length=64)
    reason = forms.CharField(required=False, max_length=500)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        action = cleaned.get("do")
        if action in (Action.RAISE, Action.LOWER, Action.SET_STOCK) and not self.errors and not cleaned["units"]:
            raise forms.ValidationError("Say how many units.")
        if action == Action.EXTEND and not self.errors and not cleaned["minutes"]:
            raise forms.ValidationError("Say by how many minutes.")
        if cleaned.get("at"):
            try:
                cleaned["at"] = local_time.settle(cleaned["at"], local_time.known_zone(cleaned.get("time_zone")))
            except BadTime as error:
                raise forms.ValidationError(str(error)) from error
        return cleaned

    def ask(self) -> Ask:
        found = self.cleaned_data
        return Ask(
            action=Action(found["do"]),
            units=found["units"] or 0,
            minutes=found["minutes"] or 0,
            at=found["at"] or None,
            seen=found["seen"],
            reason=found["reason"].strip(),
            token=found["token"],
        )

    def said(self) -> str:
        """What is wrong, in one line."""
        return " ".join(str(text) for errors in self.errors.values() for text in errors)


@desk_page("desk:control", "GET", "POST")
def control(request: HttpRequest, sale: Sale) -> HttpResponse:
    """The page; with `?do=` the confirmation of one control; by POST, doing it."""
    if request.method == "POST":
        return _do(request, sale, AskForm(request.POST))
    if "do" in request.GET:
        return _confirm(request, sale, AskForm(request.GET))
    now = standing.look(sale)
    if request.headers.get("HX-Request"):
        return render(request, "desk/_standing.html", {"sale": sale, **_figures(sale, now)})
    return render(request, "desk/control.html", frame(request, "Control", sale, "control", **_page(request, sale, now)))


def _figures(sale: Sale, now: Standing) -> dict[str, Any]:
    # The brake holds until the settings that let it go are published.
    is_resuming = now.brake is not None and not sale.paused and sale.knows_brake == now.brake.name
    return {"standing": now, "state": states.state_of(sale, now.now, now.levels), "is_resuming": is_resuming}


def _page(request: HttpRequest, sale: Sale, now: Standing) -> dict[str, Any]:
    zone = local_time.known_zone(request.COOKIES.get(local_time.COOKIE))
    return _figures(sale, now) | {
        "is_over": now.now >= sale.closes_at,
        "has_opened": now.now >= sale.opens_at,
        "extensions": EXTENSIONS,
        "end_at": _end_input(max(sale.closes_at, _next_minute(now.now)), zone),
        "zone_select": ZoneSelect().render("time_zone", zone, {"id": "id_time_zone"}),
        "now_ms": int(now.now.timestamp() * 1000),
        "entries": journal.entries(sale, limit=LATELY),
    }


def _end_input(at: datetime, zone: str) -> SafeString:
    widget = WallTimeInput()
    widget.zone = zone
    return widget.render("at", at, {"id": "id_at", "required": True})


def _next_minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _confirm(request: HttpRequest, sale: Sale, form: AskForm, error: str = "", status: int = 200) -> HttpResponse:
    if not form.is_valid():
        return _back(request, sale, messages.ERROR, f"Nothing was done. {form.said()}")
    ask, now = form.ask(), standing.look(sale)
    try:
        # Only what is certain now refuses already; the units taken are looked at again when it is done.
        values = controls.plan(sale, ask, now.now, lambda: now.taken or 0, is_stopped=now.is_stopped)
    except (Refused, AlreadySo) as reason:
        return _refused(request, sale, reason)
    heading, button = consequences.HEADINGS[ask.action]
    context = frame(
        request,
        heading,
        sale,
        "control",
        ask=ask,
        kept=[(name, form.data[name]) for name in KEPT if form.data.get(name)],
        seen=ask.seen or controls.seen_now(sale, ask.action),
        token=ask.token or secrets.token_hex(12),
        button=button,
        consequences=consequences.consequences(sale, ask.action, values, now),
        warnings=_warnings(sale, values, now),
        needs_reason=controls.needs_reason(sale, ask),
        is_harsh=ask.action in (Action.PAUSE, Action.CLOSE, Action.WITHDRAW),
        error=error,
    )
    return render(request, "desk/control_confirm.html", context, status=status)


def _warnings(sale: Sale, values: dict[str, Any], now: Standing) -> list[str]:
    """What may be a slip, of what comes with `values`."""
    before, after = sale.settings(), copy(sale)
    for name, value in values.items():
        setattr(after, name, value)
    return [warning.text for warning in advice.unanswered(after, now.now, before)]


def _do(request: HttpRequest, sale: Sale, form: AskForm) -> HttpResponse:
    if not form.is_valid():
        return _back(request, sale, messages.ERROR, f"Nothing was done. {form.said()}")
    ask = form.ask()
    if controls.needs_reason(sale, ask) and not ask.reason:
        return _confirm(request, sale, form, "Say why, in a few words: it goes into the log.", status=400)
    try:
        # Who stops a sale does not wait for a look at the stores.
        now = timezone.now() if ask.action is Action.PAUSE else standing.look(sale).now
        found = controls.carry_out(sale, ask, request.user, now)
    except (Refused, AlreadySo) as reason:
        return _refused(request, sale, reason)
    except LedgerAway:
        text = "Nothing was done: the stores can't be asked how many units are sold. Please try again in a moment."
        return _back(request, sale, messages.ERROR, text)
    for said in found.messages:
        messages.add_message(request, said.level, said.text)
    done = controls.DONE[ask.action]
    if found.in_force:
        return _back(
            request,
            sale,
            messages.SUCCESS,
            f"{done}. It holds from the next order on; shoppers see it within a second.",
        )
    warning = f"{done} here, but not in force yet."
    if ask.action is Action.PAUSE:
        warning += (
            " The gate did not take it from here: where it can be reached, orders may still be taken. "
            f"On a host that reaches Redis, `manage.py pause_sale {sale.sku}` stops them."
        )
    return _back(request, sale, messages.WARNING, warning)


def _refused(request: HttpRequest, sale: Sale, reason: Refused | AlreadySo) -> HttpResponse:
    if isinstance(reason, AlreadySo):
        return _back(request, sale, messages.INFO, f"{reason} Nothing was changed.")
    return _back(request, sale, messages.ERROR, f"Nothing was done. {reason}")


def _back(request: HttpRequest, sale: Sale, level: int, text: str) -> HttpResponse:
    messages.add_message(request, level, text)
    return redirect("desk:control", sale_id=sale.pk)
