"""The form of a sale's settings: prices and times as people write them, and nothing of a colleague's overwritten."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.http import QueryDict
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sales import backoffice
from sales.backoffice import LedgerAway
from sales.desk import edits, guards, local_time, price, standing
from sales.desk.edits import Conflict
from sales.desk.guards import Question
from sales.desk.local_time import BadTime, Reading
from sales.desk.time_fields import READING, WallTimeField, ZoneSelect
from sales.models import MAX_PRICE_MINOR, Sale
from sales.published import SaleSettings

if TYPE_CHECKING:  # Django's own class takes no parameter at run time
    SaleModelForm = forms.ModelForm[Sale]
else:
    SaleModelForm = forms.ModelForm

TIMES = ("opens_at", "closes_at")
SWITCHES = ("guests_allowed", "published", "paused")
QUICK_LENGTHS = (("15 min", 900), ("30 min", 1800), ("1 h", 3600), ("2 h", 7200), ("24 h", 86400))


def _hint(field: str, says: str) -> SafeString:
    return format_html('<output class="desk-hint" data-moment="id_{}" data-says="{}"></output>', field, says)


def _lengths() -> SafeString:
    buttons = format_html_join(
        " ", '<button type="button" class="desk-length" data-lasts="{1}">{0}</button>', QUICK_LENGTHS
    )
    return format_html('<span class="desk-lengths" hidden>Make it last {}</span>', buttons)


class SaleForm(SaleModelForm):
    """A sale's settings. `zone` is the clock that times are first shown on.

    After a refusal `conflict` holds what a colleague changed, `question` what has to be answered before this is saved.
    """

    zone = local_time.UTC_NAME

    price = forms.CharField(
        max_length=30,
        help_text="What one unit costs, such as 129.00. Yen and the like have no decimals: 13000.",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "placeholder": "129.00", "autocomplete": "off"}),
    )
    time_zone = forms.ChoiceField(
        choices=local_time.zone_choices,
        widget=ZoneSelect,
        required=False,
        help_text="The times below are on this place's clock. Changing it moves nothing: the same moments are shown.",
    )
    opens_at = WallTimeField(label="Opens")
    closes_at = WallTimeField(label="Closes")
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    # Shown beside the question that they answer: templates/desk/_question.html.
    confirmed = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)
    reason = forms.CharField(required=False, max_length=500, widget=forms.HiddenInput)

    class Meta:
        model = Sale
        exclude = ("price_minor",)
        labels = {
            "sku": "Web address (SKU)",
            "image_url": "Picture",
            "stock": "Units on sale",
            "limit_per_shopper": "Most that one shopper may buy",
            "guests_allowed": "Guests may buy without giving a name",
            "published": "Published",
            "paused": "Paused",
        }
        help_texts = {
            "sku": "Shoppers find the sale at /sales/<b>this</b>/. Small letters, digits and hyphens. "
            "It can't be changed once the sale is published.",
            "name": "The headline of the shop page.",
            "description": "What shoppers read below the headline. Plain text.",
            "image_url": "An https:// address, or a path on this site such as /static/img/demo.svg. May be left out.",
            "currency": "Three letters, such as EUR, USD or JPY. Fixed once published.",
            "stock": "Never more than these are sold. You can raise it while the sale runs.",
            "limit_per_shopper": "Usually 1.",
            "guests_allowed": "Guests give no name, so the limit only holds per browser.",
            "published": "Shoppers see the sale, and can buy while it is open. Without this it is a draft.",
            "paused": "Nobody can buy until you take this off again. While a sale runs, the Control page is quicker.",
        }
        widgets = {
            "sku": forms.TextInput(
                attrs={"placeholder": "lamp-01", "autocapitalize": "none", "spellcheck": "false", "class": "vTextField"}
            ),
            "name": forms.TextInput(attrs={"placeholder": "Bolt desk lamp", "class": "vTextField"}),
            "currency": forms.TextInput(attrs={"size": "4", "autocapitalize": "characters"}),
            "image_url": forms.TextInput(attrs={"placeholder": "https://…", "class": "vTextField"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conflict: Conflict | None = None
        self.question: Question | None = None
        # As it stands in the table: for the log, and for telling whose change is whose.
        self.before = None if self.instance._state.adding else self.instance.settings()
        self.initial["time_zone"] = self.zone
        for name in TIMES:
            if name in self.fields:
                self.fields[name].widget.zone = self.zone
        amount = self.initial.pop("price_minor", None if self.before is None else self.before.price_minor)
        if amount is not None:
            self.initial["price"] = price.plain(amount, self.initial.get("currency") or self.instance.currency)
        if self.before is not None:
            self.initial["seen"] = edits.written(self.instance)
        now_ms = int(timezone.now().timestamp() * 1000)
        for name, says in (("opens_at", "opens"), ("closes_at", "lasts")):
            if name in self.fields:
                more = _lengths() if name == "closes_at" else ""
                self.fields[name].help_text = format_html("{}{}", _hint(name, says), more)
                self.fields[name].widget.attrs["data-now"] = now_ms

    def clean_time_zone(self) -> str:
        return local_time.known_zone(self.cleaned_data.get("time_zone"))

    @property
    def seen_settings(self) -> SaleSettings | None:
        """The sale as the page was made from it."""
        seen = edits.read(self.cleaned_data.get("seen", ""))
        return seen.settings if seen else None

    def full_clean(self) -> None:
        """The question comes last, when there is nothing else to correct."""
        super().full_clean()
        if self.is_bound and not self.errors:
            self._ask()

    def _ask(self) -> None:
        current = self.instance if self.before is None else self._current()
        if self.before is None:
            self.question = guards.question_for_new(self.instance, timezone.now())
        elif self.instance.settings() != current.settings():
            self.question = guards.question(current, self.instance, partial(standing.look, current))
        if self.question is None:
            return
        if self.cleaned_data["confirmed"] != self.question.key:
            self.add_error(None, "Nothing is saved yet. Read the top of the page, and say that you mean it.")
        elif self.question.needs_reason and not self.cleaned_data["reason"].strip():
            self.add_error(None, "Nothing is saved yet. Say why, in a few words: it goes into the log.")
        else:
            self.question = None

    def clean(self) -> dict[str, Any]:
        super().clean()  # or nobody looks whether the SKU is taken
        self._clean_sku()
        self._clean_times()
        self._clean_price()
        if self.before is not None:
            self._refuse_blind_overwriting()
            self._clean_stock()
        cleaned: dict[str, Any] = self.cleaned_data
        return cleaned

    def _clean_times(self) -> None:
        zone = self.cleaned_data.get("time_zone") or local_time.UTC_NAME
        for name in TIMES:
            entered = self.cleaned_data.get(name)
            if entered is None:
                continue
            try:
                self.cleaned_data[name] = local_time.settle(entered, zone, getattr(self.seen_settings, name, None))
            except BadTime as error:
                self.add_error(name, str(error))

    def _clean_sku(self) -> None:
        sku = self.cleaned_data.get("sku")
        if sku and (self.before is None or sku != self.before.sku) and backoffice.is_sku_taken(sku, self.instance.pk):
            self.add_error("sku", "The ledger already has another sale under this SKU. Choose a different one.")

    def _clean_price(self) -> None:
        currency = self.cleaned_data.get("currency") or self.instance.currency
        if "price" not in self.cleaned_data or "currency" in self.errors:
            return
        try:
            amount = price.to_minor(self.cleaned_data["price"], currency)
        except price.BadPrice as error:
            self.add_error("price", str(error))
            return
        if amount > MAX_PRICE_MINOR:
            self.add_error("price", "That price is higher than this shop can sell for.")
            return
        self.instance.price_minor = amount

    def _refuse_blind_overwriting(self) -> None:
        assert self.before is not None
        seen = edits.read(self.cleaned_data.get("seen", ""))
        if seen is None:
            raise forms.ValidationError(
                "This page was incomplete. Nothing is saved. Please load it anew and try again."
            )
        wanted, mine = self._wanted(), set()
        for name in asdict(wanted):
            typed = "price" if name == "price_minor" else name
            if typed in self.errors or (typed in self.fields and getattr(wanted, name) != getattr(seen.settings, name)):
                mine.add(name)
        current = self._current()
        self.conflict = edits.conflict(seen, current, wanted, mine)
        if self.conflict is None:
            return
        self._take_theirs_where_mine_is_untouched(current, mine)
        raise forms.ValidationError(
            f"Nothing is saved yet: {self.conflict.by} changed this sale while you were editing. "
            "At the top of the page stands what changed: save again, or take theirs."
        )

    def _wanted(self) -> Any:
        assert self.before is not None
        known = asdict(self.before)
        typed = {name: value for name, value in self.cleaned_data.items() if name in known}
        return replace(self.before, **typed, price_minor=self.instance.price_minor)

    def _current(self) -> Sale:
        """The row as it is, which `instance` is about to stop being; looked at again when it is saved."""
        return Sale.objects.get(pk=self.instance.pk)

    def _take_theirs_where_mine_is_untouched(self, current: Sale, mine: set[str]) -> None:
        """The form comes back with both people's changes in it, so that saving again undoes nothing by accident."""
        assert isinstance(self.data, QueryDict)
        data = self.data.copy()
        zone, settings = self.cleaned_data.get("time_zone") or local_time.UTC_NAME, current.settings()
        for name, value in asdict(settings).items():
            if name in mine:
                continue
            if name in SWITCHES:
                data.pop(name, None)
                if value:
                    data[name] = "on"
            elif name in TIMES:
                data[name] = text = local_time.shown(value, zone)
                data[f"{name}{READING}"] = str(Reading(value, zone, local_time.typed(text)))
            elif name == "price_minor":
                data["price"] = price.plain(value, settings.currency)
            else:
                data[name] = str(value)
        data["seen"] = edits.written(current)
        self.data = data

    def _clean_stock(self) -> None:
        assert self.before is not None
        wanted = self.cleaned_data.get("stock")
        if wanted is None or not self.instance.version or wanted == self.before.stock:
            return  # nothing to ask the stores about: a pause must work while they are away
        try:
            taken = backoffice.units_taken(self.instance)
        except LedgerAway:
            self.add_error("stock", "The stores can't be asked how many units are sold. Please try again in a moment.")
            return
        if wanted < taken:
            self.add_error(
                "stock", f"{taken:,} units are already sold or reserved, so the stock can't go below {taken:,}."
            )


def defaults(now: datetime) -> dict[str, Any]:
    """What a new sale starts from: the next full hour, for an hour."""
    opens_at = local_time.next_full_hour(now)
    return {"opens_at": opens_at, "closes_at": opens_at + timedelta(hours=1), "currency": "EUR", "limit_per_shopper": 1}
