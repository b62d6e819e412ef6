"""Two people at one form: what somebody had in front of them, and what has changed behind their back since."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sales.desk import journal, words
from sales.desk.journal import Entry
from sales.models import Sale
from sales.published import SaleSettings


@dataclass(frozen=True, slots=True)
class Seen:
    """A sale as it was when a form was made from it; `line` is the log's newest line of then."""

    at: datetime
    line: int
    settings: SaleSettings


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A setting that somebody else has changed; `yours` is empty when you have left it alone."""

    label: str
    before: str
    theirs: str
    yours: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """What others have changed while somebody was editing. `entries` may be empty: not everybody writes the log."""

    by: str
    entries: list[Entry]
    disagreements: list[Disagreement]

    @property
    def overwritten(self) -> list[Disagreement]:
        """What saving again would overwrite."""
        return [one for one in self.disagreements if one.yours and one.yours != one.theirs]


def written(sale: Sale) -> str:
    """The sale as it is now, for a hidden field of its form. It decides nothing but what is asked back."""
    seen = {"at": sale.updated_at.isoformat(), "line": journal.last_line(sale)}
    return json.dumps(seen | asdict(sale.settings()), default=str)


def read(text: str) -> Seen | None:
    """What `written` wrote; None when it can't be made out."""
    try:
        values: dict[str, Any] = json.loads(text)
        at, line = datetime.fromisoformat(values.pop("at")), int(values.pop("line"))
        for name in ("opens_at", "closes_at"):
            values[name] = datetime.fromisoformat(values[name])
        return Seen(at, line, SaleSettings(**values))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def conflict(seen: Seen, current: Sale, wanted: SaleSettings, changed: set[str]) -> Conflict | None:
    """What stands between saving `wanted`, in which the fields `changed` are the editor's own; None when nothing."""
    now = current.settings()
    theirs = [name for name in words.LABELS if getattr(now, name) != getattr(seen.settings, name)]
    if seen.at == current.updated_at or not theirs:
        return None
    entries = journal.entries(current, after=seen.line)
    return Conflict(
        by=" and ".join(dict.fromkeys(entry.by for entry in entries)) or "Somebody",
        entries=entries,
        disagreements=[
            Disagreement(
                words.LABELS[name],
                words.field(seen.settings, name),
                words.field(now, name),
                words.field(wanted, name) if name in changed else "",
            )
            for name in theirs
        ],
    )
