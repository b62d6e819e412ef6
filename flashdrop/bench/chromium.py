"""The installed Chromium, driven by Playwright, and what its pages must not do."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a page or the browser itself wants from elsewhere is counted, but does not leave this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # Parts of the browser's own window, a process or two beside each page: without them a context opens in a third of
    # the time.
    "--disable-features=PreloadTopChromeWebUI,WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
)
RECORDER = Path(__file__).resolve().parent / "browser" / "recorder.js"
PHONE_WIDTH, PHONE_HEIGHT, PHONE_SCALE = 360, 740, 3
NICENESS = 10
OVER_THE_NETWORK = {"http", "https", "ws", "wss"}
# Chromium's own line for every 4xx. To a purchase it is an answer: sold out, not yet, already bought.
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d\b")
# What htmx and its extension log of a request or a socket that was given up. The page says so and tries again: on a
# machine with more browsers than processors it is the machine's doing, and counted by itself.
GIVEN_UP = re.compile(r"htmx:(?:timeout|sendError|afterRequest), |\[object Event\]$")
PURCHASE = re.compile(r"/sales/[^/]+/orders")


class ChromiumMissing(Exception):
    """Chromium is not installed; the text says how to get it."""


def binary() -> str | None:
    """The installed Chromium's path; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@asynccontextmanager
async def browsers(count: int = 1, *, give_way: bool = False) -> AsyncIterator[list[Browser]]:
    """`count` separate Chromium processes, closed on the way out, whatever happened.

    With `give_way` they run when nobody else wants the processor: many of them would otherwise starve the shop beside
    them, as no shopper's phone does.

    Raises:
        ChromiumMissing: it is not installed.
    """
    path = binary()
    if path is None:
        raise ChromiumMissing("The pages are measured in Chromium; `make tools` installs it.")
    async with AsyncExitStack() as stack:
        if give_way:
            path = _nice(path, Path(stack.enter_context(TemporaryDirectory(prefix="flashdrop-chromium-"))))
        playwright = await stack.enter_async_context(async_playwright())
        started = []
        for _ in range(count):
            browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
            stack.push_async_callback(browser.close)
            started.append(browser)
        yield started


def _nice(path: str, folder: Path) -> str:
    """A program in `folder` that starts Chromium with a low priority."""
    program = folder / "chromium"
    command = f"nice -n {NICENESS}"
    # Under root Chromium raises the priority of its own threads above everybody's, unless it lacks the right to.
    if os.geteuid() == 0 and shutil.which("setpriv"):
        command += " setpriv --bounding-set=-sys_nice"
    program.write_text(f'#!/bin/sh\nexec {command} {shlex.quote(path)} "$@"\n', encoding="utf-8")
    program.chmod(0o700)
    return str(program)


async def phone(browser: Browser, url: str, *, is_plain: bool = False) -> BrowserContext:
    """A phone with nothing cached and no cookies; each of its pages has the recorder.

    With `is_plain` it paints little: coarse dots, and no motion, as its owner may have asked for.
    """
    context = await browser.new_context(
        viewport={"width": PHONE_WIDTH, "height": PHONE_HEIGHT},
        device_scale_factor=1 if is_plain else PHONE_SCALE,
        reduced_motion="reduce" if is_plain else "no-preference",
        is_mobile=True,
        has_touch=True,
        base_url=url,
    )
    await context.add_init_script(path=RECORDER)
    return context


class Watch:
    """Listens to one page of the shop at `url` from before its first request."""

    def __init__(self, page: Page, url: str) -> None:
        self.errors: list[str] = []
        """What scripts threw or the console shows as an error; documented refusals of a purchase are not among them."""
        self.given_up: list[str] = []
        """What the console shows of requests and sockets that got no answer in time."""
        self.foreign: list[str] = []
        """Addresses at other origins that the page asked for."""
        self.sockets = 0
        """Websockets opened so far."""
        self.answers: Counter[int] = Counter()
        """Answers to purchases by HTTP status."""
        self._shop = urlsplit(url).netloc
        page.on("pageerror", lambda error: self.errors.append(f"{error.name}: {error.message}"))
        page.on("crash", lambda _: self.errors.append("the page crashed"))
        page.on("console", self._on_console)
        page.on("request", self._on_request)
        page.on("response", self._on_response)
        page.on("websocket", lambda socket: self._on_socket(socket.url))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type != "error" or is_refusal(message.text, message.location["url"]):
            return
        (self.given_up if GIVEN_UP.match(message.text) else self.errors).append(message.text)

    def _on_request(self, request: Request) -> None:
        self._note_origin(request.url)

    def _on_response(self, response: Response) -> None:
        if response.request.method == "POST" and PURCHASE.fullmatch(urlsplit(response.url).path):
            self.answers[response.status] += 1

    def _on_socket(self, url: str) -> None:
        self.sockets += 1
        self._note_origin(url)

    def _note_origin(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in OVER_THE_NETWORK and parts.netloc != self._shop:
            self.foreign.append(url)


def is_refusal(text: str, url: str) -> bool:
    """Whether a console line is Chromium's own about a purchase that was refused."""
    return bool(REFUSED.match(text) and PURCHASE.fullmatch(urlsplit(url).path))
