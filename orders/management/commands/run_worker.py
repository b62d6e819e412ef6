from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand
from prometheus_client import REGISTRY, start_http_server

from flashdrop import loops, metrics
from flashdrop.config import config
from orders.indexes import ensure_all
from orders.worker import Worker


class Command(BaseCommand):
    help = "Finish pending orders, keep gate and ledger in step, rebuild a gate that is lost. Run any number of them."

    def handle(self, *args: Any, **options: Any) -> None:
        async def main() -> None:
            worker = Worker()
            metrics.publisher()
            if config.worker_metrics_port:
                REGISTRY.register(worker.telemetry)
                start_http_server(config.worker_metrics_port, config.host)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, worker.stop.set)
            await ensure_all()
            await worker.run()

        loops.run(main)
