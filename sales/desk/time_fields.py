"""Form fields for dates and times on somebody's clock, and for whose clock it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sales.desk import local_time
from sales.desk.local_time import BadTime, Entered, Reading

# What the name of a time's hidden companion ends in; static/js/desk-schedule.js knows it too.
READING = "_reading"


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


class WallTimeInput(forms.TextInput):
    """The input, and beside it, unseen, which instant the page takes it for (`local_time.Reading`).

    `zone` is the clock on which an instant is shown; what was sent is shown again as it was sent.
    """

    zone = local_time.UTC_NAME

    def __init__(self) -> None:
        super().__init__(attrs={"type": "datetime-local", "class": "desk-time", "step": "1"})

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        text, reading = value if isinstance(value, tuple) else self._of(value)
        hidden = format_html('<input type="hidden" name="{}{}" value="{}">', name, READING, reading)
        return format_html("{}{}", super().render(name, text, attrs, renderer), hidden)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> tuple[Any, str] | None:
        text = data.get(name)
        return None if text is None else (text, data.get(f"{name}{READING}", ""))

    def _of(self, value: Any) -> tuple[Any, str]:
        if not isinstance(value, datetime):
            return value, ""
        text = local_time.shown(value, self.zone)
        return text, str(Reading(value, self.zone, local_time.typed(text)))


class WallTimeField(forms.CharField):
    """A date and a time on the clock of a zone that another field names; cleaned it is a `local_time.Entered`."""

    widget = WallTimeInput

    def __init__(self, **options: Any) -> None:
        super().__init__(error_messages={"required": "Give a date and a time."}, **options)

    def clean(self, value: Any) -> Any:
        text, reading = value if isinstance(value, tuple) else (value, "")
        wall = super().clean(text)
        return Entered(wall, local_time.reading(reading)) if wall else None

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return text
        try:
            return local_time.typed(text)
        except BadTime as error:
            raise forms.ValidationError(str(error)) from error
