from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import RedisError
from orders.rebuild import RebuildImpossible, Rebuilt, rebuild
from sales import catalogue
from sales.brakes import Keeper, is_unknown


class Command(BaseCommand):
    help = "Rebuild a sale's gate from the ledger. The sale answers 503 meanwhile; safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sku")

    def _show(self, done: int, total: int) -> None:
        if total:
            self.stderr.write(f"\r{done:,} of {total:,} orders read", ending="" if done < total else "\n")

    def handle(self, *args: Any, sku: str, **options: Any) -> None:
        async def work() -> Rebuilt | None:
            # First: whether the gate that is replaced was stopped by a brake, or nobody can tell.
            await Keeper().look_at_ledger()
            sale = await catalogue.get_by_sku(sku)
            return await rebuild(sale, self._show) if sale else None

        try:
            rebuilt = loops.run(work)
        except (PyMongoError, RedisError, RebuildImpossible) as error:
            raise CommandError(f"Not rebuilt: {error}") from error
        if rebuilt is None:
            raise CommandError(f"The ledger has no sale {sku!r}.")
        self.stdout.write(
            f"Rebuilt from {rebuilt.orders} orders in {rebuilt.seconds:.2f} s; epoch {rebuilt.sale.epoch}."
            if rebuilt.took_effect
            else "A newer rebuild is already in force."
        )
        brake = rebuilt.sale.brake
        if brake is not None:
            why = (
                "whether somebody had stopped it can't be known"
                if is_unknown(brake)
                else f"{brake.by} stopped it at {brake.pulled_at:%H:%M:%S} UTC"
            )
            self.stdout.write(f"It stays paused: {why}. Resume it on its page Control.")
