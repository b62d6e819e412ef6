"""The merchandisers' desk: the list of sales, and the form of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_protect

from sales import backoffice
from sales.desk import braking, copying, journal, local_time, outcome, words
from sales.desk.advice import advice
from sales.desk.page import tabs
from sales.desk.sale_list import SaleColumns, When, local_moment
from sales.desk.settings_form import SaleForm, defaults
from sales.models import Sale
from sales.money import format_minor

if TYPE_CHECKING:
    pass

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


class ChangedMeanwhile(Exception):
    """The row is not as it was when the form was judged."""


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

    @method_decorator(csrf_protect)
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Django's, but not in one transaction: the form asks the stores, and nobody shall wait for that at the row.

        What was looked at is looked at again when it is saved (`save_model`); if it has changed, it is judged anew.
        """
        for _ in range(backoffice.ROUNDS):
            try:
                return self._changeform_view(request, object_id, form_url, extra_context)  # type: ignore[attr-defined]
            except (ChangedMeanwhile, IntegrityError) as error:
                latest = error
        raise latest

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
        context["question"] = getattr(context["adminform"].form, "question", None)
        pressed = ("_continue", "_addanother", "_save")
        context["press"] = next((name for name in pressed if name in request.POST), "_save")
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
        return []  # `save_model` has written it already

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: see `save_model`."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: see `save_model`."""

    def save_model(self, request: HttpRequest, obj: Sale, form: Any, change: bool) -> None:
        """Save the row and the line of the log together, then put the sale in force. A pause begins at the gate.

        Raises:
            ChangedMeanwhile: somebody has saved it since the form was judged.
            IntegrityError: somebody has just added a sale under the same SKU.
        """
        begins_pause = change and obj.version and obj.paused and not form.before.paused
        pulled = braking.pull(obj, request.user.get_username()) if begins_pause else None
        with backoffice.unchanged(obj.pk, form.before) if change else transaction.atomic() as is_unchanged:
            if change and not is_unchanged:
                raise ChangedMeanwhile
            is_marked = backoffice.save(obj, released=pulled.brake if pulled else None)
            reason = form.cleaned_data["reason"].strip()
            if change:
                changes = journal.changes_between(form.before, obj.settings())
                journal.note(request.user, obj, "Settings changed", changes, reason)
            else:
                journal.note(request.user, obj, "Added", reason=reason, is_new=True)
        if is_marked:
            # If we die before it, the worker does it.
            found = outcome.publish(obj, request.user)
            for said in (outcome.braked(found, pulled) if pulled else found).messages:
                self.message_user(request, said.text, said.level)

    def response_add(self, request: HttpRequest, obj: Sale, post_url_continue: str | None = None) -> HttpResponse:
        return self._back_to_form(obj) or super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Sale) -> HttpResponse:
        return self._back_to_form(obj) or super().response_change(request, obj)

    def _back_to_form(self, sale: Sale) -> HttpResponse | None:
        """Where it could not be published because of its SKU, the form that can be corrected."""
        if sale.published and not Sale.objects.filter(pk=sale.pk, published=True).exists():
            return redirect("admin:sales_sale_change", sale.pk)
        return None

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

    def _may_edit(self, request: HttpRequest, sale: Sale | None) -> bool:
        return self.has_add_permission(request) if sale is None else self.has_change_permission(request, sale)
