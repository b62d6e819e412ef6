"""The emergency stop and the back office: a pause that begins at the gate, and ends as any other does."""

from __future__ import annotations

import logging

from django.contrib.auth.models import User
from django.db import transaction

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import RedisError, redis
from sales import backoffice, brakes, catalogue, stock
from sales.backoffice import SkuTaken
from sales.brakes import Pulled
from sales.desk import journal
from sales.gate import Brake
from sales.models import Sale

# Who pulled it saves the row in the same breath; a worker does it for those who can't.
OWN_SAVE_SECONDS = 2.0
# In whose name the log has what nobody with an account did. It can't sign in.
NOBODY = "emergency-brake"
log = logging.getLogger(__name__)


def pull(sale: Sale, by: str) -> Pulled | None:
    """Stop the sale at the gate now; None when the gate can't be asked from here, or refuses writes."""
    try:
        return loops.run(lambda: brakes.pull(sale.pk, by))
    except RedisError as error:
        log.warning("sale %s: its brake can't be pulled: %s", sale.sku, error)
        return None


def is_stopped(sale: Sale) -> bool | None:
    """Whether the gate refuses everybody now; None when it can't be asked."""

    async def ask() -> bool:
        _, (levels,) = await stock.levels(redis(), [sale.pk])
        return levels.is_stopped

    try:
        return loops.run(ask)
    except RedisError:
        return None


def standing(sale: Sale) -> Brake | None:
    """The brake that holds the sale, by the gate, else as it was noted in the ledger; None when neither has one."""

    async def ask() -> Brake | None:
        try:
            _, (levels,) = await stock.levels(redis(), [sale.pk])
            if levels.brake is not None:
                return levels.brake
        except RedisError as error:
            log.warning("sale %s: the gate can't be asked for its brake: %s", sale.sku, error)
        try:
            published = await catalogue.get(sale.pk)
        except PyMongoError as error:
            log.warning("sale %s: the ledger can't be asked for its brake: %s", sale.sku, error)
            return None
        return published.brake if published else None

    return loops.run(ask)


def take_over(sale_id: str, brake: Brake) -> None:
    """Make a brake part of the sale's own settings: paused, saved, written into the log, published. Safe to repeat.

    For the worker. A sale that the back office doesn't have stays braked.

    Raises:
        LedgerAway: saved; it is published when the ledger is back.
    """
    with transaction.atomic():
        sale = Sale.objects.select_for_update().filter(pk=sale_id).first()
        if sale is None or sale.knows_brake == brake.name:
            return
        before = sale.settings()
        sale.paused = True
        backoffice.save(sale, released=brake)
        _note(sale, brake, journal.changes_between(before, sale.settings()))
    log.warning("sale %s: paused by the brake that %s pulled at %s", sale.sku, brake.by, brake.pulled_at)
    try:
        backoffice.publish_saved(sale_id)
    except SkuTaken:
        log.error("sale %s: braked, and the ledger has another one under its sku", sale.sku)


def _note(sale: Sale, brake: Brake, changes: list[journal.Change]) -> None:
    if brakes.is_unknown(brake):
        why = "The gate was lost while nobody could tell whether somebody had stopped it."
    else:
        why = f"The emergency brake, pulled {brake.pulled_at:%H:%M:%S} UTC by {brake.by}"
    user = User.objects.filter(username=brake.by).first()
    if user is None:
        user, is_new = User.objects.get_or_create(username=NOBODY, defaults={"is_active": False})
        if is_new:
            user.set_unusable_password()
            user.save(update_fields=["password"])
    journal.note(user, sale, "Paused", changes, why, token=brake.name)
