from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from flashdrop import loops
from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import RedisError
from orders.audit import Audit, Finding, audit
from orders.repair import plan, repair
from sales import catalogue

T = TypeVar("T")
LISTED = 5
VERDICTS: dict[bool | None, Callable[[Any], str]] = {
    True: lambda style: str(style.SUCCESS("holds  ")),
    False: lambda style: str(style.ERROR("BROKEN ")),
    None: lambda style: str(style.WARNING("unknown")),
}


class Command(BaseCommand):
    help = "Hold promises 1 to 4 against the stores and print them as a table. Exits 1 if one is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sku", nargs="?", help="one sale, archived or not; all that are in use when left out")
        parser.add_argument(
            "--repair",
            action="store_true",
            help="print what can safely be made good: pending orders, a wrong gate, sales.available; never an order",
        )
        parser.add_argument("--yes", action="store_true", help="with --repair: do it, and audit again")

    def handle(self, *args: Any, sku: str | None = None, repair: bool, yes: bool, **options: Any) -> None:
        if yes and not repair:
            raise CommandError("--yes goes with --repair.", returncode=2)
        audits = self._audits(sku)
        if sku and not audits:
            raise CommandError(f"The ledger has no sale {sku!r}.")
        if not audits:
            self.stdout.write("The ledger has no sales.")
        for found in audits:
            self._print(found)
            if repair:
                self._print_plan(found)
        if repair and yes:
            audits = [self._repaired(found) for found in audits]
        if not all(found.holds for found in audits):
            raise CommandError("A promise is broken.", returncode=1)
        if repair and any(plan(found) for found in audits):
            raise CommandError("There is something to repair.", returncode=1)

    def _audits(self, sku: str | None) -> list[Audit]:
        async def work() -> tuple[list[Audit], int]:
            one = await catalogue.get_by_sku(sku) if sku else None
            sales = ([one] if one else []) if sku else await catalogue.every()
            return [await audit(sale) for sale in sales], 0 if sku else await catalogue.count_archived()

        audits, archived = _asked(work)
        if archived:
            self.stdout.write(f"Left out: {archived:,} archived sales; name one to audit it.")
        return audits

    def _repaired(self, found: Audit) -> Audit:
        """The audit after the repair; `found` itself when there was nothing to do."""
        if not plan(found):
            return found

        async def work() -> tuple[list[str], Audit]:
            told = await repair(found.sale)
            return told, await audit(found.sale)

        told, after = _asked(work)
        for line in told:
            self.stdout.write(f"  {line}")
        self._print(after)
        return after

    def _print(self, found: Audit) -> None:
        self.stdout.write(f"{found.sale.name} ({found.sale.sku})")
        width = max(len(finding.promise) for finding in found.findings)
        for finding in found.findings:
            verdict = VERDICTS[finding.verdict](self.style)
            self.stdout.write(f"  {verdict}  {finding.promise:<{width}}  {finding.figures}")
            self._print_offenders(finding)

    def _print_offenders(self, finding: Finding) -> None:
        for line in finding.offenders[:LISTED]:
            self.stdout.write(f"            {line}")
        if len(finding.offenders) > LISTED:
            self.stdout.write(f"            and {len(finding.offenders) - LISTED} more")

    def _print_plan(self, found: Audit) -> None:
        steps = plan(found)
        nothing = "  Nothing to repair." if found.holds else "  Nothing that can be repaired safely."
        self.stdout.write("  To repair:" if steps else nothing)
        for step in steps:
            self.stdout.write(f"    {step.what}")
        if found.ledger_damage:
            self.stdout.write("  A person must decide; no order is touched. The ledger itself breaks promise 1 or 2:")
            for line in found.ledger_damage:
                self.stdout.write(f"    {line}")


def _asked(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return loops.run(work)
    except (PyMongoError, RedisError) as error:
        raise CommandError(f"A store can't be asked: {error}") from error
