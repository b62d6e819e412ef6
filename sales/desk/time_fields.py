"""Form fields for dates and times on somebody's clock, and for whose clock it is."""

from __future__ import annotations

from typing import Any

from django import forms
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sales.desk import local_time
from sales.desk.local_time import BadTime


class ZoneSelect(forms.Select):
    """Some five hundred places. Django would render a template for each of them."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = local_time.known_zone(value)
        return format_html(
            "<select{}>{}</select>",
            flatatt(self.build_attrs(self.attrs, {"name": name, **(attrs or {})})),
            format_html_join(
                "", "{}", ((self._group(label, inside, chosen),) for label, inside in local_time.zone_choices())
            ),
        )

    def _group(self, label: str, inside: str | list[tuple[str, str]], chosen: str) -> SafeString:
        if isinstance(inside, str):
            return self._options([(label, inside)], chosen)
        return format_html('<optgroup label="{}">{}</optgroup>', label, self._options(inside, chosen))

    def _options(self, pairs: list[tuple[str, str]], chosen: str) -> SafeString:
        return format_html_join(
            "",
            '<option value="{}"{}>{}</option>',
            ((zone, SafeString(" selected") if zone == chosen else "", place) for zone, place in pairs),
        )


class WallTimeField(forms.CharField):
    """A date and a time on the clock of a zone that another field names."""

    def __init__(self, **options: Any) -> None:
        widget = forms.TextInput(attrs={"type": "datetime-local", "class": "desk-time", "step": "1"})
        super().__init__(widget=widget, error_messages={"required": "Give a date and a time."}, **options)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return text
        try:
            return local_time.typed(text)
        except BadTime as error:
            raise forms.ValidationError(str(error)) from error
