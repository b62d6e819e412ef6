"""The audit log of sales: who changed what, when, from what, to what, and why.

It is kept in Django's own log of the admin, so that its History and recent actions show the same. The message is JSON
that Django can put into words by itself; what the desk shows stands beside that, under `desk`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet

from sales.desk import words
from sales.models import Sale
from sales.published import SaleSettings


class Change(NamedTuple):
    """One thing that became another, in words."""

    field_label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. `by` is the account's name; `reason` is empty when none was given."""

    at: datetime
    by: str
    action: str
    changes: tuple[Change, ...]
    reason: str


def changes_between(before: SaleSettings, after: SaleSettings) -> list[Change]:
    """What differs between two states of a sale, in words."""
    return [
        Change(label, words.field(before, name), words.field(after, name))
        for name, label in words.LABELS.items()
        if getattr(before, name) != getattr(after, name)
    ]


def message(
    action: str, changes: Sequence[Change], reason: str = "", *, is_new: bool = False, token: str = ""
) -> list[dict[str, Any]]:
    """What Django stores as a change message. `token` tells one submission of a form from another."""
    spoken = [f"{change.field_label} from {change.before} to {change.after}" for change in changes] or [action]
    if reason:
        spoken[-1] += f" ({reason})"
    ours = {"action": action, "changes": [list(change) for change in changes], "reason": reason, "token": token}
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
) -> None:
    """Write one line. In the transaction of what it tells of, so that there is never one without the other."""
    assert user.pk is not None  # nobody changes a sale without having signed in
    LogEntry.objects.log_actions(
        user_id=user.pk,
        queryset=[sale],
        action_flag=ADDITION if is_new else CHANGE,
        change_message=message(action, changes, reason, is_new=is_new, token=token),
        single_object=True,
    )


def was_noted(sale: Sale, token: str) -> bool:
    """Whether a submission of a form has been written down already."""
    return bool(token) and _of(sale).filter(change_message__contains=json.dumps(token)).exists()


def entries(sale: Sale, *, after: int = 0, limit: int = 200) -> list[Entry]:
    """The log of one sale, newest first; only what was written after the line numbered `after`."""
    found = _of(sale).filter(pk__gt=after)
    return [_entry(line) for line in found.select_related("user").order_by("-pk")[:limit]]


def last_line(sale: Sale) -> int:
    """The number of the newest line; 0 without any."""
    return _of(sale).order_by("-pk").values_list("pk", flat=True).first() or 0


def _of(sale: Sale) -> QuerySet[LogEntry]:
    return LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(Sale), object_id=str(sale.pk))


def _entry(line: LogEntry) -> Entry:
    by, ours = line.user.get_username(), _ours(line.change_message)
    if ours is None:  # written by Django or an earlier version of this
        return Entry(line.action_time, by, line.get_change_message() or line.get_action_flag_display(), (), "")
    changes = tuple(Change(*change[: len(Change._fields)]) for change in ours.get("changes", ()))
    return Entry(line.action_time, by, ours.get("action", ""), changes, ours.get("reason", ""))


def _ours(change_message: str) -> dict[str, Any] | None:
    try:
        parts = json.loads(change_message)
    except json.JSONDecodeError:
        return None
    first = parts[0] if isinstance(parts, list) and parts else None
    found = first.get("desk") if isinstance(first, dict) else None
    return found if isinstance(found, dict) else None
