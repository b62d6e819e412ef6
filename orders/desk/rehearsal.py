"""Rehearsal: a hidden copy of the sale, bought by test shoppers while the merchandiser watches."""

from __future__ import annotations

import logging

from django import forms
from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, close_old_connections
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from orders.readiness.rehearsed import noted
from orders.rehearsal import rehearsing
from orders.rehearsal.record import Plan, Record
from orders.rehearsal.rehearsing import MAX_SHOPPERS, MAX_UNITS, MIN_UNITS, AnotherRuns, StoresAway
from sales.desk import journal
from sales.desk.page import desk_page, frame
from sales.models import Sale

AWAY = "The stores can't be reached, so nothing can be rehearsed now. Look at Go / no-go, and try again in a moment."
log = logging.getLogger(__name__)


class PlanForm(forms.Form):
    """How many test shoppers for how many units."""

    shoppers = forms.IntegerField(
        label="Test shoppers", min_value=MIN_UNITS + 1, max_value=MAX_SHOPPERS, help_text=f"At most {MAX_SHOPPERS}."
    )
    units = forms.IntegerField(
        label="Units in the copy", min_value=MIN_UNITS, max_value=MAX_UNITS, help_text=f"At most {MAX_UNITS}."
    )

    def clean(self) -> dict[str, int]:
        found = super().clean() or {}
        if "shoppers" in found and "units" in found and found["shoppers"] <= found["units"]:
            self.add_error("shoppers", "Give more shoppers than units, so that the copy sells out.")
        return found


@desk_page("desk:rehearsal", "GET", "HEAD", "POST")
def rehearsal(request: HttpRequest, sale: Sale) -> HttpResponse:
    """The plan, and how the last rehearsal goes or went; POST begins one."""
    if request.method == "POST":
        form = PlanForm(request.POST)
        if form.is_valid():
            _begin(request, sale, Plan(**form.cleaned_data))
            return redirect("desk:rehearsal", sale.pk)
    else:
        plan = rehearsing.default_plan(sale.stock)
        form = PlanForm(initial={"shoppers": plan.shoppers, "units": plan.units})
    context = frame(request, "Rehearsal", sale, tab="rehearsal", form=form, **_last(sale))
    return render(request, "desk/rehearsal.html", context, status=400 if form.errors else 200)


@desk_page("desk:rehearsal_progress")
def progress(request: HttpRequest, sale: Sale) -> HttpResponse:
    """How the rehearsal goes: the part of the page that is asked for again and again."""
    return render(request, "desk/_rehearsal_progress.html", {"sale": sale, **_last(sale)})


def _begin(request: HttpRequest, sale: Sale, plan: Plan) -> None:
    user = request.user
    try:
        rehearsing.start(sale.settings(), plan, user.get_username(), lambda record: _note(user, sale, record))
    except AnotherRuns:
        messages.warning(request, "A rehearsal is under way already, of this sale or another. Try again in a minute.")
    except StoresAway:
        messages.error(request, AWAY)


def _note(user: AbstractBaseUser | AnonymousUser, sale: Sale, record: Record) -> None:
    """Into the audit log, from the rehearsal's own thread."""
    try:
        journal.note(user, sale, noted(record.state, record.summary))
    except DatabaseError:
        log.exception("the rehearsal of sale %s is not in the audit log", sale.sku)
    finally:
        close_old_connections()


def _last(sale: Sale) -> dict[str, Record | str | None]:
    try:
        return {"record": rehearsing.last(sale.pk), "away": ""}
    except StoresAway:
        return {"record": None, "away": AWAY}
