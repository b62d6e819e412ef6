"""The audit log of sales: who changed what, when, from what, to what, and why.

It is kept in Django's own log of the admin, so that its History and recent actions show the same. The message is JSON
that Django can put into words by itself; what the desk shows stands beside that, under `desk`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet

from sales.desk import words
from sales.models import Sale
from sales.money import format_minor
from sales.published import SaleSettings

READ_AT_ONCE = 200


class Change(NamedTuple):
    """One thing that became another, in words."""

    field_label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How much was done to many orders in one go. `run` is the same in all its lines; money is in minor units."""

    run: str
    what: str
    orders: int
    units: int
    amount_minor: int
    currency: str

    @property
    def words(self) -> str:
        orders = f"{self.orders:,} {'order' if self.orders == 1 else 'orders'}"
        return f"{self.what} {orders}: {words.units(self.units)}, {format_minor(self.amount_minor, self.currency)}"

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return replace(
            self,
            orders=self.orders + other.orders,
            units=self.units + other.units,
            amount_minor=self.amount_minor + other.amount_minor,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. `by` is the account's name; `reason` is empty when none was given; `tally` says of what was
    done to many orders how much it was, all its steps together.
    """

    at: datetime
    by: str
    action: str
    changes: tuple[Change, ...]
    reason: str
    tally: Tally | None = None


def changes_between(before: SaleSettings, after: SaleSettings) -> list[Change]:
    """What differs between two states of a sale, in words."""
    return [
        Change(label, words.field(before, name), words.field(after, name))
        for name, label in words.LABELS.items()
        if getattr(before, name) != getattr(after, name)
    ]


def message(
    action: str,
    changes: Sequence[Change],
    reason: str = "",
    *,
    is_new: bool = False,
    token: str = "",
    tally: Tally | None = None,
) -> list[dict[str, Any]]:
    """What Django stores as a change message. `token` tells one submission of a form from another."""
    spoken = [f"{change.field_label} from {change.before} to {change.after}" for change in changes] or [action]
    if reason:
        spoken[-1] += f" ({reason})"
    ours: dict[str, Any] = {
        "action": action,
        "changes": [list(one) for one in changes],
        "reason": reason,
        "token": token,
    }
    if tally is not None:
        ours["tally"] = asdict(tally)
    return [({"added": {}} if is_new else {"changed": {"fields": spoken}}) | {"desk": ours}]


def note(
    user: AbstractBaseUser | AnonymousUser,
    sale: Sale,
    action: str,
    changes: Sequence[Change] = (),
    reason: str = "",
    *,
    is_new: bool = False,
    token: str = "",
    tally: Tally | None = None,
) -> None:
    """Write one line. In the transaction of what it tells of, so that there is never one without the other."""
    assert user.pk is not None  # nobody changes a sale without having signed in
    LogEntry.objects.log_actions(
        user_id=user.pk,
        queryset=[sale],
        action_flag=ADDITION if is_new else CHANGE,
        change_message=message(action, changes, reason, is_new=is_new, token=token, tally=tally),
        single_object=True,
    )


def was_noted(sale: Sale, token: str) -> bool:
    """Whether a submission of a form has been written down already."""
    return bool(token) and _of(sale).filter(change_message__contains=json.dumps(token)).exists()


def entries(sale: Sale, *, after: int = 0, limit: int = 200) -> list[Entry]:
    """The log of one sale, newest first; only what was written after the line numbered `after`. What was done to many
    orders in steps is one entry.
    """
    found: list[Entry] = []
    runs: dict[str, tuple[int, Tally]] = {}
    for line in _newest_first(sale, after):
        entry = _entry(line)
        if entry.tally is not None and entry.tally.run in runs:
            place, so_far = runs[entry.tally.run]
            together = so_far.plus(entry.tally)
            runs[together.run] = (place, together)
            found[place] = replace(found[place], action=together.words, tally=together)
            continue
        if len(found) == limit:
            break
        if entry.tally is not None:
            runs[entry.tally.run] = (len(found), entry.tally)
        found.append(entry)
    return found


def last_line(sale: Sale) -> int:
    """The number of the newest line; 0 without any."""
    return _of(sale).order_by("-pk").values_list("pk", flat=True).first() or 0


def _newest_first(sale: Sale, after: int) -> Iterator[LogEntry]:
    """The lines after `after`, read as far as somebody asks for them."""
    lines = _of(sale).filter(pk__gt=after).select_related("user").order_by("-pk")
    read = list(lines[:READ_AT_ONCE])
    while read:
        yield from read
        read = list(lines.filter(pk__lt=read[-1].pk)[:READ_AT_ONCE]) if len(read) == READ_AT_ONCE else []


def _of(sale: Sale) -> QuerySet[LogEntry]:
    return LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(Sale), object_id=str(sale.pk))


def _entry(line: LogEntry) -> Entry:
    by, ours = line.user.get_username(), _ours(line.change_message)
    if ours is None:  # written by Django or an earlier version of this
        return Entry(line.action_time, by, line.get_change_message() or line.get_action_flag_display(), (), "")
    changes = tuple(Change(*change[: len(Change._fields)]) for change in ours.get("changes", ()))
    return Entry(
        line.action_time, by, ours.get("action", ""), changes, ours.get("reason", ""), _tally(ours.get("tally"))
    )


def _tally(written: dict[str, Any] | None) -> Tally | None:
    """The figures of a run, of whatever version; None where some are missing."""
    names = [field.name for field in fields(Tally)]
    return Tally(*(written[name] for name in names)) if written and set(names) <= written.keys() else None


def _ours(change_message: str) -> dict[str, Any] | None:
    try:
        parts = json.loads(change_message)
    except json.JSONDecodeError:
        return None
    first = parts[0] if isinstance(parts, list) and parts else None
    found = first.get("desk") if isinstance(first, dict) else None
    return found if isinstance(found, dict) else None
