"""From the back office's table to the ledger: what merchandisers save becomes what shoppers see.

A row that needs publishing says so in the row itself, so that a save made while the ledger is away, or by a process
that died before it had published, is not forgotten: the worker publishes it later. No lock is held meanwhile, so that a
slow store keeps nobody from saving: each save has a number, the ledger takes no lower one after a higher one, and the
mark is taken off only a row that still has the number that was published. So the last thing saved is the last thing
published, however many publish at once, and wherever one of them dies.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, close_old_connections, transaction
from django.db.models import Case, F, IntegerField, Value, When
from django.db.models.functions import Greatest
from django.utils import timezone
from pymongo.errors import DuplicateKeyError

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError, within
from flashdrop.redis_client import RedisError, redis
from sales import catalogue, publishing, stock
from sales.gate import Brake
from sales.models import Sale
from sales.published import SaleSettings
from sales.publishing import Published

log = logging.getLogger(__name__)
SAVED = [
    *(field.name for field in fields(SaleSettings) if field.name != "id"),
    "needs_publishing",
    "saved_version",
    "updated_at",
]
# Somebody who saves faster than one publishes leaves the rest to the worker.
ROUNDS = 5
# Somebody waits for the form.
ANSWER_SECONDS = 1.5


class LedgerAway(Exception):
    """The ledger can't be written now, or has lost the sale; the row is kept and will be published later."""


class SkuTaken(Exception):
    """The ledger has another sale under this sku; the row is kept, and no longer marked as published."""


def save(sale: Sale, released: Brake | None = None) -> bool:
    """Save the row, marked for publishing when shoppers can see it or could before. Returns whether it was marked.

    `released` is a brake that whoever saves knows of: once published, `paused` alone says whether the sale is stopped.
    """
    sale.needs_publishing = sale.published or sale.version > 0
    sale.saved_version = F("saved_version") + 1 if not sale._state.adding else 1
    # Not the version: whoever publishes writes that, and may have done so since this row was read.
    saved = SAVED
    if released is not None:
        sale.knows_brake = released.name
        saved = [*SAVED, "knows_brake"]
    sale.save(update_fields=None if sale._state.adding else saved)
    sale.refresh_from_db(fields=["saved_version"])
    return sale.needs_publishing


@contextmanager
def unchanged(sale_id: str, before: SaleSettings) -> Iterator[bool]:
    """A transaction with the row under its lock; whether it still has the settings that were read before.

    What has to be asked of the stores is asked before this, and what was read then is looked at again in it: so nobody
    waits at the row for a store, and nobody's change is lost.
    """
    with transaction.atomic():
        current = Sale.objects.select_for_update().filter(pk=sale_id).first()
        yield current is not None and current.settings() == before


def publish_saved(sale_id: str) -> Published | None:
    """Publish the row as it is now, and note in it what is in force. None when somebody else has done it.

    Synchronous, for the admin, commands and the worker's thread; not inside a transaction, which would keep others from
    the row, or the whole table, for as long as a store takes to answer.

    Raises:
        LedgerAway: the row keeps its mark.
        SkuTaken: the row is no longer marked as published.
    """
    published = None
    for _ in range(ROUNDS):
        sale = Sale.objects.filter(pk=sale_id, needs_publishing=True).first()
        if sale is None:
            break
        as_read = Sale.objects.filter(pk=sale_id, saved_version=sale.saved_version)
        try:
            published = loops.run(
                partial(
                    publishing.publish,
                    sale.settings(),
                    sale.saved_version,
                    knows_brake=sale.knows_brake,
                    must_exist=sale.version > 0,
                )
            )
        except catalogue.Overtaken as newer:
            # Saved anew since we read it; or nobody did, and the back office is an older copy of itself, restored.
            if as_read.update(saved_version=newer.saved + 1):
                log.warning("sale %s: the ledger knows a later save than this back office; this one replaces it", sale)
        except DuplicateKeyError as error:
            if as_read.update(needs_publishing=False, published=False):
                raise SkuTaken from error
        except PyMongoError as error:
            log.warning("sale %s: saved, but the ledger can't be written: %s", sale.sku, error)
            raise LedgerAway from error
        else:
            if as_read.update(needs_publishing=False, **_in_row(published)):
                break
    return published


def _in_row(published: Published) -> dict[str, Any]:
    """What the row is to say. Another may have published the same save meanwhile, each under a version of its own: the
    higher one's stock is what the ledger has, for whoever came first may not have been told of a correction.
    """
    version = published.sale.version
    newest_stock = Case(
        When(version__lte=version, then=Value(published.sale.stock)), default=F("stock"), output_field=IntegerField()
    )
    return {"version": Greatest("version", version), "stock": newest_stock}


def save_and_publish(sale: Sale) -> Published | None:
    """`save`, then `publish_saved`; for commands, outside of any transaction. None when nothing was to be published."""
    return publish_saved(sale.pk) if save(sale) else None


async def must_have() -> dict[str, str]:
    """The sales that the ledger must have by the back office: sale id to sku of what was published and isn't over."""
    rows = Sale.objects.filter(published=True, version__gt=0, closes_at__gt=timezone.now())
    return {pk: sku async for pk, sku in rows.values_list("pk", "sku")}


async def publish_outstanding() -> int:
    """Publish every row that still needs it. Returns how many there were. For the worker.

    Raises:
        LedgerAway: the rows keep their mark.
    """
    try:
        outstanding = [pk async for pk in Sale.objects.filter(needs_publishing=True).values_list("pk", flat=True)]
    except (InterfaceError, OperationalError):
        # Outside of a request nobody else puts a connection away that has broken, and it would never work again.
        await sync_to_async(close_old_connections)()
        raise
    for pk in outstanding:
        try:
            await sync_to_async(publish_saved)(pk)
        except SkuTaken:
            log.error("sale %s: not published, the ledger has another one under its sku", pk)
    return len(outstanding)


def is_sku_taken(sku: str, sale_id: str) -> bool:
    """Whether the ledger has another sale under this SKU: of an earlier back office, say. False while it is away."""
    try:
        there = loops.run(lambda: within(ANSWER_SECONDS, catalogue.get_by_sku(sku)))
    except (PyMongoError, TimeoutError) as error:
        log.warning("sku %s: the ledger can't be asked whether it is taken: %s", sku, error)
        return False
    return there is not None and there.id != sale_id


def in_force(sale: Sale) -> Published | None:
    """What the stores have of a row that somebody else has published; None when they can't be asked."""

    async def ask() -> Published | None:
        published = await catalogue.get(sale.pk)
        _, (levels,) = await stock.levels(redis(), [sale.pk])
        if published is None:
            return None
        return Published(published, in_force=levels.loaded and levels.version >= published.version)

    try:
        return loops.run(ask)
    except (PyMongoError, RedisError) as error:
        log.warning("sale %s: whether it is in force can't be asked: %s", sale.sku, error)
        return None


def units_taken(sale: Sale) -> int:
    """Units reserved or sold: by the gate, else as the worker last counted them. For checking a form.

    Raises:
        LedgerAway: neither store can be asked.
    """

    async def ask() -> int:
        try:
            _, (levels,) = await stock.levels(redis(), [sale.pk])
            if levels.loaded:
                return levels.issued
        except RedisError as error:
            log.warning("sale %s: the gate can't be asked: %s", sale.sku, error)
        published = await catalogue.get(sale.pk)
        return published.stock - published.available if published else 0

    try:
        return loops.run(ask)
    except PyMongoError as error:
        raise LedgerAway from error
