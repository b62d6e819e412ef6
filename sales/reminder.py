"""A sale's opening as a calendar file: "remind me", without asking a shopper for an address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django.utils.translation import gettext_noop as _
from icalendar import Alarm, Calendar, Event, vDuration

from flashdrop.languages import translated
from sales.published import PublishedSale

PRODUCT_ID = "-//Flashdrop//Sale//EN"
# Long enough to find the page and sign in, short enough to stay there.
AHEAD = timedelta(minutes=10)
FILES_KEPT = 256


@lru_cache(FILES_KEPT)
def calendar_file(sale: PublishedSale, address: str, language: str) -> bytes:
    """An iCalendar file (RFC 5545) with the sale's window, an alarm `AHEAD` of it, and the page's `address`.

    Imported again after the window has moved, it replaces the entry instead of adding one.
    """
    event = Event()
    event.add("uid", f"{sale.id}@flashdrop")
    event.add("sequence", sale.version)
    event.add("dtstamp", datetime.now(UTC))
    event.add("dtstart", sale.opens_at.astimezone(UTC))
    event.add("dtend", sale.closes_at.astimezone(UTC))
    event.add("summary", sale.name)
    words = translated(_("The sale opens. Be on the page and signed in."), language)
    event.add("description", f"{words}\n{address}")
    event.add("url", address)
    alarm = Alarm()
    alarm.add("action", "DISPLAY")
    alarm.add("description", sale.name)
    alarm["trigger"] = vDuration(-AHEAD)
    event.add_component(alarm)
    calendar = Calendar()
    calendar.add("prodid", PRODUCT_ID)
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add_component(event)
    text: bytes = calendar.to_ical()
    return text
