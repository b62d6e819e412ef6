"""A past sale as the start of the next one."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction

from sales.desk import journal
from sales.desk.local_time import next_full_hour
from sales.models import Sale

COPIED = (
    "name",
    "description",
    "image_url",
    "price_minor",
    "currency",
    "stock",
    "limit_per_shopper",
    "guests_allowed",
)
SKU_LENGTH = 64
TRIES = 5
# A window stored long ago may be of any length, and its copy would end in no year of ours.
LONGEST = timedelta(days=365)


def values_of_copy(sale: Sale, now: datetime) -> dict[str, Any]:
    """The settings of a copy: a draft under a free SKU, from the next full hour on, for as long as the first one
    (a year at most).
    """
    opens_at = next_full_hour(now)
    return {name: getattr(sale, name) for name in COPIED} | {
        "sku": free_sku(sale.sku),
        "opens_at": opens_at,
        "closes_at": opens_at + min(sale.closes_at - sale.opens_at, LONGEST),
        "published": False,
        "paused": False,
    }


def copy(sale: Sale, user: AbstractBaseUser | AnonymousUser, now: datetime) -> Sale:
    """Add a copy as a draft, and note it.

    Raises:
        IntegrityError: colleagues were quicker, `TRIES` times.
    """
    for left in reversed(range(TRIES)):
        try:
            with transaction.atomic():
                made = Sale.objects.create(**values_of_copy(sale, now))
                journal.note(user, made, f"Added as a copy of “{sale.name}” ({sale.sku})", is_new=True)
                return made
        except IntegrityError:  # somebody has just taken that SKU: the next one
            if not left:
                raise
    raise AssertionError("unreachable")


def free_sku(sku: str) -> str:
    """`lamp` becomes `lamp-2`, `lamp-2` becomes `lamp-3`: the next that no sale of the back office has."""
    stem, number = re.fullmatch(r"(.+?)(?:-(\d{1,4}))?", sku).groups()  # type: ignore[union-attr]
    digits = len(number or "")
    taken = set(Sale.objects.filter(sku__startswith=stem[: SKU_LENGTH - 6]).values_list("sku", flat=True))
    n = int(number or 1) + 1
    while True:
        tail = f"-{n:0{digits}d}"
        found: str = stem[: SKU_LENGTH - len(tail)] + tail
        if found not in taken:
            return found
        n += 1
