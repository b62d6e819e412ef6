"""A sale's page on a phone: how heavy it is, and how soon it can be used on a slow network.

Each visit is somebody's first: nothing is cached. The network is slowed down by Chromium itself, which delays requests,
not the connection's set-up.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import Any

from playwright.async_api import Browser, BrowserContext, CDPSession

from flashdrop.bench.chromium import PHONE_HEIGHT, PHONE_WIDTH, Watch, browsers, phone
from flashdrop.bench.offers import offer
from flashdrop.bench.row import Row
from flashdrop.bench.shop import Shop

PLAIN, DEMO = "bench-plain", "bench-demo"
STOCK = 100
# Each web process reads the settings once a second.
ON_SHOW_SECONDS = 1.5
ROUND_TRIP_MS, BYTES_PER_SECOND, CPU_SLOWDOWN = 400, 400_000 / 8, 4
# For what moves late: fonts, pictures, the first banner over the websocket.
LOOK_ON_SECONDS = 1.5
VISIT_SECONDS = 40
BYTES_PER_KB = 1000
MOST_KB = 60
# What web.dev calls a good first paint, and Lighthouse a good time to interactive; they ask it of a quicker network.
MOST_PAINT_SECONDS, MOST_PRESSABLE_SECONDS = 1.8, 3.8
MOST_UNTHROTTLED_MS = 500
MOST_SHIFT = 0.01
SLOW = f"{ROUND_TRIP_MS} ms round trip, 400 kbit/s, processor {CPU_SLOWDOWN} times slower"
# Two bytes, or more with a longer payload.
FRAME_HEAD_BYTES = 4
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
USABLE = (
    "() => new Promise((done) => { const look = () => benchSeen.pressableAt ? done() : setTimeout(look, 50); look(); })"
)
PRESSABLE = "() => benchSeen.pressableAt - performance.timeOrigin"


@dataclass(slots=True)
class Visit:
    """What one visit took. Times are milliseconds from the start of the navigation."""

    bytes_by_kind: Counter[str] = field(default_factory=Counter)
    """Bytes over the wire, packed, with the heads of the answers; by Chromium's kinds of resources."""
    requests: int = 0
    painted_ms: float = 0.0
    """First contentful paint."""
    pressable_ms: float = 0.0
    """When the panel's button was there to be pressed, and something to be seen."""
    shift: float = 0.0
    shifted: tuple[str, ...] = ()
    """What moved, by id or class."""
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


def measure_pages(shop: Shop, runs: int = 3) -> list[Row]:
    """Visit an open sale's page, `runs` times in each way.

    Raises:
        ChromiumMissing: it is not installed.
        TimeoutError: a page did not become usable.
    """
    from django.core.management import call_command

    from flashdrop import loops

    offer(PLAIN, STOCK, -timedelta(minutes=1))
    call_command("seed_demo", sku=DEMO, stock=STOCK, opens_in=-60, lasts=3600, stdout=io.StringIO())
    return loops.run(lambda: _measure(shop.url, runs))


async def _measure(url: str, runs: int) -> list[Row]:
    await asyncio.sleep(ON_SHOW_SECONDS)
    quick, slow, signed_in = [], [], []
    async with browsers() as (browser,):
        demo = await _visit(browser, url, DEMO)
        # In turn, so that a slow minute of the machine falls on all of them alike.
        for _ in range(runs):
            quick.append(await _visit(browser, url, PLAIN))
            slow.append(await _visit(browser, url, DEMO, is_slow=True))
            signed_in.append(await _visit(browser, url, DEMO, is_slow=True, is_signed_in=True))
    return _rows(demo, quick, slow, signed_in)


async def _visit(browser: Browser, url: str, sku: str, *, is_slow: bool = False, is_signed_in: bool = False) -> Visit:
    context = await phone(browser, url)
    try:
        async with asyncio.timeout(VISIT_SECONDS):
            if is_signed_in:
                await _sign_in(context, url)
            return await _look(context, url, sku, is_slow)
    finally:
        await context.close()


async def _look(context: BrowserContext, url: str, sku: str, is_slow: bool) -> Visit:
    page = await context.new_page()
    watch, visit = Watch(page, url), Visit()
    session = await context.new_cdp_session(page)
    await _weigh(session, visit)
    if is_slow:
        await _slow_down(session)
    await page.goto(f"/sales/{sku}/")
    await page.evaluate(USABLE)
    await page.wait_for_load_state("networkidle")
    await asyncio.sleep(LOOK_ON_SECONDS)
    visit.painted_ms = await page.evaluate(PAINTED) or float("inf")
    visit.pressable_ms = max(await page.evaluate(PRESSABLE), visit.painted_ms)
    seen = await page.evaluate("() => benchSeen")
    visit.shift, visit.shifted = seen["shift"], tuple(seen["shifted"])
    visit.errors, visit.foreign = watch.errors, watch.foreign
    return visit


async def _weigh(session: CDPSession, visit: Visit) -> None:
    kinds: dict[str, str] = {}

    def on_request(event: dict[str, Any]) -> None:
        kinds[event["requestId"]] = event.get("type", "Other")
        if "redirectResponse" in event:
            visit.bytes_by_kind["Redirect"] += int(event["redirectResponse"]["encodedDataLength"])

    def on_finished(event: dict[str, Any]) -> None:
        visit.bytes_by_kind[kinds.get(event["requestId"], "Other")] += int(event["encodedDataLength"])
        visit.requests += 1

    def on_socket(event: dict[str, Any]) -> None:
        visit.bytes_by_kind["WebSocket"] += len(event["response"].get("headersText", ""))
        visit.requests += 1

    def on_frame(event: dict[str, Any]) -> None:
        visit.bytes_by_kind["WebSocket"] += len(event["response"]["payloadData"].encode()) + FRAME_HEAD_BYTES

    session.on("Network.requestWillBeSent", on_request)
    session.on("Network.loadingFinished", on_finished)
    session.on("Network.webSocketHandshakeResponseReceived", on_socket)
    session.on("Network.webSocketFrameReceived", on_frame)
    await session.send("Network.enable")


async def _slow_down(session: CDPSession) -> None:
    limits = {"latency": ROUND_TRIP_MS, "downloadThroughput": BYTES_PER_SECOND, "uploadThroughput": BYTES_PER_SECOND}
    await session.send("Network.emulateNetworkConditions", {"offline": False, **limits})
    await session.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWDOWN})


async def _sign_in(context: BrowserContext, url: str) -> None:
    from orders.identity import COOKIE, cookie_value, sign_in

    await context.add_cookies([{"name": COOKIE, "value": cookie_value(sign_in("Ada")), "url": url}])


def _rows(demo: Visit, quick: list[Visit], slow: list[Visit], signed_in: list[Visit]) -> list[Row]:
    every = [demo, *quick, *slow, *signed_in]
    weights = tuple(visit.bytes_by_kind.total() / BYTES_PER_KB for visit in quick)
    painted = tuple(visit.painted_ms / 1000 for visit in slow)
    quick_paint = tuple(visit.painted_ms for visit in quick)
    shifts = tuple(visit.shift for visit in slow + signed_in)
    moved = sorted({name for visit in slow + signed_in for name in visit.shifted})
    picture = demo.bytes_by_kind["Image"] / BYTES_PER_KB
    return [
        Row(
            f"a sale's page on a phone of {PHONE_WIDTH} by {PHONE_HEIGHT}, first visit, over the wire",
            weights,
            "KB",
            f"at most {MOST_KB} KB",
            max(weights) <= MOST_KB,
            (
                f"{quick[0].requests} requests, packed, heads of answers included: {_listed(quick[0].bytes_by_kind)}",
                f"the demo sale's picture adds {picture:.1f} KB",
            ),
        ),
        none_row("requests of pages to other origins", [one for visit in every for one in visit.foreign]),
        none_row("errors in the console of pages", [one for visit in every for one in visit.errors]),
        Row(
            "first contentful paint on a slow phone",
            painted,
            "s",
            f"at most {MOST_PAINT_SECONDS} s",
            median(painted) <= MOST_PAINT_SECONDS,
            (SLOW, "with the demo sale's picture"),
        ),
        _pressable_row("the sign-in button can be pressed on a slow phone", slow),
        _pressable_row("the buy button of somebody signed in can be pressed on a slow phone", signed_in),
        Row(
            "layout shift while a page loads on a slow phone",
            shifts,
            "",
            f"below {MOST_SHIFT}",
            max(shifts) < MOST_SHIFT,
            ("all shifts added up", *([f"what moved: {', '.join(moved)}"] if moved else [])),
        ),
        Row(
            "first contentful paint, nothing slowed down",
            quick_paint,
            "ms",
            f"at most {MOST_UNTHROTTLED_MS} ms",
            median(quick_paint) <= MOST_UNTHROTTLED_MS,
        ),
    ]


def _pressable_row(name: str, visits: list[Visit]) -> Row:
    runs = tuple(visit.pressable_ms / 1000 for visit in visits)
    return Row(name, runs, "s", f"at most {MOST_PRESSABLE_SECONDS} s", median(runs) <= MOST_PRESSABLE_SECONDS)


def none_row(name: str, found: list[str], *notes: str) -> Row:
    """A row about what must not happen; the first of `found` stand in its notes."""
    listed = Counter(found).most_common(5)
    return Row(name, (float(len(found)),), "", "none", not found, (*notes, *(f"{n} x {one}" for one, n in listed)))


def _listed(sizes: Counter[str]) -> str:
    return ", ".join(f"{kind.lower()} {size / BYTES_PER_KB:.1f} KB" for kind, size in sizes.most_common())
