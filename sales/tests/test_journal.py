"""The audit log: what the desk writes, the desk and Django's own pages read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType

from sales.desk import journal, words
from sales.desk.journal import Change
from sales.models import Sale

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def sale() -> Sale:
    return Sale.objects.create(
        sku="lamp", name="Lamp", price_minor=12900, stock=10, opens_at=NOON, closes_at=NOON + timedelta(hours=1)
    )


@pytest.fixture
def anna() -> User:
    return User.objects.create(username="anna")


def test_a_line_says_who_what_from_to_and_why(sale: Sale, anna: User) -> None:
    before = sale.settings()
    sale.stock, sale.paused = 1500, True
    journal.note(anna, sale, "Stock raised", journal.changes_between(before, sale.settings()), "A pallet turned up")
    (entry,) = journal.entries(sale)
    assert (entry.by, entry.action, entry.reason) == ("anna", "Stock raised", "A pallet turned up")
    assert entry.changes == (Change("Stock", "10", "1,500"), Change("Paused", "no", "yes"))
    assert datetime.now(UTC) - entry.at < timedelta(minutes=1)


def test_django_puts_it_into_words_by_itself(sale: Sale, anna: User) -> None:
    journal.note(anna, sale, "Stock raised", [Change("Stock", "10", "20")], "A pallet")
    journal.note(anna, sale, "Withdrawn")
    journal.note(anna, sale, "Added as a copy", is_new=True)
    said = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
    assert said == ["Changed Stock from 10 to 20 (A pallet).", "Changed Withdrawn.", "Added."]


def test_newest_first_and_only_of_this_sale_and_after_a_line(sale: Sale, anna: User) -> None:
    other = Sale.objects.create(
        sku="other", name="Other", price_minor=1, stock=1, opens_at=NOON, closes_at=NOON + timedelta(hours=1)
    )
    for action in ("first", "second"):
        journal.note(anna, sale, action)
    journal.note(anna, other, "elsewhere")
    found = journal.entries(sale)
    assert [entry.action for entry in found] == ["second", "first"]
    first = LogEntry.objects.order_by("pk")[0].pk
    assert [entry.action for entry in journal.entries(sale, after=first)] == ["second"]
    assert journal.last_line(sale) == first + 1


def test_what_others_have_written_is_shown_as_django_words_it(sale: Sale, anna: User) -> None:
    of = {"user": anna, "content_type": ContentType.objects.get_for_model(Sale), "object_id": sale.pk}
    LogEntry.objects.create(action_flag=CHANGE, change_message='[{"changed": {"fields": ["Paused"]}}]', **of)
    LogEntry.objects.create(action_flag=CHANGE, change_message="by hand", **of)
    LogEntry.objects.create(action_flag=CHANGE, change_message="7", **of)
    assert [entry.action for entry in journal.entries(sale)] == ["7", "by hand", "Changed Paused."]


def test_a_submission_is_known_by_its_token(sale: Sale, anna: User) -> None:
    assert not journal.was_noted(sale, "abc")
    journal.note(anna, sale, "Paused", token="abc")
    assert journal.was_noted(sale, "abc")
    assert not journal.was_noted(sale, "ab")
    assert not journal.was_noted(sale, "")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (40, "40 s"), (60, "1 min"), (3900, "1 h 5 min"), (7200, "2 h"), (266399, "3 d 1 h")],
)  # fmt: skip
def test_durations_are_said_by_their_two_largest_parts(seconds: int, said: str) -> None:
    assert words.duration(timedelta(seconds=seconds)) == said


def test_moments_are_said_in_utc() -> None:
    assert words.moment(NOON) == "23 Nov 2026, 12:00 UTC"
    assert words.moment(NOON + timedelta(seconds=7)) == "23 Nov 2026, 12:00:07 UTC"
