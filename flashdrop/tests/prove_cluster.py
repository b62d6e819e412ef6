"""A small proof of the installation in a process of its own, and what a careless restart looks like to it.

`python -m flashdrop.tests.prove_cluster FILE` writes what was found as JSON; `test_cluster.py` reads it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

from flashdrop.cluster.installation import Installation
from flashdrop.cluster.servers import kill_with_children
from flashdrop.faults.processes import Process

SHOPPERS, UNITS, SPREAD_SECONDS = 720, 690, 40.0


async def prove(folder: Path) -> dict[str, object]:
    """Everything `make cluster ARGS=--prove` does, on a smaller scale; then a restart of all at once."""
    cluster = Installation(folder)
    cluster.enter()
    from flashdrop.cluster.proof import Proof, prepare
    from flashdrop.loops import close_all

    async def careless(_: Process) -> None:
        for host in cluster.hosts:
            await kill_with_children(host)
        for host in cluster.hosts:
            host.start()
        for host in cluster.hosts:
            await cluster.ready(host)

    told: list[str] = []
    try:
        await cluster.start_stores()
        await asyncio.to_thread(prepare, "admin", "loopback-only-password")
        await cluster.start_processes()
        proof = Proof(cluster, told.append)
        row = await proof.losses(SHOPPERS, UNITS, SPREAD_SECONDS)
        seen, broken = await proof.rolling_restart(hosts=2)
        careless_seen, careless_broken = await proof.rolling_restart(hosts=1, restart=careless)
    finally:
        await close_all()
        await cluster.stop()
    return {
        "told": told,
        "losses": row.broken,
        "notes": row.notes,
        "confirmed": row.confirmed,
        "rolling": broken,
        "answers": {str(status): count for status, count in seen.answers.items()},
        "websockets": seen.connects,
        "careless": careless_broken,
        "careless_failures": sum(careless_seen.failures.values()),
    }


if __name__ == "__main__":
    home = Path(tempfile.mkdtemp(prefix="flashdrop-cluster-test-"))
    try:
        Path(sys.argv[1]).write_text(json.dumps(asyncio.run(prove(home))), encoding="utf-8")
    finally:
        shutil.rmtree(home, ignore_errors=True)
