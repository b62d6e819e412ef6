"""What is asked of the gate and what it answers; `sales/stock.py` does the asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from flashdrop.envelope import from_ms, to_ms


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
class Brake:
    """An emergency stop that somebody has pulled at the gate; `name` tells it from every other one."""

    name: str
    pulled_at: datetime
    by: str

    def __str__(self) -> str:
        """As `lua/brake.lua` writes it."""
        return f"{self.name} {to_ms(self.pulled_at)} {self.by}"

    @classmethod
    def parse(cls, text: str) -> Brake:
        """The other way round."""
        name, pulled, by = text.split(" ", 2)
        return cls(name, from_ms(int(pulled)), by)


@dataclass(frozen=True, slots=True)
class Levels:
    """A sale as the gate has it. `loaded` is false when the gate can't sell it; of the rest only `brake`, `knows_brake`
    and `is_gone` say something then.
    """

    loaded: bool
    epoch: int
    version: int
    stock: int
    issued: int
    run_id: str
    """The run of the server under which this gate was loaded; another one since means that it may have lost writes."""
    pending: int = 0
    """Entries in the log: reservations that are not known to be in the ledger yet."""
    paused: bool = False
    published: bool = True
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    brake: Brake | None = None
    knows_brake: str = ""
    """The name of the newest brake that the settings in force know of: it is part of `paused`, or was released."""

    is_gone: bool = False
    """Nothing of it is left: not merely stopped until it is rebuilt, but lost, with any brake that held."""

    @property
    def is_stopped(self) -> bool:
        """Whether the gate refuses everybody, by its settings or by a brake."""
        return self.paused or self.brake is not None

    @property
    def available(self) -> int:
        """Units that may be reserved now."""
        return self.stock - self.issued


# The fields of a sale's hash that `levels_from` takes, in its order.
LEVELS = (
    *("epoch", "version", "stock", "issued", "run_id", "paused", "published", "opens", "closes"),
    *("brake", "knows_brake"),
)


def levels_from(fields: Sequence[str | None], pending: int) -> Levels:
    """The levels by the values of `LEVELS` and the length of the log."""
    epoch, version, stock, issued, loaded_in, paused, published, opens, closes, braked, knows_brake = fields
    brake = Brake.parse(braked) if braked else None
    if not epoch:
        return Levels(False, 0, 0, 0, 0, "", brake=brake, knows_brake=knows_brake or "", is_gone=version is None)
    return Levels(
        loaded=True,
        epoch=int(epoch),
        version=int(version or 0),
        stock=int(stock or 0),
        issued=int(issued or 0),
        run_id=loaded_in or "",
        pending=pending,
        paused=paused == "1",
        published=published == "1",
        opens_at=from_ms(int(opens)) if opens else None,
        closes_at=from_ms(int(closes)) if closes else None,
        brake=brake,
        knows_brake=knows_brake or "",
    )


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
