"""The parts of the benchmark, each in a process and over stores of its own."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

from flashdrop.bench.crowd import FILES_PER_BROWSER, measure_crowd
from flashdrop.bench.generator import allow_open_files
from flashdrop.bench.growth import fill_sales, measure_growth, measure_soak, measure_starts
from flashdrop.bench.keeping import PAST_SALES, measure_past_sales, measure_rebuild
from flashdrop.bench.opening import measure_opening
from flashdrop.bench.pages import measure_pages
from flashdrop.bench.row import Findings
from flashdrop.bench.shop import running_shop
from flashdrop.bench.sockets import measure_sockets
from flashdrop.bench.stores import Stores, own_stores
from flashdrop.bench.traffic import Extent, Traffic, measure_traffic
from flashdrop.serve import end_with_parent


def measure(name: str, extent: Extent) -> Findings:
    """Run one part in a process of its own, with stores of its own: it finds nothing that another left behind.

    Raises:
        RuntimeError: it failed; the text says why.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(name, extent, sender))
    process.start()
    sender.close()
    try:
        found: Findings | str = receiver.recv()
    except EOFError:
        raise RuntimeError(f"the part {name!r} ended without a word") from None
    finally:
        process.join()
    if isinstance(found, str):
        raise RuntimeError(f"the part {name!r} failed\n{found}")
    return found


def _measure(name: str, extent: Extent, sender: Connection) -> None:
    # Told to end, or left alone: the shop and its stores are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    end_with_parent()
    with own_stores() as stores:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        try:
            sender.send(PARTS[name](stores, extent))
        except Exception:
            sender.send(traceback.format_exc())


def _start(stores: Stores, extent: Extent) -> Findings:
    return Findings([measure_starts(stores)])


def _traffic(stores: Stores, extent: Extent) -> Findings:
    allow_open_files(2 * max(extent.many))
    with running_shop(stores) as shop:
        return measure_traffic(Traffic(stores, shop, extent))


def _opening(stores: Stores, extent: Extent) -> Findings:
    allow_open_files(2 * extent.shoppers)
    with running_shop(stores) as shop:
        return Findings(*measure_opening(stores, shop, extent.shoppers))


def _sockets(stores: Stores, extent: Extent) -> Findings:
    return Findings(measure_sockets(stores, extent.sockets, extent.banner_changes))


def _growth(stores: Stores, extent: Extent) -> Findings:
    # Before a shop runs: its workers would look after the same sales.
    kept = measure_past_sales(min(PAST_SALES, extent.ledger_orders)) + measure_rebuild(extent.ledger_orders)
    sales = fill_sales(extent.ledger_orders)
    with running_shop(stores) as shop:
        return Findings(measure_growth(Traffic(stores, shop, extent), sales) + kept)


def _soak(stores: Stores, extent: Extent) -> Findings:
    with running_shop(stores) as shop:
        return Findings([measure_soak(Traffic(stores, shop, extent))])


def _pages(stores: Stores, extent: Extent) -> Findings:
    allow_open_files(FILES_PER_BROWSER * extent.browsers)
    with running_shop(stores) as shop:
        return Findings(measure_pages(shop, extent.runs) + measure_crowd(shop, extent.browsers))


PARTS: dict[str, Callable[[Stores, Extent], Findings]] = {
    "start": _start,
    "traffic": _traffic,
    "opening": _opening,
    "sockets": _sockets,
    "growth": _growth,
    "soak": _soak,
    "pages": _pages,
}
