from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import RedisError
from orders.audit import Audit, audit
from sales import catalogue


class Command(BaseCommand):
    help = "Hold promises 1 to 4 against the stores and print them as a table. Exits 1 if one is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sku", nargs="?", help="one sale; all of them when left out")

    def handle(self, *args: Any, sku: str | None = None, **options: Any) -> None:
        async def work() -> list[Audit]:
            sales = [sale for sale in await catalogue.every() if sku in (None, sale.sku)]
            return [await audit(sale) for sale in sales]

        try:
            audits = loops.run(work)
        except (PyMongoError, RedisError) as error:
            raise CommandError(f"A store can't be asked: {error}") from error
        if sku and not audits:
            raise CommandError(f"The ledger has no sale {sku!r}.")
        if not audits:
            self.stdout.write("The ledger has no sales.")
        for found in audits:
            self._print(found)
        if not all(found.holds for found in audits):
            raise CommandError("A promise is broken.", returncode=1)

    def _print(self, found: Audit) -> None:
        self.stdout.write(f"{found.sale.name} ({found.sale.sku})")
        width = max(len(finding.promise) for finding in found.findings)
        for finding in found.findings:
            verdict = self.style.SUCCESS("holds ") if finding.holds else self.style.ERROR("BROKEN")
            self.stdout.write(f"  {verdict}  {finding.promise:<{width}}  {finding.figures}")
