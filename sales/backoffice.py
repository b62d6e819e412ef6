"""From the back office's table to the ledger: what merchandisers save becomes what shoppers see.

A row that needs publishing says so in the row itself, so that a save made while the ledger is away, or by a process
that died before it had published, is not forgotten: the worker publishes it later. Whoever publishes reads the row
under its lock, so that the last thing saved is the last thing published.
"""

from __future__ import annotations

import logging
from dataclasses import fields

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, close_old_connections, transaction
from pymongo.errors import DuplicateKeyError

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import RedisError, redis
from sales import catalogue, publishing, stock
from sales.models import Sale
from sales.published import SaleSettings
from sales.publishing import Published

log = logging.getLogger(__name__)
SAVED = [field.name for field in fields(SaleSettings) if field.name != "id"] + ["needs_publishing", "updated_at"]


class LedgerAway(Exception):
    """The ledger can't be written now; the row is kept and will be published later."""


class SkuTaken(Exception):
    """The ledger has another sale under this sku; the row is kept, and no longer marked as published."""


def save(sale: Sale) -> bool:
    """Save the row, marked for publishing when shoppers can see it or could before. Returns whether it was marked."""
    sale.needs_publishing = sale.published or sale.version > 0
    # Not the version: whoever publishes writes that, and may have done so since this row was read.
    sale.save(update_fields=None if sale._state.adding else SAVED)
    return sale.needs_publishing


def publish_saved(sale_id: str) -> Published | None:
    """Publish the row as it is now, and note in it what is in force. None when somebody else has done it.

    Synchronous, for the admin, commands and the worker's thread; not inside a transaction, or others would not see the
    row that this puts in force.

    Raises:
        LedgerAway: the row keeps its mark.
        SkuTaken: the row is no longer marked as published.
    """
    with transaction.atomic():
        sale = Sale.objects.select_for_update().filter(pk=sale_id, needs_publishing=True).first()
        if sale is None:
            return None
        row = Sale.objects.filter(pk=sale_id)
        try:
            published = loops.run(lambda: publishing.publish(sale.settings()))
        except DuplicateKeyError:
            row.update(needs_publishing=False, published=False)
        except PyMongoError as error:
            log.warning("sale %s: saved, but the ledger can't be written: %s", sale.sku, error)
            raise LedgerAway from error
        else:
            row.update(needs_publishing=False, version=published.sale.version, stock=published.sale.stock)
            return published
    raise SkuTaken


def save_and_publish(sale: Sale) -> Published | None:
    """`save`, then `publish_saved`; for commands, outside of any transaction. None when nothing was to be published."""
    return publish_saved(sale.pk) if save(sale) else None


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
