"""Putting a saved sale in force, and what the merchandiser is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages import constants as levels

from sales import backoffice
from sales.backoffice import LedgerAway, SkuTaken
from sales.brakes import Pulled
from sales.desk import journal, words
from sales.models import Sale


class Said(NamedTuple):
    """One message; `level` is one of Django's message levels."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """`in_force` is false while shoppers are still served by the older settings, or by none."""

    in_force: bool
    messages: tuple[Said, ...] = ()


def publish(sale: Sale, user: AbstractBaseUser | AnonymousUser) -> Outcome:
    """Publish `sale`, which `user` has just saved; outside of any transaction.

    Never raises for a store that is away.
    """
    try:
        published = backoffice.publish_saved(sale.pk)
    except LedgerAway:
        return Outcome(
            False,
            (
                Said(
                    levels.WARNING,
                    "Saved here, but the ledger can't be reached: shoppers still see the sale as it was. "
                    "It is published by itself when the ledger is back.",
                ),
            ),
        )
    except SkuTaken:
        return Outcome(
            False,
            (
                Said(
                    levels.ERROR,
                    "Saved here, but not published: the ledger already has another sale under this SKU. "
                    "Choose a new one.",
                ),
            ),
        )
    if published is None:  # a worker was quicker
        published = backoffice.in_force(sale)
        if published is None:
            return Outcome(False, (Said(levels.WARNING, "Saved. Whether it is in force can't be asked right now."),))
    said = []
    in_force, asked = published.sale.stock, sale.stock
    # Whoever saved since then has chosen a stock of their own.
    if in_force != asked and Sale.objects.filter(pk=sale.pk, updated_at=sale.updated_at).exists():
        correction = journal.Change(words.LABELS["stock"], f"{asked:,}", f"{in_force:,}")
        journal.note(user, sale, f"Stock corrected: units up to number {in_force:,} were taken", [correction])
        said.append(
            Said(
                levels.WARNING,
                f"While you were saving, units up to number {in_force:,} were taken: the stock is "
                f"{in_force:,}, not {asked:,}.",
            )
        )
    if not published.in_force:
        said.append(
            Said(
                levels.WARNING,
                "Saved, but not in force at the gate yet: a worker sees to that, at once while the gate answers.",
            )
        )
    return Outcome(published.in_force, tuple(said))


def braked(found: Outcome, pulled: Pulled) -> Outcome:
    """What is told of a pause that the gate has taken at once, whatever became of its publication, `found`."""
    if found.in_force:
        return found
    keeps = (
        "If Redis lost its data now, it would come back paused."
        if pulled.is_noted
        else "Until then Redis and the running processes alone know of it."
    )
    said = Said(
        levels.WARNING,
        f"The gate has stopped the sale by itself. It is written down elsewhere as soon as that can be done. {keeps}",
    )
    return Outcome(True, (*(one for one in found.messages if one.level >= levels.ERROR), said))
