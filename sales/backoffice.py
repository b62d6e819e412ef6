"""From the back office's table to the ledger: what merchandisers save becomes what shoppers see.

A row that needs publishing says so in the row itself, so that a save made while the ledger is away is not forgotten:
the worker publishes it later.
"""

from __future__ import annotations

import logging

from asgiref.sync import sync_to_async
from pymongo.errors import DuplicateKeyError

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import RedisError, redis
from sales import catalogue, publishing, stock
from sales.models import Sale
from sales.publishing import Published

log = logging.getLogger(__name__)


class LedgerAway(Exception):
    """The ledger can't be written now; the row is kept and will be published later."""


class SkuTaken(Exception):
    """The ledger has another sale under this sku."""


def save_and_publish(sale: Sale) -> Published | None:
    """Save the row; publish it when shoppers can see it, or could before. None when there was nothing to publish.

    Synchronous, for the admin and commands. The row's stock is set to the one in force.

    Raises:
        LedgerAway: saved, not published.
        SkuTaken: saved, and can't be published under this sku.
    """
    sale.needs_publishing = sale.published or sale.version > 0
    sale.save()
    if not sale.needs_publishing:
        return None
    try:
        published = loops.run(lambda: publishing.publish(sale.settings()))
    except DuplicateKeyError as error:
        Sale.objects.filter(pk=sale.pk).update(needs_publishing=False, published=False)
        raise SkuTaken from error
    except PyMongoError as error:
        log.warning("sale %s: saved, but the ledger can't be written: %s", sale.sku, error)
        raise LedgerAway from error
    _note_published(sale, published)
    return published


async def publish_outstanding() -> int:
    """Publish every row that still needs it. Returns how many there were. For the worker.

    Raises:
        pymongo.errors.PyMongoError: the ledger is away; the rows keep their mark.
    """
    outstanding = [sale async for sale in Sale.objects.filter(needs_publishing=True)]
    for sale in outstanding:
        published = await publishing.publish(sale.settings())
        await sync_to_async(_note_published)(sale, published)
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


def _note_published(sale: Sale, published: Published) -> None:
    rows = Sale.objects.filter(pk=sale.pk)
    unchanged = rows.filter(updated_at=sale.updated_at).update(
        needs_publishing=False, version=published.sale.version, stock=published.sale.stock
    )
    if unchanged:
        sale.stock = published.sale.stock
    else:
        # Somebody saved meanwhile: what we published may have come after theirs. Once more, from the row as it is.
        rows.update(needs_publishing=True)
