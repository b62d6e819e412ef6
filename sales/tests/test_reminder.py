"""The opening as a calendar file: what calendars read in it, whatever a sale is called."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from icalendar import Calendar

from conftest import Publish, settings_of

OPENS_AT = datetime(2031, 3, 30, 0, 30, tzinfo=UTC)  # the night that many clocks are put forward
WINDOW = {"opens_at": OPENS_AT, "closes_at": OPENS_AT + timedelta(hours=2)}


async def file_of(client: httpx.AsyncClient, sku: str, query: str = "") -> httpx.Response:
    answer = await client.get(f"/sales/{sku}/reminder.ics{query}")
    assert answer.status_code == 200
    return answer


def event_of(answer: httpx.Response) -> Any:
    (event,) = Calendar.from_ical(answer.content).walk("VEVENT")
    return event


async def test_a_calendar_reads_the_sales_window_and_an_alarm_ahead_of_it(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale = await publish(name="Brass lamp", **WINDOW)
    answer = await file_of(client, sale.sku)
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{sale.sku}.ics"'
    event = event_of(answer)
    assert (event["DTSTART"].dt, event["DTEND"].dt) == (sale.opens_at, sale.closes_at)
    assert b"DTSTART:20310330T003000Z\r\n" in answer.content
    assert event["SUMMARY"] == "Brass lamp"
    assert event["URL"] == f"http://testserver/sales/{sale.sku}/"
    assert str(event["URL"]) in event["DESCRIPTION"]
    (alarm,) = event.walk("VALARM")
    assert (alarm["ACTION"], alarm["TRIGGER"].dt) == ("DISPLAY", timedelta(minutes=-10))
    calendar = Calendar.from_ical(answer.content)
    assert (calendar["VERSION"], calendar["METHOD"]) == ("2.0", "PUBLISH")
    assert calendar["PRODID"]


async def test_lines_end_and_are_folded_as_the_format_wants(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(name="Lämpchen " * 20, **WINDOW)
    body = (await file_of(client, sale.sku)).content
    assert body.count(b"\n") == body.count(b"\r") == body.count(b"\r\n")
    assert body.endswith(b"\r\n")
    assert all(len(line) <= 75 for line in body.split(b"\r\n"))


@pytest.mark.parametrize(
    "name",
    [
        "Lamp\r\nATTENDEE:mailto:someone@example.org",
        "Lamp\nEND:VEVENT\nBEGIN:VEVENT",
        "Lamp; with, commas: and \\n backslashes \\",
        'A "quoted" <b>lamp</b>',
        "مصباح نحاسي 💡",
    ],
)
async def test_no_name_breaks_out_of_its_line(client: httpx.AsyncClient, publish: Publish, name: str) -> None:
    sale = await publish(name=name, **WINDOW)
    answer = await file_of(client, sale.sku)
    event = event_of(answer)
    assert event["SUMMARY"].splitlines() == name.splitlines()
    assert "ATTENDEE" not in event
    assert answer.content.count(b"\r\nBEGIN:VEVENT\r\n") == 1


async def test_moved_sales_replace_their_entry(client: httpx.AsyncClient, publish: Publish) -> None:
    settings = settings_of(**WINDOW)
    sale = await publish(settings)
    before = event_of(await file_of(client, sale.sku))
    moved = replace(settings, closes_at=OPENS_AT + timedelta(hours=3))
    await publish(moved)
    after = event_of(await file_of(client, sale.sku))
    assert after["UID"] == before["UID"]
    assert after["SEQUENCE"] > before["SEQUENCE"]
    assert after["DTEND"].dt == moved.closes_at


async def test_a_reminder_speaks_the_pages_language(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish(**WINDOW)
    said = {}
    for language in ("en", "de", "ar"):
        said[language] = event_of(await file_of(client, sale.sku, f"?lang={language}"))["DESCRIPTION"]
    assert "signed in" in said["en"]
    assert len(set(said.values())) == 3


async def test_no_sale_no_file(client: httpx.AsyncClient, publish: Publish) -> None:
    await publish()
    assert (await client.get("/sales/no-such-sale/reminder.ics")).status_code == 404
    assert (await client.post("/sales/no-such-sale/reminder.ics")).status_code == 405
