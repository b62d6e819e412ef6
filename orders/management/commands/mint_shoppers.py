from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from orders.identity import COOKIE, cookie_value, sign_in


class Command(BaseCommand):
    help = "Write signed cookies of that many distinct shoppers, one `name=value` a line, for load tests."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("count", type=int)
        parser.add_argument(
            "--prefix", default="load", help="identifiers are <prefix>-1, <prefix>-2, ... (default: load)"
        )
        parser.add_argument("--out", type=Path, help="a file; standard output when left out")

    def handle(self, *args: Any, count: int, prefix: str, out: Path | None, **options: Any) -> None:
        lines = (f"{COOKIE}={cookie_value(sign_in(f'{prefix}-{number}'))}\n" for number in range(1, count + 1))
        if out is None:
            sys.stdout.writelines(lines)
            return
        with out.open("w", encoding="ascii") as file:
            file.writelines(lines)
        self.stderr.write(f"{count} shoppers in {out}")
