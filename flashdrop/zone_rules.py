"""Whose rules of the world's time zones hold: those of the pinned `tzdata` package, on every machine.

A system's own are as old as the system, so that two hosts of one shop could read the same wall time as two instants.
`flashdrop.settings` calls `pin` before anything reads a time.
"""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime
from importlib import metadata, resources

UPDATED = re.compile(r"^#updated (\d+)", re.MULTILINE)


def pin() -> None:
    """Take the system's rules, and those named by PYTHONTZPATH, out of the search; the package is what is left."""
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()


def version() -> str:
    """The package's release, such as `2026.6`: the seventh of that year."""
    return metadata.version("tzdata")


def at_least_as_new_as() -> datetime:
    """A lower bound of the release's date: when its leap seconds were last confirmed, which is done twice a year."""
    text = (resources.files("tzdata") / "zoneinfo" / "leapseconds").read_text()
    found = UPDATED.search(text)
    if found is None:  # another layout than those we know: the year is in the name
        return datetime(int(version()[:4]), 1, 1, tzinfo=UTC)
    return datetime.fromtimestamp(int(found[1]), UTC)
