"""What the kit is run against: a shop that stands already, or one started for it with a sale for each scenario."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from flashdrop.bench.offers import mint_cookies, offer
from flashdrop.bench.shop import BASE_DIR, Shop, running_shop
from flashdrop.bench.stores import own_stores
from flashdrop.stress.kit import SCENARIOS, Extent

SHOWN_SECONDS = 10.0
BOARD_SECONDS = 1.5
"""For every web process to have looked at the stores."""


@dataclass(frozen=True, slots=True)
class FreshShop:
    """A shop of the kit's own: two web processes, a worker and stores in `folder`."""

    url: str
    folder: Path
    shop: Shop

    def prepare(self, scenario: str, profile: str, extent: Extent, stock: int | None) -> dict[str, str]:
        """Publish a sale as the scenario needs it, and mint its shoppers; gives the settings that name them.

        Raises:
            RuntimeError: the shop does not show the sale.
        """
        needs = SCENARIOS[scenario]
        sku = f"stress-{scenario}-{time.time_ns() % 10**10:010d}"
        units = stock or max(10, round(extent.shoppers * needs.share_of_stock))
        opens_in = needs.opens_in.get(profile, 0.0)
        cookies = self.offer(sku, units, extent.shoppers, opens_in + BOARD_SECONDS if opens_in else 0)
        settings = {"API_URL": self.url, "SKU": sku, "UNITS": str(units)}
        return settings | ({"SHOPPERS": str(cookies)} if extent.shoppers else {})

    def offer(self, sku: str, units: int, shoppers: int, opens_in_seconds: float = 0) -> Path:
        """Put a sale on show, and mint that many shoppers; gives the file of their cookies.

        Raises:
            RuntimeError: the shop does not show the sale.
        """
        cookies = self.folder / f"{sku}.txt"
        if shoppers:
            mint_cookies(cookies, shoppers, sku)
        offer(sku, units, timedelta(seconds=opens_in_seconds))
        self._wait_for(sku)
        return cookies

    def audit(self, sku: str) -> bool:
        """Hold the promises against the stores, by the same command as an operator; prints what it finds."""
        command = [sys.executable, str(BASE_DIR / "manage.py"), "audit_sale", sku]
        return subprocess.run(command, check=False).returncode == 0  # noqa: S603

    def _wait_for(self, sku: str) -> None:
        deadline = time.monotonic() + SHOWN_SECONDS
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/api/products/{sku}", timeout=2):  # noqa: S310
                    time.sleep(BOARD_SECONDS)
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"the shop does not show {sku}")


@contextmanager
def fresh_shop() -> Iterator[FreshShop]:
    """Start a shop over stores of its own; both end with the block."""
    with own_stores() as stores:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        with running_shop(stores) as shop:
            yield FreshShop(shop.url, stores.folder, shop)
