from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from orders.indexes import ensure_indexes


class Command(BaseCommand):
    help = "Create the ledger's indexes where they are missing."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            loops.run(ensure_indexes)
        except PyMongoError as error:
            raise CommandError(f"The ledger's indexes can't be created: {error}") from error
        self.stdout.write("The ledger's indexes are in place.")
