"""What a web process is asked for rather than told: queues, sockets, the board. Wiring, like the URLconf.

Sampled once a second into gauges that add up over the processes of a host; the board's sales are written at each
scrape, since every process has the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from flashdrop import metrics
from flashdrop.loops import PerLoop
from flashdrop.supervised import Loop
from orders.history import gate_questions, ledger_questions
from orders.reserving import reservations
from orders.settlement import confirmations, forgetting
from sales.board import STALE_SECONDS, Board, board
from sales.doubts import Doubt
from sales.hub import hub
from sales.showing import Phase, Showing

SAMPLE_SECONDS = 1.0


class Sampler:
    """Samples regularly while its loop runs."""

    def __init__(self) -> None:
        self._loop = Loop("sampling", self._round)

    async def stop(self) -> None:
        await self._loop.stop()

    async def _round(self) -> None:
        sample()
        await asyncio.sleep(SAMPLE_SECONDS)


def sample() -> None:
    """Set this process's gauges from the running loop's services."""
    for name, batcher in (
        ("reserve", reservations()),
        ("confirm", confirmations()),
        ("forget", forgetting()),
        ("gate_questions", gate_questions()),
        ("ledger_questions", ledger_questions()),
    ):
        metrics.QUEUE_DEPTH.labels(name).set(batcher.waiting)
    metrics.SOCKETS_OPEN.set(hub().count())
    shown = board()
    metrics.BOARD_AGE.set(shown.age_seconds if shown.is_known else 0)
    takes_writes = Doubt.WRITES not in shown.doubts
    metrics.STORE_UP.labels("redis").set(takes_writes and shown.age_seconds <= 2 * STALE_SECONDS)
    metrics.STORE_UP.labels("mongodb").set(shown.hears_ledger)
    for check in (Doubt.INDEXES, Doubt.SALES):
        metrics.LEDGER_SOUND.labels(check.value).set(check not in shown.doubts)


sampler: PerLoop[Sampler] = PerLoop(Sampler, Sampler.stop)


def sales_on_show(shown: Board) -> bytes:
    """The board's sales in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Sales(list(shown.by_sku.values())))
    return generate_latest(registry)


class _Sales:
    def __init__(self, showings: list[Showing]) -> None:
        self._showings = showings

    def collect(self) -> Iterator[Metric]:
        for name, text, figure in FIGURES:
            family = GaugeMetricFamily(name, text, labels=["sku"])
            for one in self._showings:
                family.add_metric([one.sale.sku], figure(one))
            yield family
        phases = GaugeMetricFamily("flashdrop_sale_phase", "1 for the phase it is in.", labels=["sku", "phase"])
        for one in self._showings:
            for phase in Phase:
                phases.add_metric([one.sale.sku, phase.value], float(one.phase is phase))
        yield phases


FIGURES: tuple[tuple[str, str, Callable[[Showing], float]], ...] = (
    ("flashdrop_sale_stock_units", "Units of a sale.", lambda one: one.total),
    ("flashdrop_sale_available_units", "Units that may be reserved now.", lambda one: one.available),
    ("flashdrop_sale_opens_timestamp_seconds", "When it opens.", lambda one: one.sale.opens_at.timestamp()),
    ("flashdrop_sale_closes_timestamp_seconds", "When it closes.", lambda one: one.sale.closes_at.timestamp()),
)
