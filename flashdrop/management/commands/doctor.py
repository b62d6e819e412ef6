from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from flashdrop import loops
from flashdrop.config import config
from orders.doctor.examination import examine
from orders.doctor.finding import Finding, Level, is_at_risk


class Command(BaseCommand):
    help = "Say whether this installation keeps the promises: settings, stores, indexes, clocks, sales. Exits 1 if not."
    # The doctor says what is wrong; Django's own checks would end it before it could.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="a list of {area, name, level, found, advice}")
        parser.add_argument("--quiet", action="store_true", help="only what is not OK")

    def handle(self, *args: Any, quiet: bool, **options: Any) -> None:
        findings = loops.run(lambda: examine(config))
        shown = [finding for finding in findings if not quiet or finding.level is not Level.OK]
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in shown], indent=2))
        else:
            self._print(shown)
        if is_at_risk(findings):
            raise CommandError("A promise is at risk.", returncode=1)

    def _print(self, findings: Sequence[Finding]) -> None:
        styles = {Level.OK: self.style.SUCCESS, Level.ADVICE: self.style.WARNING, Level.AT_RISK: self.style.ERROR}
        for area, of_area in groupby(findings, lambda finding: finding.area):
            self.stdout.write(area.value)
            for finding in of_area:
                self.stdout.write(f"  {styles[finding.level](f'{finding.level:<7}')}  {finding.name}: {finding.found}")
                if finding.advice:
                    self.stdout.write(f"           do: {finding.advice}")
