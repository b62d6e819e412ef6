"""Faults of our own processes and of the clients."""

from __future__ import annotations

import asyncio
import os
import signal

from flashdrop.faults.cluster import SKEWED_CLOCK
from flashdrop.faults.faults import Scene, fault

AT_RANDOM_KILLS = 6
BETWEEN_KILLS_SECONDS = (0.05, 0.6)
SKEW_SECONDS = 3 * 3600


@fault("web-worker-killed")
async def web_worker_killed(scene: Scene) -> None:
    """SIGKILL of one web worker process."""
    os.kill(scene.rng.choice(scene.cluster.web.children()), signal.SIGKILL)


@fault("all-web-workers-killed")
async def all_web_workers_killed(scene: Scene) -> None:
    """SIGKILL of all web worker processes at once."""
    for pid in scene.cluster.web.children():
        os.kill(pid, signal.SIGKILL)


@fault("web-tier-killed")
async def web_tier_killed(scene: Scene) -> None:
    """SIGKILL of the web tier with its supervisor, started again after a second."""
    web = scene.cluster.web
    workers = web.children()
    web.kill()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(1)
    web.start()
    await scene.cluster.web_answers(web)


@fault("workers-killed")
async def workers_killed(scene: Scene) -> None:
    """SIGKILL of both worker processes, and of one web worker, whose orders then wait; the workers return after 3 s."""
    for worker in scene.cluster.workers:
        worker.kill()
    os.kill(scene.rng.choice(scene.cluster.web.children()), signal.SIGKILL)
    await asyncio.sleep(3)
    for worker in scene.cluster.workers:
        worker.start()


@fault("killed-at-random", spread=6)
async def killed_at_random(scene: Scene) -> None:
    """SIGKILL of web workers and workers at random instants, again and again."""
    cluster = scene.cluster
    for _ in range(AT_RANDOM_KILLS):
        await asyncio.sleep(scene.rng.uniform(*BETWEEN_KILLS_SECONDS))
        if scene.rng.random() < 0.3:
            worker = scene.rng.choice(cluster.workers)
            worker.kill()
            worker.start()
        elif workers := cluster.web.children():
            os.kill(scene.rng.choice(workers), signal.SIGKILL)


@fault("clients-leave", leavers=0.7)
async def clients_leave(scene: Scene) -> None:
    """70 % of the clients disconnect: when connected, half-way through the request, after it, and inside the answer."""


@fault("rolling-restart", spread=7)
async def rolling_restart(scene: Scene) -> None:
    """Every web worker is replaced: a second web tier starts, the first gets SIGTERM and drains."""
    cluster = scene.cluster
    successor = await cluster.add_web("web-successor")
    await cluster.web.end()
    cluster.web.start()
    await cluster.web_answers(cluster.web)
    cluster.extra_web.remove(successor)
    await successor.end()


@fault("clock-wrong", spread=7)
async def clock_wrong(scene: Scene) -> None:
    """A second web host joins whose clock is 3 hours ahead."""
    skew = {"PYTHONPATH": str(SKEWED_CLOCK), "FAULTS_CLOCK_SKEW_SECONDS": str(SKEW_SECONDS)}
    skewed = await scene.cluster.add_web("web-skewed", **skew)
    await asyncio.sleep(2)
    scene.cluster.extra_web.remove(skewed)
    await skewed.end()
