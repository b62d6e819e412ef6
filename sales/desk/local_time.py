"""Times on somebody's clock. What is stored is UTC; a time that a clock shows twice or never is not guessed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from flashdrop import zone_rules

# What people live in; the rest of the database is there for machines.
REGIONS = ("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
UTC_NAME = "UTC"
# The browser's zone, or the one chosen last: set by static/js/desk-schedule.js.
COOKIE = "desk_time_zone"
WALL_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.]\d+)?)?\Z", re.ASCII)


class BadTime(ValueError):
    """Says in words why a time is not one instant."""


class Reading(NamedTuple):
    """An instant, and the wall time on a zone's clock as which somebody had it in front of them."""

    at: datetime
    zone: str
    wall: datetime

    def __str__(self) -> str:
        """The form in which pages carry it: what `reading` reads, and static/js/desk-schedule.js reads and writes."""
        return f"{self.at.astimezone(UTC).isoformat().replace('+00:00', 'Z')}|{self.zone}|{self.wall.isoformat()}"


class Entered(NamedTuple):
    """A wall time that was sent, beside what the page had made of it; None where it said nothing."""

    wall: datetime
    reading: Reading | None = None


@cache
def zone_names() -> frozenset[str]:
    """The zones that can be chosen."""
    return frozenset(
        {UTC_NAME} | {name for name in available_timezones() if name.split("/")[0] in REGIONS and "/" in name}
    )


@cache
def zone_choices() -> list[tuple[str, str | list[tuple[str, str]]]]:
    """The same for a select, by region; `New York` is found by typing its first letters."""
    choices: list[tuple[str, str | list[tuple[str, str]]]] = [(UTC_NAME, UTC_NAME)]
    for region in REGIONS:
        names = sorted(name for name in zone_names() if name.startswith(f"{region}/"))
        if names:
            choices.append((region, [(name, _place(name)) for name in names]))
    return choices


def known_zone(name: str | None) -> str:
    """`name` when it can be chosen, else UTC."""
    return name if name in zone_names() else UTC_NAME


def shown(at: datetime, zone: str) -> str:
    """`at` on the zone's clock, as an input for date and time takes it; seconds only where there are some.

    An instant that the zone's clock has no year for is shown in UTC: what is stored must never keep a page from coming.
    """
    try:
        there = at.astimezone(_zone(zone))
    except OverflowError:
        there = at.astimezone(UTC)
    return there.replace(tzinfo=None).isoformat(timespec="seconds").removesuffix(":00")


def typed(text: str) -> datetime:
    """What an input for date and time sends, still without a zone.

    Raises:
        BadTime: it is no date and time.
    """
    try:
        if not WALL_TIME.match(text.strip()):  # a day alone, or a time with a zone of its own
            raise ValueError
        return datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise BadTime("Give a date and a time, such as 2026-11-23 14:00.") from error


def instant(wall: datetime, zone: str) -> datetime:
    """The instant at which the zone's clock shows `wall`, in UTC.

    Raises:
        BadTime: the clock never shows it, or twice.
    """
    if zone == UTC_NAME:
        return wall.replace(tzinfo=UTC)
    tz = _zone(zone)
    try:
        earlier = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
        later = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)
    except OverflowError as error:
        raise BadTime("That date is out of range.") from error
    if earlier == later:
        return earlier
    day = f"{wall.day} {wall:%B} {wall.year}"
    if earlier.astimezone(tz).replace(tzinfo=None) != wall:  # a gap: then fold=0 is the later reading
        raise BadTime(
            f"{wall:%H:%M} does not exist in {_place(zone)} on {day}: the clocks skip it. "
            f"Choose {earlier.astimezone(tz):%H:%M} or another time."
        )
    raise BadTime(
        f"{wall:%H:%M} comes twice in {_place(zone)} on {day}, because the clocks go back. To say which one you mean, "
        f"choose UTC as the time zone: {earlier:%H:%M} UTC is the first, {later:%H:%M} UTC the second."
    )


def reading(text: str) -> Reading | None:
    """What `str(Reading(...))` wrote; None when it can't be made out."""
    try:
        at, zone, wall = text.split("|")
        found = Reading(datetime.fromisoformat(at).astimezone(UTC), zone, typed(wall))
    except (ValueError, OverflowError):
        return None
    return found if zone in zone_names() else None


def settle(entered: Entered, zone: str, kept: datetime | None = None) -> datetime:
    """The instant that somebody means who sent `entered` on the clock of `zone`; `kept` is the one that was there.

    What they left alone stays `kept`, whatever the rules of their browser make of it. What they typed is taken when
    their browser and we read it alike, or when it left the reading to us.

    Raises:
        BadTime: it may mean two instants, or none.
    """
    wall, seen = entered
    if seen is None or seen.wall != wall:
        if kept is not None and typed(shown(kept, zone)) == wall:
            return kept
        return instant(wall, zone)
    if seen.zone != zone:
        raise BadTime(
            f"The time zone was changed to {_place(zone)}, this time was not: {wall:%H:%M} may mean "
            f"{_utc(seen.at)}, as it was shown, or {_utc(instant(wall, zone))}, on the clock of {_place(zone)}. "
            "Choose UTC as the time zone, and give the time in UTC."
        )
    if kept is not None and _second(seen.at) == _second(kept):
        return kept
    ours = instant(wall, zone)
    if _second(ours) != _second(seen.at):
        raise BadTime(
            f"Your browser and this shop have different rules for the clock of {_place(zone)}: {_spoken(wall)} there "
            f"is {_utc(seen.at)} by your browser's, {_utc(ours)} by ours (tzdata {zone_rules.version()}). "
            "To say which one you mean, choose UTC as the time zone and give the time in UTC."
        )
    return ours


def next_full_hour(now: datetime) -> datetime:
    """The next time that a clock strikes after `now`."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _second(at: datetime) -> datetime:
    return at.replace(microsecond=0)


def _spoken(at: datetime) -> str:
    return f"{at:%H:%M} on {at.day} {at:%B} {at.year}"


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M} UTC on {at.day} {at:%B} {at.year}"


def _place(zone: str) -> str:
    return zone.split("/", 1)[-1].replace("_", " ").replace("/", ", ")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo(UTC_NAME)
