"""`make cluster`: the installation on loopback until Ctrl-C, or with `--prove` what it must stand, and a verdict."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path

from flashdrop.cluster.installation import Installation
from flashdrop.embedded.process import StoreUnavailable

ADMIN, PASSWORD = "admin", "loopback-only-password"
DEMO_STOCK = 500


def main() -> int:
    """Exit code 0 when it ended as asked, 1 when a promise was broken or it could not start."""
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="flashdrop-cluster-"))
    try:
        return asyncio.run(_run(folder, arguments))
    except (StoreUnavailable, TimeoutError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        if arguments.logs:
            arguments.logs.mkdir(parents=True, exist_ok=True)
            for log in folder.rglob("*.log"):
                shutil.copy(log, arguments.logs / log.name)
        shutil.rmtree(folder, ignore_errors=True)


async def _run(folder: Path, arguments: argparse.Namespace) -> int:
    say(f"starting nginx, three web hosts, two workers and their stores in {folder}")
    cluster = Installation(folder, arguments.port)
    cluster.enter()
    from flashdrop.cluster.proof import Proof, prepare  # these read the settings
    from flashdrop.loops import close_all

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        await cluster.start_stores()
        await asyncio.to_thread(prepare, ADMIN, PASSWORD)
        await cluster.start_processes()
        for process in cluster.everything():
            say(f"  {process.name:<16} port {process.port:<6} pid {process.pid}")
        if not arguments.prove:
            await _open_to_visitors(cluster)
            await stopped.wait()
            return 0
        proof = Proof(cluster, say, arguments.seed)
        held = await _unless(stopped, proof.run(arguments.shoppers, arguments.units, arguments.spread))
        return 0 if held else 1
    finally:
        await close_all()
        await cluster.stop()


async def _open_to_visitors(cluster: Installation) -> None:
    from django.core.management import call_command
    from django.urls import reverse

    await asyncio.to_thread(call_command, "seed_demo", "--stock", str(DEMO_STOCK))
    say(f"\nshop        {cluster.url}/\nadmin       {cluster.url}{reverse('admin:index')}  {ADMIN} / {PASSWORD}")
    say(f"Prometheus  http://127.0.0.1:{cluster.prometheus.port}/\n")
    say("Ctrl-C stops all of it. Meanwhile kill what you like.")


async def _unless(stopped: asyncio.Event, proving: Coroutine[None, None, bool]) -> bool:
    """The proof's verdict; no when it was cut short."""
    tasks = asyncio.create_task(proving), asyncio.create_task(stopped.wait())
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    ended = tasks[0].done()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return ended and tasks[0].result()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flashdrop.cluster", description=__doc__)
    parser.add_argument("--prove", action="store_true", help="sell through nginx while each kind of process is killed")
    parser.add_argument("--shoppers", type=int, default=10_000)
    parser.add_argument("--units", type=int, default=5_000)
    parser.add_argument("--spread", type=float, default=100.0, metavar="SECONDS", help="over which the shoppers come")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=0, help="nginx's; any that is free when left out")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep the processes' logs there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
