from __future__ import annotations

import asyncio
import getpass
import socket
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError, within
from flashdrop.redis_client import RedisError, redis
from sales import brakes, catalogue, register, stock
from sales.brakes import Pulled

# By then Redis has its append-only file on the disk, as it is told to.
KEPT_AFTER_SECONDS = 2.0
LEDGER_SECONDS = 2.0


class Command(BaseCommand):
    help = "Stop a sale at once: the emergency brake. Needs Redis alone; it is resumed on the sale's page Control."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sku", nargs="?", help="the sale's SKU")
        parser.add_argument("--all", action="store_true", help="every sale that is published")

    def handle(self, *args: Any, sku: str | None = None, **options: Any) -> None:
        if (sku is None) != options["all"]:
            raise CommandError("Name one sale by its SKU, or give --all.", returncode=2)
        by = f"{getpass.getuser()}@{socket.gethostname()}"

        found: dict[str, Pulled] = {}
        failed: dict[str, RedisError] = {}

        async def work() -> None:
            # By the gate's own list first: who stops a sale doesn't wait for a ledger that is away.
            unread = None
            try:
                chosen = _named(sku, await register.sales(redis()))
            except RedisError as error:  # in a Cluster another node may hold the sale, and be there
                chosen, unread = {}, error
            await _pull(chosen, by, found, failed)
            if sku is None or not chosen:
                more = {i: name for i, name in _named(sku, await _in_ledger()).items() if i not in chosen}
                await _pull(more, by, found, failed)
                chosen |= more
            if unread is not None and (sku is None or not chosen):
                failed[sku or "what only the gate knows of"] = unread
            await asyncio.sleep(KEPT_AFTER_SECONDS if found else 0)
            stopped = {sale_id: name for sale_id, name in chosen.items() if name in found}
            _, levels = await stock.levels(redis(), list(stopped))
            lost = [name for name, level in zip(stopped.values(), levels, strict=True) if not level.is_stopped]
            if lost:
                raise CommandError(f"Not stopped: {', '.join(lost)}. The gate has lost the brake; try again.")

        try:
            loops.run(work)
        except RedisError as error:
            raise CommandError(f"Not stopped: {_why(error)}") from error
        if not found and not failed and sku is not None:
            raise CommandError(f"No sale {sku!r} is known to the gate or to the ledger.")
        for name, pulled in found.items():
            noted = "" if pulled.is_noted else " The ledger can't be reached: it is noted there when it is back."
            self.stdout.write(f"{name}: stopped, since {pulled.brake.pulled_at:%H:%M:%S} UTC.{noted}")
        if failed:
            raise CommandError(f"Not stopped: {', '.join(failed)}: {_why(next(iter(failed.values())))}")


def _why(error: RedisError) -> str:
    return (
        f"the gate can't be asked, or takes no writes: {error}. While that is so for every host, nothing is sold there."
    )


def _named(sku: str | None, sales: dict[str, str]) -> dict[str, str]:
    """All of `sales`, sale id to sku, or the one that is asked for."""
    return {sale_id: name for sale_id, name in sales.items() if sku in (None, name)}


async def _pull(sales: dict[str, str], by: str, found: dict[str, Pulled], failed: dict[str, RedisError]) -> None:
    """Add what was stopped, by sku, and what was not: a node of a Cluster that is away keeps no other's sales open."""
    outcomes = await asyncio.gather(*(brakes.pull(sale_id, by) for sale_id in sales), return_exceptions=True)
    for name, outcome in zip(sales.values(), outcomes, strict=True):
        if isinstance(outcome, RedisError):
            failed[name] = outcome
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            found[name] = outcome


async def _in_ledger() -> dict[str, str]:
    try:
        return {sale.id: sale.sku for sale in await within(LEDGER_SECONDS, catalogue.every()) if sale.published}
    except (PyMongoError, TimeoutError):
        return {}
