"""How fast a change reaches every websocket: `python -m flashdrop.bench.sockets [--sockets N] [--changes N]`."""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import time
from dataclasses import dataclass
from statistics import median, quantiles

from flashdrop.bench.clients import OnText, Refused, Socket, open_socket
from flashdrop.bench.generator import allow_open_files, run, side_by_side, wait_until
from flashdrop.bench.offers import offer, settings_for
from flashdrop.bench.row import Row
from flashdrop.bench.shop import Shop, cpu_seconds_of, memory_bytes_of, running_shop
from flashdrop.bench.stores import Stores, own_stores

SALE = "sockets"
# The stock of change 1, 2, ... is one more each time: a banner says by its total which change it shows.
FIRST_STOCK = 1000
TOTAL = re.compile(rb'data-total="(\d+)"')
# Not in step with the board's rhythm, which would make every delay since the publication the same.
CHANGE_SECONDS = (0.9, 1.1)
LAST_SECONDS = 5.0
# Opened and closed before memory is counted: what the first socket loads is not the price of each.
FIRST_SOCKETS = 10
SETTLE_SECONDS = 1.0
# Some beats (`sales/hub.py`) and some of the server's own pings.
QUIET_SECONDS = 10.0
MOST_MS, MOST_KB, MOST_QUIET_PERCENT = 300, 40, 15


@dataclass(frozen=True, slots=True)
class Delivery:
    """One change: when it was published, and when each socket got it, by `time.perf_counter()`."""

    published_at: float
    arrivals: tuple[float, ...]

    @property
    def fan_out_ms(self) -> list[float]:
        """From the first socket that got it to each."""
        first = min(self.arrivals)
        return [(at - first) * 1000 for at in self.arrivals]

    @property
    def since_published_ms(self) -> list[float]:
        """From the moment that the gate had it to each socket."""
        return [(at - self.published_at) * 1000 for at in self.arrivals]


@dataclass(frozen=True, slots=True)
class Found:
    """What one run found."""

    deliveries: list[Delivery]
    seconds_to_open: float
    bytes_per_socket: float
    quiet_percent: float
    """Of one core, used by the web process while nothing was new."""
    closed: int
    """Sockets that the server had closed by the end."""
    generator_share: float
    """Of one core, used by this process while changes were delivered."""


class Audience:
    """Sockets, and when each of them first got each change."""

    def __init__(self, changes: int) -> None:
        self.arrivals: list[dict[Socket, float]] = [{} for _ in range(changes + 1)]
        """By the number of the change; 0 is the banner on connect."""

    def on_text(self, socket: Socket, at: float, banner: bytes) -> None:
        """Note the change that `banner` shows."""
        total = TOTAL.search(banner)
        if total is None:
            raise ValueError(f"a banner without its total: {banner[:200]!r}")
        self.arrivals[int(total[1]) - FIRST_STOCK].setdefault(socket, at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=20)
    arguments = parser.parse_args()
    allow_open_files(arguments.sockets)
    with own_stores() as stores:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("collectstatic", interactive=False, verbosity=0)
        for row in measure_sockets(stores, arguments.sockets, arguments.changes):
            print(f"{row.name}: {row.figure:,.1f} {row.unit} ({row.reach})", *row.notes, sep="\n  ")


def measure_sockets(stores: Stores, count: int = 10_000, changes: int = 20) -> list[Row]:
    """Show `changes` changes of one sale, one a second, to `count` websockets of one web process.

    Raises:
        Refused: the shop did not open them all.
        RuntimeError: the system does not allow that many open files.
    """
    allow_open_files(count)
    offer(SALE, FIRST_STOCK)
    with running_shop(stores, workers=1) as shop:
        found = run(lambda: _measure(shop, count, changes))
    return _rows(found, count)


async def open_sockets(port: int, sku: str, count: int, on_text: OnText, at_once: int = 200) -> list[Socket]:
    """Open `count` websockets on the sale `sku`, `at_once` at a time.

    Raises:
        Refused: the server did not open one of them.
    """
    sockets: list[Socket] = []

    async def one() -> None:
        sockets.append(await open_socket(port, sku, on_text))

    try:
        await side_by_side((one() for _ in range(count)), at_once)
    except* (Refused, OSError) as errors:
        raise Refused(f"{len(sockets):,} of {count:,} websockets were opened, then: {errors.exceptions[0]}") from None
    return sockets


async def _measure(shop: Shop, count: int, changes: int) -> Found:
    audience = Audience(changes)
    (pid,) = shop.web_pids()
    _close(await open_sockets(shop.port, SALE, FIRST_SOCKETS, audience.on_text))
    await asyncio.sleep(SETTLE_SECONDS)
    audience.arrivals[0].clear()
    bytes_before = memory_bytes_of(pid)
    began = time.perf_counter()
    sockets = await open_sockets(shop.port, SALE, count, audience.on_text)
    seconds_to_open = time.perf_counter() - began
    await asyncio.sleep(SETTLE_SECONDS)

    quiet_before = cpu_seconds_of(pid)
    await asyncio.sleep(QUIET_SECONDS)
    quiet_percent = (cpu_seconds_of(pid) - quiet_before) / QUIET_SECONDS * 100

    began, cpu_before = time.perf_counter(), time.process_time()
    published_at = [await _publish(change) for change in range(1, changes + 1)]
    await wait_until(lambda: len(audience.arrivals[changes]) == count, LAST_SECONDS)
    generator_share = (time.process_time() - cpu_before) / (time.perf_counter() - began)
    found = Found(
        deliveries=[
            Delivery(at, tuple(arrivals.values()))
            for at, arrivals in zip(published_at, audience.arrivals[1:], strict=True)
        ],
        seconds_to_open=seconds_to_open,
        quiet_percent=quiet_percent,
        bytes_per_socket=(memory_bytes_of(pid) - bytes_before) / count,
        closed=sum(not socket.is_open for socket in sockets),
        generator_share=generator_share,
    )
    _close(sockets)
    return found


async def _publish(change: int) -> float:
    """Put a change in force and let it be delivered for a second. Returns when the gate had it."""
    from sales import publishing

    await publishing.publish(settings_for(SALE, FIRST_STOCK + change))
    published_at = time.perf_counter()
    await asyncio.sleep(random.uniform(*CHANGE_SECONDS))
    return published_at


def _close(sockets: list[Socket]) -> None:
    for socket in sockets:
        socket.close()


def _rows(found: Found, count: int) -> list[Row]:
    seen = [delivery for delivery in found.deliveries if len(delivery.arrivals) > 1]
    p99_ms = tuple(_percentile_99(delivery.fan_out_ms) for delivery in seen) or (float("inf"),)
    since_ms = [delay for delivery in seen for delay in delivery.since_published_ms] or [float("inf")]
    wanted = len(found.deliveries) * count
    delivered = sum(len(delivery.arrivals) for delivery in found.deliveries)
    kilobytes = found.bytes_per_socket / 1024
    return [
        Row(
            f"banner to {count:,} websockets on one process: 99th percentile",
            p99_ms,
            "ms",
            f"at most {MOST_MS} ms",
            median(p99_ms) <= MOST_MS,
            (
                f"of each of {len(found.deliveries)} changes, from the first socket that got it to each",
                f"delivered {delivered / wanted:.2%}",
                f"since the publication: median {median(since_ms):.0f} ms, longest {max(since_ms):.0f} ms",
                f"all opened in {found.seconds_to_open:.1f} s",
                f"the generator used {found.generator_share:.0%} of a core",
            ),
        ),
        Row(
            "memory of one websocket",
            (kilobytes,),
            "KB",
            f"at most {MOST_KB} KB",
            kilobytes <= MOST_KB,
            (f"proportional set size of the web process, with {count:,} open after the last change",),
        ),
        Row(
            f"a core's share for {count:,} websockets without news",
            (found.quiet_percent,),
            "%",
            f"at most {MOST_QUIET_PERCENT}%",
            found.quiet_percent <= MOST_QUIET_PERCENT,
            (f"processor time of the web process over {QUIET_SECONDS:.0f} s: beats, pings and their answers",),
        ),
        Row(
            "lost banners",
            (float(wanted - delivered),),
            "",
            "none",
            wanted == delivered,
            (f"of {wanted:,}", f"sockets closed by the server: {found.closed:,}"),
        ),
    ]


def _percentile_99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]


if __name__ == "__main__":
    main()
