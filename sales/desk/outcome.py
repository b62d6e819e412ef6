"""Putting a saved sale in force, and what the merchandiser is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from django.contrib.messages import constants as levels

from sales import backoffice
from sales.backoffice import LedgerAway, SkuTaken


class Said(NamedTuple):
    """One message; `level` is one of Django's message levels."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """`in_force` is false while shoppers are still served by the older settings, or by none."""

    in_force: bool
    messages: tuple[Said, ...] = ()


def publish(sale_id: str, asked_stock: int) -> Outcome:
    """Publish the row as it is now; outside of any transaction. It never raises for a store that is away."""
    try:
        published = backoffice.publish_saved(sale_id)
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
        return Outcome(True)
    said = []
    if published.sale.stock != asked_stock:
        said.append(
            Said(
                levels.WARNING,
                f"While you were saving, units up to number {published.sale.stock:,} were taken: the stock is "
                f"{published.sale.stock:,}, not {asked_stock:,}.",
            )
        )
    if not published.in_force:
        said.append(
            Said(
                levels.WARNING,
                "Saved. The gate can't be asked right now; the worker puts this in force as soon as it is back.",
            )
        )
    return Outcome(published.in_force, tuple(said))
