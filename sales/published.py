"""A sale's published settings: what the ledger and the gate both hold, whatever the back office is editing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from flashdrop.envelope import to_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleSettings:
    """What a merchandiser decides about a sale. Money in minor units, times aware UTC."""

    id: str
    sku: str
    name: str
    description: str
    image_url: str
    price_minor: int
    currency: str
    stock: int
    limit_per_shopper: int
    opens_at: datetime
    closes_at: datetime
    guests_allowed: bool
    paused: bool
    published: bool

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
    highest that were ever published, since what was bought under them stands.
    """

    version: int
    epoch: int
    available: int = field(compare=False)
    highest_stock: int
    highest_limit: int
