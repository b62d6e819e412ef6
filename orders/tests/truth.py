"""What the tests of a page's truth share: devices whose clocks are wrong, networks that fail, and how they are read."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flashdrop.embedded.process import free_port
from flashdrop.faults.proxy import Proxy
from orders.tests.browser import PHONE, wait_for_panel
from sales import publishing
from sales.published import SaleSettings

# `device.skewMs` sets the wall clock wrong; in a sleep of `device.sleptMs` the other clock stood still.
DEVICE = """(() => {
  const Real = Date, monotonic = performance.now.bind(performance);
  window.device = { skewMs: %d, sleptMs: 0 };
  window.Date = class extends Real {
    constructor(...parts) { parts.length ? super(...parts) : super(window.Date.now()); }
    static now() { return Real.now() + device.skewMs; }
  };
  performance.now = () => monotonic() - device.sleptMs;
})()"""
# Writes down whatever changes on the page and when, by the true clock: what Playwright hears, it hears late.
RECORDER = """(() => {
  const now = Date.now.bind(Date);
  window.seen = [];
  const look = () => {
    const [banner, me] = ["banner", "me"].map((id) => document.getElementById(id));
    if (!banner) return;
    const state = {
      phase: banner.dataset.phase,
      available: Number(banner.dataset.available),
      total: Number(banner.dataset.total),
      countdown: banner.querySelector("[data-countdown]")?.textContent ?? "",
      words: banner.querySelector("h2")?.textContent ?? "",
      closed: document.getElementById("buy")?.getAttribute("aria-disabled") ?? "",
      panel: me?.dataset.state ?? "",
      connection: document.documentElement.dataset.connection ?? "",
    };
    const gist = JSON.stringify(state);
    if (seen.at(-1)?.gist !== gist) seen.push({ at: now() / 1000, gist, ...state });
  };
  const all = { subtree: true, childList: true, attributes: true, characterData: true };
  new MutationObserver(look).observe(document, all);
})()"""
# What Chromium prints of a network that fails is no error of ours; nor what htmx does, all of it at its own place.
NETWORK = ("Failed to load resource", "WebSocket", "ERR_")
VENDOR = "/static/vendor/"
PATIENCE_SECONDS = 5


@asynccontextmanager
async def traveller(browser: Any, shop: str, **options: Any) -> AsyncIterator[Any]:
    """A page of a browser of its own, on a network that may fail. Other errors of its scripts fail the test."""
    context = await browser.new_context(**{"viewport": PHONE, "base_url": shop, **options})
    errors: list[str] = []

    def told(message: Any) -> None:
        is_networks = VENDOR in message.location["url"] or any(part in message.text for part in NETWORK)
        if message.type == "error" and not is_networks:
            errors.append(message.text)

    def watch(page: Any) -> None:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", told)

    context.on("page", watch)
    await context.add_init_script(RECORDER)
    try:
        yield await context.new_page()
    finally:
        await context.close()
    assert not errors, errors


@asynccontextmanager
async def network(shop: str) -> AsyncIterator[Proxy]:
    """A network of one's own to the shop; `address_of` says where it begins."""
    proxy = Proxy(free_port(), int(shop.rsplit(":", 1)[1]))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


def address_of(proxy: Proxy) -> str:
    return f"http://127.0.0.1:{proxy.port}"


class Sockets:
    """The page's websockets, which can be made deaf: open, and nothing arrives."""

    def __init__(self) -> None:
        self.opened = 0
        self.deaf = False

    def __call__(self, route: Any) -> None:
        self.opened += 1
        number = self.opened
        server = route.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            # A connection that was there when the network failed stays deaf; a new one is as good as the network.
            if self.deaf:
                lost.add(number)
            if number not in lost:
                route.send(message)

        lost: set[int] = set()
        server.on_message(pass_on)


async def within(seconds: float, check: Callable[[], Awaitable[Any]]) -> float:
    """Wait until `check` is true; returns how long it took, and fails after `seconds`."""
    began = time.monotonic()
    while not await check():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def shows(page: Any, seconds: float, since: float | None = None, **state: Any) -> float:
    """Wait until the page has shown such a state; returns when it first did, and fails if more than `seconds` passed.

    Counted from `since`, by default from now; what was shown before is not looked at.
    """
    since = time.time() if since is None else since

    async def found() -> list[float]:
        return [
            one["at"]
            for one in await page.evaluate("seen")
            if one["at"] >= since and all(one[name] == value for name, value in state.items())
        ]

    # Longer than allowed: whether the page was late is told by its own record, not by when we come to read it.
    await within(max(0.0, since - time.time()) + seconds + PATIENCE_SECONDS, found)
    at = (await found())[0]
    assert at - since < seconds, f"{state} came after {at - since:.2f} s"
    return at


async def is_noted(page: Any, words: str, seconds: float) -> None:
    """Wait for the note about the connection to say `words`."""
    await page.wait_for_selector(f'#connection:has-text("{words}")', timeout=seconds * 1000)


async def is_not_noted(page: Any, seconds: float) -> None:
    await page.wait_for_selector("#connection", state="hidden", timeout=seconds * 1000)


async def is_live(page: Any, seconds: float = 8) -> None:
    await within(seconds, lambda: page.evaluate("flashdrop.isLive()"))


async def seconds_left(page: Any) -> int | None:
    """What the countdown shows; None while it shows a date."""
    text = await page.inner_text("#banner [data-countdown]")
    found = re.fullmatch(r"(?:(\d+) days? )?(\d\d):(\d\d):(\d\d)", text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


async def countdown_error(page: Any, until: datetime) -> float:
    """By how many seconds the countdown is wrong: it shows whole ones, rounded up."""
    before = (until - datetime.now(UTC)).total_seconds()
    shown = await seconds_left(page)
    after = (until - datetime.now(UTC)).total_seconds()
    assert shown is not None, "no countdown"
    return max(0.0, shown - 1 - before, after - shown)


async def slow_down(page: Any, latency_ms: int, kilobits: int) -> Any:
    """The page's network gets slow; all of the latency is on one way. Returns the session that did it."""
    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    bytes_per_second = kilobits * 1000 / 8
    await session.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False,
            "latency": latency_ms,
            "downloadThroughput": bytes_per_second,
            "uploadThroughput": bytes_per_second,
        },
    )
    return session


async def change(settings: SaleSettings, **changes: Any) -> SaleSettings:
    """Publish `settings` with changes."""
    changed = replace(settings, **changes)
    await publishing.publish(changed)
    return changed


async def bought(page: Any) -> None:
    """Buy, and see the order."""
    await page.click("#buy")
    await wait_for_panel(page, "order")
