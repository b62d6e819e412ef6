from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from flashdrop import loops
from flashdrop.redis_client import RedisError, redis
from sales import catalogue, register
from sales.models import Sale


class Command(BaseCommand):
    help = (
        "Give up a sale that the ledger has lost for good, so that the shop sells again. Its orders are lost with it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sku")
        parser.add_argument("--yes", action="store_true", help="do it; without this it is only told what would be done")

    def handle(self, *args: Any, sku: str, yes: bool, **options: Any) -> None:
        async def look() -> list[str]:
            known = await register.sales(redis())
            named = [sale_id for sale_id, name in known.items() if name == sku]
            if len(await catalogue.missing(named)) < len(named):
                raise CommandError(f"The ledger has {sku!r}: nothing is lost. Withdraw it in the admin.")
            return named

        async def forget() -> None:
            for sale_id in named:
                await register.forget(redis(), sale_id)

        try:
            named = loops.run(look)
            if not named:
                raise CommandError(f"No sale {sku!r} is missed.")
            if not yes:
                raise CommandError(f"Restore the ledger if you can. To give {sku!r} up with its orders, add --yes.")
            # The back office would miss it again.
            Sale.objects.filter(pk__in=named).update(published=False, needs_publishing=False)
            loops.run(forget)
        except RedisError as error:
            raise CommandError(f"The gate can't be asked: {error}") from error
        self.stdout.write(f"{sku}: given up.")
