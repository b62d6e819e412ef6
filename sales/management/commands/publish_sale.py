from __future__ import annotations

from copy import copy
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sales.backoffice import LedgerAway, SkuTaken, save_and_publish
from sales.desk import guards, standing
from sales.models import Sale


class Command(BaseCommand):
    help = "Publish a sale of the back office: its settings go to the ledger and the gate. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sku")
        parser.add_argument("--yes", action="store_true", help="do it although something deserves a second look")

    def handle(self, *args: Any, sku: str, yes: bool, **options: Any) -> None:
        sale = Sale.objects.filter(sku=sku).first()
        if sale is None:
            raise CommandError(f"The back office has no sale {sku!r}.")
        before, sale.published = copy(sale), True
        if not before.published:
            self._check(before, sale, yes)
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

    def _check(self, before: Sale, sale: Sale, yes: bool) -> None:
        try:
            sale.full_clean()
        except ValidationError as error:
            raise CommandError(f"{sale.sku} can't be published: {' '.join(error.messages)}") from error
        question = guards.question(before, sale, partial(standing.look, before))
        if question is not None and not yes:
            said = " ".join((*question.consequences, *question.warnings))
            raise CommandError(f"{sale.sku} is not published yet. {said} If you mean it, add --yes.")
