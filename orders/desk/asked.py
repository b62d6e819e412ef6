"""A search as it stands in the page's address: what was asked, and the addresses of the pages around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from flashdrop.envelope import from_ms, to_ms
from orders.desk.finding import NotUnderstood, Reading, Understood, understand
from orders.desk.words import PENDING
from orders.ledger_desk import OrderState, Place, Wanted

# What the form has; the rest of an address is where in the results one is.
FIELDS = ("q", "as", "state", "since", "until")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed and chosen, as text, and what it means."""

    texts: dict[str, str]
    sale_id: str | None
    state: OrderState | None
    is_pending_only: bool
    readings: list[Reading]
    """The ways to understand the term; one, once it has been chosen."""
    all_readings: list[Reading]
    hint: str
    since: datetime | None
    until: datetime | None
    problem: str
    """Why this can't be searched for; empty when it can."""

    @property
    def is_enough(self) -> bool:
        """A sale or a term: without either there are only all orders of all sales."""
        return bool(self.sale_id or self.readings)

    @property
    def ways(self) -> list[Reading | None]:
        """Each way to understand the term; None when there is no term."""
        return [*self.readings] or [None]

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but the sale was asked for."""
        return any(self.texts[name] for name in FIELDS)

    def wanted(self, reading: Reading | None = None) -> Wanted:
        """The search, with the term understood as `reading`."""
        wanted = Wanted(sale_id=self.sale_id, state=self.state, since=self.since, until=self.until)
        return reading.within(wanted) if reading else wanted

    def query(self, **changes: str) -> str:
        """The part of an address behind its `?`."""
        return urlencode({name: value for name, value in (self.texts | changes).items() if value})


def asked(fields: Mapping[str, str], sale_id: str | None) -> Asked:
    """What a form's fields ask for, in one sale or in all of them."""
    texts = {name: fields.get(name, "").strip() for name in FIELDS}
    problem, found = "", Understood()
    try:
        found = understand(texts["q"], in_sale=sale_id is not None)
        since, until = _time(texts["since"]), _time(texts["until"])
    except NotUnderstood as error:
        problem, since, until = str(error), None, None
    if since and until and until <= since:
        problem = "The search would end before it begins. Choose a later end."
    every = list(found.readings)
    chosen = [reading for reading in every if reading.key == texts["as"]] or every
    state = next((state for state in OrderState if state.value == texts["state"]), None)
    is_pending_only = texts["state"] == PENDING
    return Asked(texts, sale_id, state, is_pending_only, chosen, every, found.hint, since, until, problem)


def place_text(place: Place) -> str:
    """Where a page ends, as part of an address."""
    return f"{to_ms(place.reserved_at)}-{place.order_id}"


def place_of(text: str) -> Place | None:
    """The place that an address names; None for what is none."""
    ms, _, order_id = text.partition("-")
    try:
        return Place(from_ms(int(ms)), order_id)
    except (ValueError, OverflowError, OSError):
        return None


def _time(text: str) -> datetime | None:
    """What a browser's field for date and time sends, taken as UTC."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NotUnderstood(f"“{text}” is no date and time. Write it like 2026-11-23 14:00.") from error
