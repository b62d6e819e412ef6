from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sales.backoffice import LedgerAway, SkuTaken, save_and_publish
from sales.models import Sale


class Command(BaseCommand):
    help = "Publish a sale of the back office: its settings go to the ledger and the gate. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sku")

    def handle(self, *args: Any, sku: str, **options: Any) -> None:
        sale = Sale.objects.filter(sku=sku).first()
        if sale is None:
            raise CommandError(f"The back office has no sale {sku!r}.")
        sale.published = True
        try:
            published = save_and_publish(sale)
        except LedgerAway as error:
            raise CommandError("Saved, but the ledger can't be reached; the worker publishes it later.") from error
        except SkuTaken as error:
            raise CommandError(f"The ledger already has another sale {sku!r}.") from error
        if published is None:
            self.stdout.write(f"{sku}: a worker has just published it.")
            return
        force = "in force" if published.in_force else "the worker puts it in force when the gate is back"
        self.stdout.write(f"{sku}: version {published.sale.version}, stock {published.sale.stock}; {force}.")
