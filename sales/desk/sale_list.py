"""The columns and quick filters of the list of sales."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sales.desk import states, words
from sales.gate import Levels
from sales.models import Sale

if TYPE_CHECKING:  # Django's own class takes no parameter at run time
    SaleModelAdmin = admin.ModelAdmin[Sale]
else:
    SaleModelAdmin = admin.ModelAdmin

FILTERS = (
    ("running", "Running now"),
    ("upcoming", "Upcoming"),
    ("past", "Past"),
    ("drafts", "Drafts"),
    ("withdrawn", "Withdrawn"),
)


def local_moment(at: datetime) -> SafeString:
    """A moment in UTC, beside which a script puts the viewer's own time."""
    return format_html('<time data-local-time="{}">{}</time>', int(at.timestamp() * 1000), words.moment(at))


class When(admin.SimpleListFilter):
    """Running, upcoming, past, drafts, withdrawn."""

    title = "state"
    parameter_name = "when"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return FILTERS

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        return queryset.filter(states.when(chosen, timezone.now())) if chosen in dict(FILTERS) else queryset


class SaleColumns(SaleModelAdmin):
    """What the list shows; the gate is asked once for the whole page, and the list stands without its answer."""

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        try:
            found = super().get_changelist_instance(request)
        except (ValueError, OverflowError) as error:  # the address names a year that no calendar has
            raise IncorrectLookupParameters from error
        page = list(found.result_list)
        levels = states.levels_of(page)
        for sale in page:
            sale.levels = levels.get(sale.pk) if levels is not None else None
        found.result_list = page
        return found

    @admin.display(description="state")
    def state(self, sale: Sale) -> SafeString:
        now = timezone.now()
        state = states.state_of(sale, now, getattr(sale, "levels", None))
        if state.changes_at is None:
            detail = format_html('<span class="desk-quiet">{}</span>', state.detail)
        else:
            verb = "opens" if state.key == "scheduled" else "closes"
            detail = format_html(
                '<time class="desk-quiet" data-until="{}" data-now="{}" data-verb="{}">{}</time>',
                int(state.changes_at.timestamp() * 1000),
                int(now.timestamp() * 1000),
                verb,
                state.detail,
            )
        return format_html('<span class="desk-badge" data-state="{}">{}</span> {}', state.key, state.label, detail)

    @admin.display(description="window", ordering="opens_at")
    def window(self, sale: Sale) -> SafeString:
        lasts = words.duration(sale.closes_at - sale.opens_at)
        return format_html('{} <span class="desk-quiet">lasts {}</span>', local_moment(sale.opens_at), lasts)

    @admin.display(description="units", ordering="stock")
    def units(self, sale: Sale) -> str:
        return f"{sale.stock:,}"

    @admin.display(description="taken")
    def sold(self, sale: Sale) -> str | SafeString:
        if not sale.version:
            return "-"
        levels: Levels | None = getattr(sale, "levels", None)
        if levels is None or not levels.loaded:
            return format_html('<span class="desk-quiet">{}</span>', "unknown")
        return f"{levels.issued:,} ({levels.issued * 100 // levels.stock if levels.stock else 0}%)"

    @admin.display(description="shop page")
    def on_site(self, sale: Sale) -> str | SafeString:
        return format_html('<a href="/sales/{}/">view</a>', sale.sku) if sale.published and sale.version else "-"
