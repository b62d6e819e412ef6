"""How long a rebuild takes, and so how long a sale answers 503: `python -m flashdrop.bench.rebuild [--orders N]`."""

from __future__ import annotations

import argparse
import secrets
from datetime import UTC, datetime, timedelta
from statistics import median

from flashdrop.bench.stores import own_stores

RUNS = 3
BATCH = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    orders: int = parser.parse_args().orders
    with own_stores():
        import django

        django.setup()
        from flashdrop import loops

        seconds = loops.run(lambda: measure(orders))
    runs = ", ".join(f"{one:.2f}" for one in seconds)
    print(f"rebuild of {orders:,} orders: median {median(seconds):.2f} s of {RUNS} runs ({runs})")


async def measure(orders: int) -> list[float]:
    """Fill a ledger with `orders` orders and rebuild its gate `RUNS` times. Returns the seconds of each."""
    from orders import indexes, ledger
    from orders.order import Order, OrderStatus
    from orders.rebuild import rebuild
    from sales import publishing
    from sales.published import SaleSettings

    now = datetime.now(UTC)
    await indexes.ensure_indexes()
    settings = SaleSettings(
        id="bench",
        sku="bench",
        name="Bench",
        description="",
        image_url="",
        price_minor=100,
        currency="EUR",
        stock=orders * 2,
        limit_per_shopper=1,
        opens_at=now,
        closes_at=now + timedelta(hours=1),
        guests_allowed=False,
        paused=False,
        published=True,
    )
    sale = (await publishing.publish(settings)).sale
    for start in range(1, orders + 1, BATCH):
        batch = [
            Order(
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
                price_minor=100,
                currency="EUR",
                status=OrderStatus.COMPLETED,
                reserved_at=now,
                created_at=now,
            )
            for unit in range(start, min(start + BATCH, orders + 1))
        ]
        await ledger.insert(batch, now)
    seconds = []
    for _ in range(RUNS):
        rebuilt = await rebuild(sale)
        sale = rebuilt.sale
        seconds.append(rebuilt.seconds)
    return seconds


if __name__ == "__main__":
    main()
