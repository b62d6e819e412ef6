"""A panel's data as a picture for the docs: `python -m flashdrop.dashboards.picture`.

A shop of its own, a real Prometheus that scrapes it, a small opening, and the dashboard's own questions about it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from flashdrop.bench.generator import allow_open_files
from flashdrop.bench.opening import measure_opening
from flashdrop.bench.plots import Plot, over_time, svg
from flashdrop.bench.row import Curve, Points
from flashdrop.bench.shop import running_shop
from flashdrop.bench.stores import own_stores
from flashdrop.dashboards.panels import Ask
from flashdrop.dashboards.prometheus import Prometheus, shipped_rules
from flashdrop.dashboards.sale_live import STOCK
from flashdrop.embedded.process import free_port

PICTURE = Path(__file__).resolve().parents[2] / "docs/images/monitor-sale.svg"
SHOPPERS, UNITS = 400, 250
STEP_SECONDS = 0.5
BEFORE_SECONDS, AFTER_SECONDS = 3.0, 8.0
"""What is shown of the time around the opening."""


def main() -> None:
    allow_open_files(2 * SHOPPERS)
    with own_stores() as stores:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("collectstatic", interactive=False, verbosity=0)
        worker_port = free_port()
        os.environ["WORKER_METRICS_PORT"] = str(worker_port)  # for the worker that the shop starts
        with running_shop(stores) as shop:
            targets = {
                "flashdrop-web": [f"127.0.0.1:{shop.port}"],
                "flashdrop-worker": [f"127.0.0.1:{worker_port}"],
            }
            prometheus = Prometheus(stores.folder, targets, shipped_rules())
            try:
                while not prometheus.sees_all():
                    time.sleep(STEP_SECONDS)
                measure_opening(stores, shop, SHOPPERS, UNITS)
                time.sleep(AFTER_SECONDS)
                curves = curves_of(prometheus, STOCK.asks)
            finally:
                prometheus.stop()
    title = f"{UNITS} units, {SHOPPERS} shoppers, as the panel “{STOCK.title}” shows it"
    plot = Plot(title, "seconds since the opening", "units", list, over_time)
    PICTURE.write_text(svg(plot, curves), encoding="utf-8")
    sys.stdout.write(f"{PICTURE}\n")


def curves_of(prometheus: Prometheus, asks: Sequence[Ask]) -> list[Curve]:
    """What a panel shows of the only sale, by seconds since its opening."""
    ((labels, opens_at),) = prometheus.query("max by (sku) (flashdrop_sale_opens_timestamp_seconds)")
    start, end = opens_at - BEFORE_SECONDS, opens_at + AFTER_SECONDS
    found = []
    for ask in asks:
        expr = ask.expr.replace("$sku", labels["sku"])
        points: Points = [
            (round(at - opens_at, 3), value)
            for _, series in prometheus.query_range(expr, start, end, STEP_SECONDS)
            for at, value in series
        ]
        if points:
            found.append(Curve("monitor-sale", ask.legend, points))
    return found


if __name__ == "__main__":
    main()
