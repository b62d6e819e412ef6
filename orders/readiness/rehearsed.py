"""Whether the sale was rehearsed, and not changed since."""

from __future__ import annotations

from collections.abc import Sequence

from orders.readiness.line import Line, amber, green, red
from orders.rehearsal.record import State
from sales.desk.journal import Entry
from sales.desk.words import moment

NAME = "Rehearsal"
# How a rehearsal stands in the audit log.
BEGINS = "Rehearsed: "
WORDS = {State.HELD: "held", State.FAILED: "did not hold", State.BROKEN_OFF: "broke off"}


def noted(state: State, summary: str) -> str:
    """A rehearsal's line in the audit log."""
    return f"{BEGINS}{WORDS.get(state, 'broke off')}. {summary}"


def check_rehearsed(log: Sequence[Entry]) -> Line:
    """`log` is the sale's, newest first."""
    place = next((at for at, entry in enumerate(log) if entry.action.startswith(BEGINS)), None)
    if place is None:
        return amber(
            NAME, "This sale was never rehearsed.", "Rehearse it: ten seconds, and shoppers see nothing of it."
        )
    last, when = log[place], moment(log[place].at.replace(microsecond=0))
    if not last.action.startswith(noted(State.HELD, "")):
        return red(NAME, f"The last one, {when}: {last.action.removeprefix(BEGINS)}", "Rehearse again until it holds.")
    if any(entry.changes for entry in log[:place]):
        return amber(NAME, f"It held, {when}, but the sale was changed since.", "Rehearse it again.")
    return green(NAME, f"It held, {when}.")
