"""What a worker has seen of each sale, for Prometheus: the figures behind promises 1 to 4.

Web processes tell what the board shows (`flashdrop/sampling.py`); this is what only a look at both stores can tell.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from orders.reconciliation import Drift
from sales.gate import Levels
from sales.published import PublishedSale


@dataclass(slots=True)
class Seen:
    """One sale, as last looked at."""

    sku: str
    epoch: int
    issued: int
    pending: int
    """Orders in the log; without their confirmation, or confirmed a moment ago."""
    oldest_pending_seconds: float = 0.0
    confirmed_units: int | None = None
    forgotten_units: int = 0
    stranded_units: int = 0


class Telemetry:
    """A collector of prometheus_client; filled by the worker, read by whoever scrapes it, from another thread."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._round_at = 0.0

    def saw(self, sale: PublishedSale, levels: Levels, pending: int, oldest: datetime | None, now: datetime) -> None:
        """What the gate holds of a sale, `now` by its clock. `oldest`: when its oldest pending order was reserved."""
        seen = self._seen.setdefault(sale.id, Seen(sale.sku, 0, 0, 0))
        seen.sku, seen.epoch, seen.issued, seen.pending = sale.sku, sale.epoch, levels.issued, pending
        seen.oldest_pending_seconds = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0

    def measured(self, sale: PublishedSale, drift: Drift) -> None:
        """What the reconciler has found; both are 0 when gate and ledger agree."""
        seen = self._seen.get(sale.id)
        if seen is not None:
            seen.confirmed_units = drift.confirmed
            seen.forgotten_units, seen.stranded_units = drift.forgotten, drift.stranded

    def ended_round(self, sales: Iterable[PublishedSale]) -> None:
        """A round is complete; sales that are not among `sales` are gone."""
        self._round_at = time.time()
        known = {sale.id for sale in sales}
        for sale_id in [sale_id for sale_id in self._seen if sale_id not in known]:
            del self._seen[sale_id]

    def collect(self) -> Iterator[Metric]:
        """All of it, as Prometheus' families."""
        yield GaugeMetricFamily(
            "flashdrop_worker_last_round_timestamp_seconds",
            "When this worker last completed a round over all sales.",
            self._round_at,
        )
        seen = list(self._seen.values())
        for name, text, value in FAMILIES:
            family = GaugeMetricFamily(name, text, labels=["sku"])
            for one in seen:
                figure = getattr(one, value)
                if figure is not None:
                    family.add_metric([one.sku], figure)
            yield family


FAMILIES = (
    ("flashdrop_sale_issued_units", "Units taken from the stock, by the gate.", "issued"),
    ("flashdrop_sale_pending_orders", "Reservations whose order is not known to be in the ledger.", "pending"),
    ("flashdrop_sale_oldest_pending_seconds", "Age of the oldest of them.", "oldest_pending_seconds"),
    ("flashdrop_sale_confirmed_units", "Units sold, by the ledger, when last counted.", "confirmed_units"),
    ("flashdrop_sale_forgotten_units", "Units sold by the ledger that the gate has forgotten.", "forgotten_units"),
    ("flashdrop_sale_stranded_units", "Units taken at the gate that no order has.", "stranded_units"),
    ("flashdrop_sale_epoch", "How often the gate was loaded anew, plus 1.", "epoch"),
)
