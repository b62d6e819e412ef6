"""What the doctor found: one line each, with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is. Only AT_RISK makes the command fail."""

    OK = "OK"
    ADVICE = "ADVICE"
    """No promise is broken by it, or it can't be checked from here."""
    AT_RISK = "AT RISK"
    """A promise may be broken, or nothing can be sold."""


class Area(StrEnum):
    """Where a finding belongs, in the order in which they are printed."""

    CONFIGURATION = "configuration"
    REDIS = "redis"
    MONGODB = "mongodb"
    INDEXES = "indexes"
    CLOCKS = "clocks"
    SALES = "sales"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what it was like, and the command or setting that makes it good (empty when it is OK)."""

    area: Area
    name: str
    level: Level
    found: str
    advice: str = ""


class Notes:
    """The findings of one area, as they are made. `about` goes before each name: which server, which sale."""

    def __init__(self, area: Area, about: str = "") -> None:
        self.findings: list[Finding] = []
        self._area = area
        self._about = f"{about}: " if about else ""

    def ok(self, name: str, found: str) -> None:
        self._add(name, Level.OK, found, "")

    def advice(self, name: str, found: str, advice: str) -> None:
        self._add(name, Level.ADVICE, found, advice)

    def at_risk(self, name: str, found: str, advice: str) -> None:
        self._add(name, Level.AT_RISK, found, advice)

    def _add(self, name: str, level: Level, found: str, advice: str) -> None:
        self.findings.append(Finding(self._area, f"{self._about}{name}", level, found, advice))


def is_at_risk(findings: Sequence[Finding]) -> bool:
    """Whether a promise is in danger."""
    return any(finding.level is Level.AT_RISK for finding in findings)
