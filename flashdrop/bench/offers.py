"""What the benchmarks sell, and to whom."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Django is set up only once the stores run
    from sales.published import PublishedSale, SaleSettings

BATCH = 5000
PRICE_MINOR, CURRENCY = 12900, "EUR"
# What the page's form says of one unit.
ONE_UNIT = f"quantity=1&price={PRICE_MINOR}&currency={CURRENCY}"


def settings_for(name: str, stock: int, opens_in: timedelta = timedelta(0)) -> SaleSettings:
    """A sale `name`, one unit for each shopper, open for an hour from `opens_in` on."""
    from sales.published import SaleSettings

    opens_at = datetime.now(UTC) + opens_in
    return SaleSettings(
        id=name,
        sku=name,
        name="Aurora desk lamp",
        description="Warm light, brushed brass, made in a small run.",
        image_url="",
        price_minor=PRICE_MINOR,
        currency=CURRENCY,
        stock=stock,
        limit_per_shopper=1,
        opens_at=opens_at,
        closes_at=opens_at + timedelta(hours=1),
        guests_allowed=False,
        paused=False,
        published=True,
    )


def offer(name: str, stock: int, opens_in: timedelta = timedelta(0)) -> PublishedSale:
    """Publish such a sale."""
    from flashdrop import loops
    from sales import publishing

    return loops.run(lambda: publishing.publish(settings_for(name, stock, opens_in))).sale


async def write_orders(sale: PublishedSale, orders: int, first: int = 1) -> None:
    """Write orders of `sale` into the ledger, behind its gate's back: one for each unit from `first` to `orders`."""
    from orders import ledger
    from orders.order import Order, OrderStatus

    now = datetime.now(UTC)

    def order(unit: int) -> Order:
        return Order(
            id=secrets.token_hex(12),
            sale_id=sale.id,
            sku=sale.sku,
            shopper_id=secrets.token_hex(12),
            shopper_name="bench",
            session_id="bench",
            key_digest=None,
            units=(unit,),
            slots=(1,),
            quantity=1,
            price_minor=sale.price_minor,
            currency=sale.currency,
            status=OrderStatus.COMPLETED,
            reserved_at=now,
            created_at=now,
        )

    for start in range(first, orders + 1, BATCH):
        await ledger.insert([order(unit) for unit in range(start, min(start + BATCH, orders + 1))], now)


def sold(sale_id: str) -> int:
    """Orders that the ledger holds of a sale."""
    from flashdrop import loops
    from orders import ledger

    return loops.run(lambda: ledger.tally(sale_id)).orders


def mint_cookies(path: Path, count: int, prefix: str = "bench") -> None:
    """Write the signed cookies of `count` shoppers, one a line; another `prefix` makes other shoppers."""
    from django.core.management import call_command

    call_command("mint_shoppers", count, prefix=prefix, out=path)
