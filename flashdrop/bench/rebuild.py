"""How long a rebuild takes, and so how long a sale answers 503: `python -m flashdrop.bench.rebuild [--orders N]`."""

from __future__ import annotations

import argparse
from statistics import median

from flashdrop.bench.offers import settings_for, write_orders
from flashdrop.bench.stores import own_stores

RUNS = 3


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
    from orders import indexes
    from orders.rebuild import rebuild
    from sales import publishing

    await indexes.ensure_indexes()
    sale = (await publishing.publish(settings_for("bench", orders * 2))).sale
    await write_orders(sale, orders)
    seconds = []
    for _ in range(RUNS):
        rebuilt = await rebuild(sale)
        sale = rebuilt.sale
        seconds.append(rebuilt.seconds)
    return seconds


if __name__ == "__main__":
    main()
