"""Times on somebody's clock. What is stored is UTC; a time that a clock shows twice or never is not guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

# What people live in; the rest of the database is there for machines.
REGIONS = ("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
UTC_NAME = "UTC"
# The browser's zone, or the one chosen last: set by static/js/desk-schedule.js.
COOKIE = "desk_time_zone"
INPUT_FORMAT = "%Y-%m-%dT%H:%M:%S"


class BadTime(ValueError):
    """Says in words why a time is not one instant."""


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
    """`at` on the zone's clock, as an input for date and time takes it; seconds only where there are some."""
    return at.astimezone(_zone(zone)).strftime(INPUT_FORMAT).removesuffix(":00")


def typed(text: str) -> datetime:
    """What an input for date and time sends, still without a zone.

    Raises:
        BadTime: it is no date and time.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise BadTime("Give a date and a time, such as 2026-11-23 14:00.") from error
    return found.replace(tzinfo=None)


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
    day = f"{wall.day} {wall:%B %Y}"
    if earlier.astimezone(tz).replace(tzinfo=None) != wall:  # a gap: then fold=0 is the later reading
        raise BadTime(
            f"{wall:%H:%M} does not exist in {_place(zone)} on {day}: the clocks skip it. "
            f"Choose {earlier.astimezone(tz):%H:%M} or another time."
        )
    raise BadTime(
        f"{wall:%H:%M} comes twice in {_place(zone)} on {day}, because the clocks go back. To say which one you mean, "
        f"choose UTC as the time zone: {earlier:%H:%M} UTC is the first, {later:%H:%M} UTC the second."
    )


def next_full_hour(now: datetime) -> datetime:
    """The next time that a clock strikes after `now`."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _place(zone: str) -> str:
    return zone.split("/", 1)[-1].replace("_", " ").replace("/", ", ")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo(UTC_NAME)
