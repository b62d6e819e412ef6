"""What is done to many orders, kept from the page that showed them: which they are, who confirmed them, and why.

The browser sends back which list it means and nothing that counts: the number that was typed is held against the list
as it is kept here, and what is done is done to orders of that list alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from orders import ledger_desk
from orders.desk.deeds import Deed, was_ours
from orders.desk.words import stands
from orders.models import BulkRun

KEPT = timedelta(days=2)


@dataclass(slots=True)
class Stand:
    """How far a run is: the ids that are left, how many are done, and why the others were refused."""

    left: list[str] = field(default_factory=list)
    done: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


def keep(request: HttpRequest, deed: Deed, order_ids: Sequence[str], back: str) -> BulkRun:
    """Keep what is about to be shown; what nobody came back to for `KEPT` goes."""
    with transaction.atomic():
        BulkRun.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
        user = cast(User, request.user)
        return BulkRun.objects.create(deed=deed.name, user=user, order_ids=" ".join(order_ids), back=back)


def find(request: HttpRequest, deed: Deed, run_id: str) -> BulkRun | None:
    """What this person was shown for this deed; None for anything else, and once it is too old."""
    user, since = cast(User, request.user), timezone.now() - KEPT
    return BulkRun.objects.filter(pk=run_id, deed=deed.name, user=user, created_at__gte=since).first()


def begin(run: BulkRun, reason: str) -> BulkRun:
    """Note that it was confirmed, and why. Once: of two tabs the first one's reason counts."""
    BulkRun.objects.filter(pk=run.pk, begun_at=None).update(begun_at=timezone.now(), reason=reason)
    run.refresh_from_db()
    return run


async def stand(deed: Deed, run: BulkRun, by: str) -> Stand:
    """How far a run that `by` has begun is, by what the ledger says.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be asked.
    """
    found = Stand()
    order_ids = run.order_ids.split()
    known = await ledger_desk.read_all(order_ids)
    for order_id in order_ids:
        record = known.get(order_id)
        if record is not None and record.state is deed.needs:
            found.left.append(order_id)
        elif was_ours(deed, record, by, run.reason, cast(datetime, run.begun_at)):
            found.done += 1
        else:
            found.refused.append((order_id, stands(record)))
    return found
