"""Publishing: a sale's settings go to the ledger first, then to the gate."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flashdrop.redis_client import RedisError, redis
from sales import catalogue, register, stock
from sales.gate import Publication
from sales.published import PublishedSale, SaleSettings

log = logging.getLogger(__name__)


async def _prepare_nothing() -> None:
    """The default, without the app that knows the orders' indexes."""


_prepare_ledger: Callable[[], Awaitable[object]] = _prepare_nothing


def prepare_ledger_by(prepare: Callable[[], Awaitable[object]]) -> None:
    """Have `prepare` make a new ledger's indexes before anything is written into it.

    A ledger that holds a sale and lacks an index looks as if it had lost orders, and nothing would be sold.
    """
    global _prepare_ledger
    _prepare_ledger = prepare


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication came to.

    `in_force` is false when the gate could not be asked or has lost the sale, and the worker will bring it up to date.
    `sale.stock` is the stock in force: above the one asked for when units above it are already held.
    """

    sale: PublishedSale
    in_force: bool


async def publish(
    settings: SaleSettings, saved: int | None = None, *, knows_brake: str = "", must_exist: bool = False
) -> Published:
    """Store `settings` in the ledger under a new version, then put them in force at the gate.

    `saved`, where there is one, tells which of several settings was saved last (`catalogue.save`). A brake at the gate
    is let go if it is the one that they know of, by its name; any other holds on. `must_exist` is for a sale that was
    published before.

    Not atomic: between the two steps the gate sells by the older version. A unit it issues above a lowered stock stays
    pending until the stock is corrected, so nothing is written that the ledger's stock does not cover.

    Raises:
        catalogue.Overtaken: settings that were saved later have been published already.
        pymongo.errors.DuplicateKeyError: another sale has this sku.
        pymongo.errors.PyMongoError: the ledger can't be written; whether it was is unknown, and repeating is safe.
    """
    if not must_exist:  # else it is no new ledger, and what it lacks was lost
        await _prepare_ledger()
    sale = await catalogue.save(settings, saved=saved, knows_brake=knows_brake, must_exist=must_exist)
    return await put_in_force(sale, create=sale.version == 1)


async def put_in_force(sale: PublishedSale, *, create: bool = False) -> Published:
    """Bring the gate up to `sale`'s version. Safe to repeat. A gate that has lost the sale is left to the worker."""
    try:
        outcome, stock_in_force = await stock.publish(redis(), sale, create=create)
    except RedisError as error:
        log.warning(
            "sale %s: the gate can't be asked (%s); the worker will publish version %d", sale.sku, error, sale.version
        )
        return Published(sale, in_force=False)
    if outcome is Publication.NOT_LOADED:
        return Published(sale, in_force=False)
    await _enter(sale)
    if stock_in_force > sale.stock:
        corrected = await catalogue.raise_stock_to(sale, stock_in_force)
        if corrected is not None:
            return await put_in_force(corrected)
    return Published(sale, in_force=True)


async def _enter(sale: PublishedSale) -> None:
    try:
        await register.enter(redis(), {sale.id: sale.sku})
    except RedisError as error:
        log.warning("sale %s: it can't be entered in the register; a worker does it: %s", sale.sku, error)
