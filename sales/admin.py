"""The merchandisers' desk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from sales import backoffice
from sales.backoffice import LedgerAway, SkuTaken
from sales.models import Sale

if TYPE_CHECKING:  # Django's own classes take no parameter at run time
    SaleModelForm = forms.ModelForm[Sale]
    SaleModelAdmin = admin.ModelAdmin[Sale]
else:
    SaleModelForm, SaleModelAdmin = forms.ModelForm, admin.ModelAdmin

admin.site.site_header = "Flashdrop back office"
admin.site.site_title = "Flashdrop"
admin.site.index_title = "Sales and accounts"

FIXED_ONCE_PUBLISHED = ("sku", "currency")


class SaleForm(SaleModelForm):
    """Checks what only the stores can answer."""

    class Meta:
        model = Sale
        fields = "__all__"

    def clean_stock(self) -> int:
        wanted: int = self.cleaned_data["stock"]
        if not self.instance.version or "stock" not in self.changed_data:
            return wanted  # nothing to ask the stores about: a pause must work while they are away
        try:
            taken = backoffice.units_taken(self.instance)
        except LedgerAway as error:
            raise forms.ValidationError(
                "The stores can't be asked how many units are sold. Please try again in a moment."
            ) from error
        if wanted < taken:
            raise forms.ValidationError(
                f"{taken:,} units are already sold or reserved, so the stock can't go below {taken:,}."
            )
        return wanted


@admin.register(Sale)
class SaleAdmin(SaleModelAdmin):
    """Scheduling, changing and pausing a sale. Saving a published sale puts it in force at once."""

    form = SaleForm
    list_display = ("name", "sku", "state", "opens_at", "closes_at", "stock", "limit_per_shopper", "on_site")
    list_filter = ("published", "paused")
    search_fields = ("name", "sku")
    date_hierarchy = "opens_at"
    save_on_top = True
    fieldsets = (
        ("Product", {"fields": ("sku", "name", "description", "image_url", ("price_minor", "currency"))}),
        ("Stock", {"fields": (("stock", "limit_per_shopper"), "guests_allowed")}),
        (
            "Window",
            {
                "fields": (("opens_at", "closes_at"),),
                "description": "All times are UTC. A change holds from the very next order.",
            },
        ),
        ("On sale", {"fields": ("published", "paused")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Sale | None = None) -> tuple[str, ...]:
        return FIXED_ONCE_PUBLISHED if obj and obj.version else ()

    def has_delete_permission(self, request: HttpRequest, obj: Sale | None = None) -> bool:
        """What was ever published has a ledger entry, and perhaps orders: withdraw it instead."""
        return super().has_delete_permission(request, obj) and (obj is None or not obj.version)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)  # it would not look at each sale's version
        return actions

    def save_model(self, request: HttpRequest, obj: Sale, form: SaleModelForm, change: bool) -> None:
        if backoffice.save(obj):
            # Once the row can be seen by others: if we die before we have published, the worker does.
            transaction.on_commit(partial(self._publish, request, obj.pk, obj.stock))

    def _publish(self, request: HttpRequest, sale_id: str, asked_stock: int) -> None:
        try:
            published = backoffice.publish_saved(sale_id)
        except LedgerAway:
            self.message_user(
                request,
                "Saved here, but the ledger can't be reached: shoppers still see the sale as it was. "
                "It is published by itself when the ledger is back.",
                messages.WARNING,
            )
            return
        except SkuTaken:
            self.message_user(
                request,
                "Saved here, but not published: the ledger already has another sale under this SKU. Choose a new one.",
                messages.ERROR,
            )
            return
        if published is None:  # a worker was quicker
            return
        if published.sale.stock != asked_stock:
            self.message_user(
                request,
                f"While you were saving, units up to number {published.sale.stock:,} were taken: the stock is "
                f"{published.sale.stock:,}, not {asked_stock:,}.",
                messages.WARNING,
            )
        if not published.in_force:
            self.message_user(
                request,
                "Saved. The gate can't be asked right now; the worker puts this in force as soon as it is back.",
                messages.WARNING,
            )

    @admin.display(description="state")
    def state(self, sale: Sale) -> str:
        now = timezone.now()
        if not sale.published:
            return "draft" if not sale.version else "withdrawn"
        if now >= sale.closes_at:
            return "over"
        if now < sale.opens_at:
            return "scheduled"
        return "paused" if sale.paused else "open"

    @admin.display(description="shop page")
    def on_site(self, sale: Sale) -> str:
        if sale.needs_publishing:
            return "waiting to be published"
        return format_html('<a href="/sales/{}/">view</a>', sale.sku) if sale.published else "-"
