"""What is asked of the gate and what it answers; `sales/stock.py` does the asking."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple


class Verdict(IntEnum):
    """What `reserve` says about one purchase; the numbers are the statuses in `lua/reserve.lua`."""

    GRANTED = 0
    KNOWN = 1
    NOT_READY = 2
    UNPUBLISHED = 3
    NOT_STARTED = 4
    ENDED = 5
    PAUSED = 6
    GUESTS_REFUSED = 7
    LIMIT_EXCEEDED = 8
    OUT_OF_STOCK = 9
    PRICE_CHANGED = 10


class Wish(NamedTuple):
    """One purchase asked for. `context` is kept with the pending entry, opaque to the gate."""

    order_id: str
    shopper_id: str
    quantity: int
    is_guest: bool
    context: str
    price_minor: int | None = None
    """What the shopper was shown a unit for; None where it is not to be compared. The same for `currency`."""
    currency: str | None = None


class Quote(NamedTuple):
    """A unit's price as it stands under a version of the settings."""

    price_minor: int
    currency: str
    version: int


class Reservation(NamedTuple):
    """Units taken out of stock for one order: everything needed to write that order."""

    sale_id: str
    order_id: str
    shopper_id: str
    units: tuple[int, ...]
    slots: tuple[int, ...]
    price_minor: int
    currency: str
    reserved_at: datetime
    epoch: int
    version: int
    entry_id: str
    context: str


class Answer(NamedTuple):
    """The gate's answer to one `Wish`.

    Args:
        verdict: what it is.
        held: units that this shopper holds in the sale now; 0 when NOT_READY.
        reservation: when GRANTED.
        entry_id: when KNOWN.
        available: units left, when OUT_OF_STOCK.
        quote: the price that holds, when PRICE_CHANGED.
    """

    verdict: Verdict
    held: int = 0
    reservation: Reservation | None = None
    entry_id: str | None = None
    available: int = 0
    quote: Quote | None = None


@dataclass(frozen=True, slots=True)
class Levels:
    """A sale as the gate has it. `loaded` is false when the gate can't sell it; the rest is then 0."""

    loaded: bool
    epoch: int
    version: int
    stock: int
    issued: int
    run_id: str
    """The run of the server under which this gate was loaded; another one since means that it may have lost writes."""
    pending: int = 0
    """Entries in the log: reservations that are not known to be in the ledger yet."""

    @property
    def available(self) -> int:
        """Units that may be reserved now."""
        return self.stock - self.issued


@dataclass(frozen=True, slots=True)
class Held:
    """Units that are taken, and how many of them are still in the log."""

    issued: int
    pending: int


class Load(IntEnum):
    """What became of a rebuilt gate; the numbers are the statuses in `lua/load.lua`."""

    IN_FORCE = 1
    SUPERSEDED = 0
    UNSETTLED = -1


class Publication(IntEnum):
    """What became of a publication; the numbers are the statuses in `lua/publish.lua`."""

    APPLIED = 0
    SUPERSEDED = 1
    NOT_LOADED = 2
