"""What the installation must stand: the loss of each kind of process while it sells, and a rolling restart."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import django

django.setup()  # the installation's settings are in the environment by now

from django.core.management import call_command  # noqa: E402

from flashdrop.cluster.installation import WEB_HOSTS, Installation  # noqa: E402
from flashdrop.cluster.losses import losses_of_each_kind  # noqa: E402
from flashdrop.cluster.rolling import Restarted, roll  # noqa: E402
from flashdrop.faults.back_office import open_sale  # noqa: E402
from flashdrop.faults.processes import Process, until  # noqa: E402
from flashdrop.faults.ready import shows_active  # noqa: E402
from flashdrop.faults.report import terminal  # noqa: E402
from flashdrop.faults.row import Row  # noqa: E402
from flashdrop.faults.suite import Options  # noqa: E402
from flashdrop.faults.trial import Trial  # noqa: E402
from flashdrop.faults.verdict import balance  # noqa: E402
from orders import ledger  # noqa: E402
from sales.published import PublishedSale  # noqa: E402

PLENTY = 200_000
SHOWN_SECONDS = 15.0
BALANCED_SECONDS = 15.0


def prepare(username: str, password: str) -> None:
    """The step of its own before anything is served: tables, indexes, an account, static files."""
    os.environ["ADMIN_PASSWORD"] = password
    call_command("migrate", verbosity=0)
    call_command("ensure_indexes", verbosity=0)
    call_command("ensure_admin", username, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)


class Proof:
    """Both trials in one installation."""

    def __init__(self, cluster: Installation, say: Callable[[str], None], seed: int = 1) -> None:
        self._cluster = cluster
        self._say = say
        self._seed = seed

    async def run(self, shoppers: int, units: int, spread: float) -> bool:
        """Whether everything held; the figures are said."""
        scene = f"{units:,} units, {shoppers:,} shoppers through nginx in {spread:.0f} s"
        self._say(f"\n{scene}, each kind of process killed once")
        row = await self.losses(shoppers, units, spread)
        self._say(terminal([row]))
        for note in row.notes:
            self._say(f"  {note}")
        self._say("\na rolling restart of the web tier under steady traffic")
        seen, broken = await self.rolling_restart()
        self._say(f"  {seen}")
        for problem in broken:
            self._say(f"  BROKEN: {problem}")
        held = not row.broken and not broken
        self._say(f"\n{'every promise that was tried held' if held else 'a promise was broken'}")
        return held

    async def losses(self, shoppers: int, units: int, spread: float) -> Row:
        """The storm with every loss in it, and the fault suite's verdict on it."""
        fault = losses_of_each_kind(shoppers, units, spread, lambda text: self._say(f"  {text}"))
        return await Trial(self._cluster, fault, Options(seed=self._seed)).run()

    async def rolling_restart(
        self, hosts: int = WEB_HOSTS, restart: Callable[[Process], Awaitable[None]] | None = None
    ) -> tuple[Restarted, list[str]]:
        """What was seen of it, and what of that must not be; `restart` is the installation's own unless given."""
        sale = await self._open_sale()
        restart = restart or self._cluster.restart
        seen = await roll(self._cluster, sale, self._cluster.hosts[:hosts], restart, self._seed)
        broken = [f"{count} x {failure}" for failure, count in seen.failures.most_common(10)]
        sold = {order_id async for _, order_id, _, _ in ledger.holdings(sale.id)}
        if sold != seen.confirmed:
            broken.append(
                f"{len(seen.confirmed - sold)} confirmed orders are not in the ledger, "
                f"{len(sold - seen.confirmed)} in the ledger were never confirmed to anybody"
            )
        if seen.blind_viewers:
            broken.append(f"{seen.blind_viewers} viewers never saw the end")

        async def holds() -> bool:
            return (await balance(sale.id)).holds

        try:
            await until(holds, BALANCED_SECONDS, "the audit")
        except TimeoutError:
            broken.append("the audit does not hold")
        return seen, broken

    async def _open_sale(self) -> PublishedSale:
        sale = await open_sale("A rolling restart", PLENTY)
        for host in self._cluster.hosts:
            await until(lambda port=host.port: shows_active(port, sale.sku), SHOWN_SECONDS, "the sale")  # type: ignore[misc]
        return sale
