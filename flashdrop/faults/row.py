"""One line of the report."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report. Everything from `oversold` to `server_errors` must be 0; None is what had no occasion."""

    fault: str
    what: str
    stock: int
    confirmed: int
    oversold: int
    over_limit: int
    doubled: int
    lost: int
    stranded: int
    untrue: int
    """Refusals that were not true: "sold out" with units free after things settled, "limit reached", "no such sale" or
    "the sale is over" where that was not so, or a refusal as the last word to somebody who has the order."""
    wrong_retries: int | None
    """Repeats of a confirmed purchase that were answered with anything but that order."""
    unkept: int | None
    """Shoppers told "reserved, being confirmed" whose order came to nothing."""
    server_errors: int
    """Answers 500."""
    errors: dict[str, int]
    recovered_after: float | None
    balanced_after: float | None
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """What the fault itself asks of the shop, and did not get."""

    @property
    def untried(self) -> list[str]:
        """What this fault gave no occasion for, and so is not told as kept."""
        return [name for name in ("wrong_retries", "unkept") if getattr(self, name) is None]

    @property
    def verdict(self) -> str:
        if self.broken:
            return f"BROKEN: {', '.join(self.broken)}"
        named = " and ".join(name.replace("_", " ") for name in self.untried)
        return f"holds (no occasion for {named})" if named else "holds"

    @property
    def broken(self) -> list[str]:
        """The columns that are red."""
        red = [
            name
            for name in (
                "oversold", "over_limit", "doubled", "lost", "stranded", "untrue", "wrong_retries", "unkept",
                "server_errors",
            )
            if getattr(self, name)
        ]  # fmt: skip
        if self.recovered_after is None:
            red.append("never recovered")
        if self.balanced_after is None:
            red.append("not balanced in time")
        return red + self.failures
