"""The merchandisers' desk: the list of sales, and the form of one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sales import backoffice
from sales.desk import copying, journal, local_time, outcome, words
from sales.desk.advice import advice
from sales.desk.page import tabs
from sales.desk.sale_list import SaleColumns, When, local_moment
from sales.desk.settings_form import SaleForm, defaults
from sales.models import Sale
from sales.money import format_minor

if TYPE_CHECKING:
    from sales.desk.settings_form import SaleModelForm

admin.site.site_header = "Flashdrop back office"
admin.site.site_title = "Flashdrop"
admin.site.index_title = "Sales and accounts"

FIXED_ONCE_PUBLISHED = ("sku", "currency")
WHAT_SHOPPERS_SEE = ("name", "sku", "description", "image_url")
RULES = ("stock", "limit_per_shopper", "guests_allowed")
SWITCHES = ("published", "paused")
FORM: Any = (
    ("What is on sale", {"fields": (*WHAT_SHOPPERS_SEE, ("price", "currency"))}),
    ("How many, and for whom", {"fields": RULES}),
    (
        "When",
        {
            "fields": ("time_zone", "opens_at", "closes_at"),
            "description": "Kept in UTC. A change holds from the very next order.",
        },
    ),
    ("Showing it", {"fields": SWITCHES}),
)
TO_READ: Any = (
    ("What is on sale", {"fields": (*WHAT_SHOPPERS_SEE, "price_in_words")}),
    ("How many, and for whom", {"fields": RULES}),
    ("When", {"fields": ("opens_in_words", "closes_in_words")}),
    ("Showing it", {"fields": SWITCHES}),
)


@admin.register(Sale)
class SaleAdmin(SaleColumns):
    """Scheduling and changing a sale. Saving a published sale puts it in force at once."""

    form = SaleForm
    list_display = ("name", "state", "window", "units", "sold", "on_site")
    list_filter = (When,)
    search_fields = ("name", "sku")
    search_help_text = "Part of the name or of the web address"
    date_hierarchy = "opens_at"
    list_per_page = 50
    save_on_top = True
    actions = ("duplicate",)

    class Media:
        css = {"all": ("css/desk.css", "css/desk-schedule.css")}
        js = (Script("js/desk-schedule.js", defer=True),)

    def get_fieldsets(self, request: HttpRequest, obj: Sale | None = None) -> Any:
        return FORM if self._may_edit(request, obj) else TO_READ

    def get_readonly_fields(self, request: HttpRequest, obj: Sale | None = None) -> tuple[str, ...]:
        return FIXED_ONCE_PUBLISHED if obj and obj.version else ()

    def get_form(self, request: HttpRequest, obj: Sale | None = None, change: bool = False, **kwargs: Any) -> Any:
        made = super().get_form(request, obj, change=change, **kwargs)
        zone = local_time.known_zone(request.COOKIES.get(local_time.COOKIE))
        return type("SaleForm", (made,), {"zone": zone})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Sale | None:
        """Under its lock when it is about to be changed, so that nobody saves between our look and our save."""
        found = super().get_object(request, object_id, from_field)
        if found is None or request.method != "POST":
            return found
        return Sale.objects.select_for_update().filter(pk=found.pk).first()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A new sale's defaults, or a copy of the sale named in `?copy=`; nothing is stored before it is saved."""
        now = timezone.now()
        original = Sale.objects.filter(pk=request.GET.get("copy", "")).first()
        given = {name: value for name, value in super().get_changeform_initial_data(request).items() if name != "copy"}
        return defaults(now) | (copying.values_of_copy(original, now) if original else {}) | dict(given)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        sale = kwargs.get("obj")
        stored = Sale.objects.filter(pk=sale.pk).first() if sale else None
        context["tabs"] = tabs(request, stored, "settings") if stored else []
        context["advice"] = advice(stored, timezone.now()) if stored and self._may_edit(request, stored) else []
        context["conflict"] = getattr(context["adminform"].form, "conflict", None)
        context["may_duplicate"] = stored is not None and self.has_add_permission(request)
        return super().render_change_form(request, context, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"title": "Sales", **(extra_context or {})})

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        sale = self.get_object(request, object_id)
        more = {"entries": journal.entries(sale), "tabs": tabs(request, sale, "")} if sale else {}
        return super().history_view(request, object_id, {**more, **(extra_context or {})})

    def has_delete_permission(self, request: HttpRequest, obj: Sale | None = None) -> bool:
        """What was ever published has a ledger entry, and perhaps orders: withdraw it instead."""
        return super().has_delete_permission(request, obj) and (obj is None or not obj.version)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)  # it would not look at each sale's version
        return actions

    @admin.action(description="Duplicate as a draft", permissions=["add"])
    def duplicate(self, request: HttpRequest, queryset: QuerySet[Sale]) -> None:
        made = [copying.copy(sale, request.user, timezone.now()) for sale in queryset]
        names = ", ".join(f"{sale.name} ({sale.sku})" for sale in made)
        self.message_user(
            request,
            f"Added as drafts that nobody sees yet, opening at the next full hour: {names}. "
            "Check their windows and prices, then publish them.",
            messages.SUCCESS,
        )

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        if add:
            return journal.message("Added", [], is_new=True)
        return journal.message("Settings changed", journal.changes_between(form.before, form.instance.settings()))

    def save_model(self, request: HttpRequest, obj: Sale, form: SaleModelForm, change: bool) -> None:
        if backoffice.save(obj):
            # Once the row can be seen by others: if we die before we have published, the worker does.
            transaction.on_commit(partial(self._publish, request, obj))
        if "_continue" not in request.POST:  # else the page says it itself
            for warning in advice(obj, timezone.now()):
                self.message_user(request, f"Please note, about “{obj.name}”: {warning}", messages.WARNING)

    @admin.display(description="price")
    def price_in_words(self, sale: Sale) -> str:
        return format_minor(sale.price_minor, sale.currency)

    @admin.display(description="opens")
    def opens_in_words(self, sale: Sale) -> SafeString:
        return local_moment(sale.opens_at)

    @admin.display(description="closes")
    def closes_in_words(self, sale: Sale) -> SafeString:
        lasts = words.duration(sale.closes_at - sale.opens_at)
        return format_html("{} (lasts {})", local_moment(sale.closes_at), lasts)

    def _publish(self, request: HttpRequest, sale: Sale) -> None:
        for said in outcome.publish(sale, request.user).messages:
            self.message_user(request, said.text, said.level)

    def _may_edit(self, request: HttpRequest, sale: Sale | None) -> bool:
        return self.has_add_permission(request) if sale is None else self.has_change_permission(request, sale)
