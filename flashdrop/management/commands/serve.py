from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from flashdrop.config import config
from flashdrop.serve import Address, AddressTaken, Supervisor


class Command(BaseCommand):
    help = "Serve the shop: web workers only. Stores and the worker (run_worker) run beside it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=config.host)
        parser.add_argument("--port", type=int, default=config.port)
        parser.add_argument("--workers", type=int, default=config.web_workers)

    def handle(self, *args: Any, host: str, port: int, workers: int, **options: Any) -> None:
        if workers < 1:
            raise CommandError("--workers must be at least 1.")
        try:
            Supervisor(Address(host, port), workers).run()
        except AddressTaken as error:
            raise CommandError(str(error)) from error
