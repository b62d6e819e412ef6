"""A sale's published settings: what the ledger and the gate both hold, whatever the back office is editing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from flashdrop.envelope import to_ms
from sales.gate import Brake

# What a field means in a document of a version that did not know it, as a function of the document. A sale can't be
# without the fields that say nothing of it. One declared from now on needs it: versions run side by side in an update.
ASSUMED = "assumed"
# Times can be reckoned with only where the calendar goes on in both directions. What a form would refuse may be stored
# all the same, and no page, board or worker must fail over one sale's.
FIRST, LAST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)


def _assumed(value: Any) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    return {ASSUMED: lambda document: value}


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleSettings:
    """What a merchandiser decides about a sale. Money in minor units, times aware UTC."""

    id: str
    sku: str
    name: str = field(metadata={ASSUMED: lambda document: document["sku"]})
    description: str = field(metadata=_assumed(""))
    image_url: str = field(metadata=_assumed(""))
    price_minor: int
    currency: str
    stock: int
    limit_per_shopper: int
    opens_at: datetime
    closes_at: datetime
    guests_allowed: bool = field(metadata=_assumed(False))
    paused: bool = field(metadata=_assumed(False))
    published: bool = field(metadata=_assumed(False))

    def gate_args(self) -> list[str | int]:
        """The settings in the order `lua/publish.lua` and `lua/load.lua` take them, from the stock on."""
        return [
            self.stock,
            self.limit_per_shopper,
            self.price_minor,
            self.currency,
            to_ms(self.opens_at),
            to_ms(self.closes_at),
            int(self.paused),
            int(self.guests_allowed),
            int(self.published),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSale(SaleSettings):
    """Settings as the ledger holds them.

    `version` rises with each publication, `epoch` with each rebuild of the gate; `available` is what the worker last
    counted, for reports and for the time when the gate can't be asked; `highest_stock` and `highest_limit` are the
    highest that were ever published, since what was bought under them stands. `archived_at`: over and settled long
    since; no board shows it, no worker tends it, the gate has let it go. Times are at least `FIRST`, at most `LAST`.
    """

    version: int
    epoch: int
    available: int = field(compare=False, metadata={ASSUMED: lambda document: document["stock"]})
    highest_stock: int = field(metadata={ASSUMED: lambda document: document["stock"]})
    highest_limit: int = field(metadata={ASSUMED: lambda document: document["limit_per_shopper"]})
    archived_at: datetime | None = field(default=None, compare=False, metadata=_assumed(None))
    knows_brake: str = field(default="", metadata=_assumed(""))
    """The name of the newest brake that these settings know of: it is part of `paused`, or was released."""
    brake: Brake | None = field(default=None, metadata=_assumed(None))
    """The newest brake that was noted in the ledger, unless the settings know of it."""

    def __post_init__(self) -> None:
        for name in ("opens_at", "closes_at"):
            object.__setattr__(self, name, min(max(getattr(self, name), FIRST), LAST))


def read_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a `PublishedSale` in a document of whatever version, by field; `id` is the document's own affair.
    Fields that only other versions know are left out.

    Raises:
        KeyError: it lacks one that a sale can't be without.
    """
    return {
        one.name: document[one.name]
        if one.name in document or ASSUMED not in one.metadata
        else one.metadata[ASSUMED](document)
        for one in fields(PublishedSale)
        if one.name != "id"
    }
