"""One fault after another in one installation."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from flashdrop.faults.all_faults import FAULTS
from flashdrop.faults.cluster import TOPOLOGIES, Cluster


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. `settle_seconds` overrules each fault's own; logs are copied to `logs`."""

    seed: int = 1
    is_quick: bool = False
    settle_seconds: float | None = None
    logs: Path | None = None


def run_group(topology: str, names: list[str], options: Options, sender: Connection) -> None:
    """Run the faults `names`, all of one topology, in an installation of their own; each row goes to `sender`.

    To be called in a process of its own: Django's settings are those of this installation from here on.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"flashdrop-faults-{topology}-"))
    try:
        cluster = Cluster(folder, TOPOLOGIES[topology])
        cluster.enter()
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        asyncio.run(_run_all(cluster, names, options, sender))
    finally:
        if options.logs:
            _keep_logs(folder, options.logs / topology)
        shutil.rmtree(folder, ignore_errors=True)


async def _run_all(cluster: Cluster, names: list[str], options: Options, sender: Connection) -> None:
    from flashdrop.faults.trial import Trial
    from flashdrop.loops import close_all

    try:
        await cluster.start_stores()
        await cluster.start_processes()
        for name in names:
            sender.send(await Trial(cluster, FAULTS[name], options).run())
    finally:
        await close_all()
        await cluster.stop()


def _keep_logs(folder: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for log in folder.rglob("*.log"):
        shutil.copy(log, target / log.name)
