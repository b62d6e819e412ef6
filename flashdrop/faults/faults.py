"""What a fault is, and the list of all of them.

A fault is a function that is called in the middle of a storm and returns when the fault has ended. Its first line of
documentation is its row in the report. The functions stand by what they break: `process_faults.py`, `store_faults.py`,
`network_faults.py`, `sale_faults.py`, `loss_faults.py`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flashdrop.faults.cluster import Cluster

if TYPE_CHECKING:  # the list of faults is read where there are no settings yet
    from sales.published import PublishedSale

BUSY = 20
BUSY_LOOKS = 400


@dataclass(slots=True)
class Scene:
    """Where a fault strikes."""

    cluster: Cluster
    sale: PublishedSale
    rng: random.Random
    is_quick: bool
    in_flight: Callable[[], int]
    """Requests under way now."""
    notes: list[str] = field(default_factory=list)
    """What the report should say besides."""
    failures: list[str] = field(default_factory=list)
    """What this fault asks of the shop besides the promises, and did not get."""

    def expect(self, is_so: bool, otherwise: str) -> None:
        """Turn the fault's row red unless `is_so`."""
        if not is_so:
            self.failures.append(otherwise)

    async def busy(self) -> None:
        """Return when many requests are under way, so that the fault hits them; or after a while."""
        for _ in range(BUSY_LOOKS):
            if self.in_flight() >= BUSY:
                return
            await asyncio.sleep(0.001)


Strike = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and the storm around it."""

    name: str
    what: str
    strike: Strike
    topology: str
    settles_in: float
    """Seconds in which everything must be in balance again."""
    gate_forgets: bool
    """Whether Redis loses writes that it acknowledged: a reservation not yet confirmed may be lost with them."""
    shoppers: int
    stock: int
    leavers: float
    spread: float
    """Seconds over which the shoppers arrive."""
    moves_window: bool
    sold_before: int
    """Orders that the ledger holds already when the storm begins; they are part of the stock."""
    is_rush: bool = True
    """Whether half of the shoppers come at the beginning; else they come evenly."""


FAULTS: dict[str, Fault] = {}


def fault(
    name: str,
    *,
    topology: str = "plain",
    settles_in: float = 10.0,
    gate_forgets: bool = False,
    shoppers: int = 300,
    stock: int = 200,
    leavers: float = 0.08,
    spread: float = 5.0,
    moves_window: bool = False,
    sold_before: int = 0,
) -> Callable[[Strike], Strike]:
    """Add the decorated function to `FAULTS`."""

    def register(strike: Strike) -> Strike:
        what = " ".join((strike.__doc__ or name).split("\n\n")[0].split()).rstrip(".")
        FAULTS[name] = Fault(
            name,
            what,
            strike,
            topology,
            settles_in,
            gate_forgets,
            shoppers,
            stock,
            leavers,
            spread,
            moves_window,
            sold_before,
        )
        return strike

    return register
