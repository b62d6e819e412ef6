from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

from django.core.management.base import BaseCommand
from prometheus_client import REGISTRY, start_http_server

from flashdrop import loops, metrics
from flashdrop.config import config
from orders.worker import Worker

STOP_SECONDS = 5.0


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
            await _until_stopped(worker)

        loops.run(main)


async def _until_stopped(worker: Worker) -> None:
    """Work until told to end; a store that keeps a round waiting holds nobody up for longer than `STOP_SECONDS`."""
    working, stopping = asyncio.create_task(worker.run()), asyncio.create_task(worker.stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    # Every step may be broken off and repeated: whoever works next goes on from what the stores hold.
    await asyncio.wait((working,), timeout=STOP_SECONDS)
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
