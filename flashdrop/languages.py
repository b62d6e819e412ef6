"""Which language a viewer reads, and text, dates and pages in it.

The address says it (`?lang=`, in what a page asks for by itself), else the viewer's choice (a cookie), else the browser
(`Accept-Language`). Nothing is "activated": a hot view may run without a task of its own, so the language is handed on
as a value, and is in force only while something is rendered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from babel.dates import format_date
from django.conf import settings
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation.trans_real import get_supported_language_variant, parse_accept_lang_header

COOKIE = "flashdrop_language"
PARAMETER = "lang"
# What a page in the viewer's language differs by.
VARY = "Accept-Language, Cookie"
# English as most of the world's shops write it: the day before the month, 24 hours.
LOCALES = {"en": "en_GB"}
# Between a day and a time of day.
COMMAS = {"ar": "،"}
# A browser's list of languages is a few dozen characters; what is longer is cut, not remembered as it is.
ACCEPTED_LENGTH = 200
LISTS_REMEMBERED = 512
TEXTS_REMEMBERED = 1024
DATES_REMEMBERED = 2048
_ASKED = re.compile(rf"(?:^|&){PARAMETER}=([A-Za-z-]{{2,16}})(?:&|$)".encode())
_CHOSEN = re.compile(rf"(?:^|;\s*){COOKIE}=([A-Za-z-]{{2,16}})(?:;|$)".encode())


def language_of(request: HttpRequest) -> str:
    """The code of the language in which `request` is to be answered."""
    scope = getattr(request, "scope", None)
    return settings.LANGUAGE_CODE if scope is None else language_in(scope)


def language_in(scope: MutableMapping[str, Any]) -> str:
    """The same for an ASGI scope, a websocket's too."""
    query = scope["query_string"]
    if query:
        asked = _ASKED.search(query)
        code = _supported(asked[1].decode()) if asked else None
        if code is not None:
            return code
    accepted = b""
    for name, value in scope["headers"]:
        if name == b"cookie":
            chosen = _CHOSEN.search(value)
            code = _supported(chosen[1].decode()) if chosen else None
            if code is not None:
                return code
        elif name == b"accept-language":
            accepted = value
    return _negotiated(accepted[:ACCEPTED_LENGTH]) if accepted else settings.LANGUAGE_CODE


def supported(code: str) -> str | None:
    """The language we have for `code` (`de` for `de-AT`); None where there is none."""
    return _supported(code) if re.fullmatch("[A-Za-z-]{2,16}", code) else None


def locale_of(language: str) -> str:
    """The locale by which dates and money are written, as Babel names it."""
    return LOCALES.get(language, language)


def render(template: str, context: Mapping[str, Any], language: str) -> str:
    """The template in `language`.

    Beside `context` it finds `language`, `languages`, `locale` (as in `lang` attributes) and `direction`.
    """
    more = {
        "language": language,
        "languages": settings.LANGUAGES,
        "locale": locale_of(language).replace("_", "-"),
        "direction": "rtl" if translation.get_language_info(language)["bidi"] else "ltr",
    }
    with translation.override(language):
        return render_to_string(template, {**more, **context})


@lru_cache(TEXTS_REMEMBERED)
def translated(message: str, language: str) -> str:
    """A message from the code's own, closed set (marked there with `gettext_noop`) in `language`."""
    with translation.override(language):
        return translation.gettext(message) if message else ""


@lru_cache(DATES_REMEMBERED)
def date_text(at: datetime, language: str) -> str:
    """A day in UTC: `27 Nov 2026`, `27.11.2026`."""
    return format_date(at, "medium", locale=locale_of(language))


@lru_cache(DATES_REMEMBERED)
def moment_text(at: datetime, language: str, *, seconds: bool = False) -> str:
    """A day and a time of day in UTC, without the zone's name: `27 Nov 2026, 10:00`."""
    day = f"{date_text(at, language)}{COMMAS.get(language, ',')}"
    return f"{day} {at:%H:%M:%S}" if seconds else f"{day} {at:%H:%M}"


@lru_cache(DATES_REMEMBERED)
def moment_html(at: datetime, language: str, *, seconds: bool = False, part: str = "") -> SafeString:
    """A moment on a page: in UTC and saying so, until `static/js/moments.js` writes it in the viewer's own zone.

    `part`, in a range from one moment to another: `from`, which leaves the zone's name to its end, or `until`, which
    is on the same day.
    """
    text = f"{at:%H:%M}" if part == "until" else moment_text(at, language, seconds=seconds)
    zone = "" if part == "from" else " UTC"
    shape = "seconds" if seconds else part
    iso = at.replace(tzinfo=None).isoformat(timespec="seconds")  # strftime writes the year 26 with two digits
    return mark_safe(f'<time datetime="{iso}Z" data-moment="{shape}">{text}{zone}</time>')  # noqa: S308


@lru_cache(LISTS_REMEMBERED)
def _negotiated(accepted: bytes) -> str:
    for code, _ in parse_accept_lang_header(accepted.decode("latin1").lower()):
        found = None if code == "*" else _supported(code)
        if found is not None:
            return found
    return settings.LANGUAGE_CODE


@lru_cache(LISTS_REMEMBERED)
def _supported(code: str) -> str | None:
    try:
        return get_supported_language_variant(code.lower())
    except LookupError:
        return None
