"""One shopper of a benchmark: a page, a panel, a websocket, and one click."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import Counter

from flashdrop.bench.clients import Answer, Connection, Socket, connect, open_socket, request
from flashdrop.bench.offers import ONE_UNIT

AGAIN_SECONDS = 0.2
PATIENCE_SECONDS = 20.0
# Being confirmed, not started, not ready or overloaded: the page says so, and one waits or presses again.
NOT_YET = {202, 400, 503}
BOUGHT = {200, 201}
SOLD_OUT = 409
NO_ANSWER = 0
PHASE = re.compile(rb'data-phase="(\w+)"')


class Shopper:
    """One person with one browser. Times are by `time.perf_counter()`."""

    def __init__(self, port: int, sku: str, cookie: str) -> None:
        self.cookie = cookie
        self.clicked_at = 0.0
        self.answered_at = 0.0
        self.status = NO_ANSWER
        """Of the last answer."""
        self.put_off: Counter[int] = Counter()
        """Answers that said to try again, by status; those that never came under `NO_ANSWER`."""
        self.shown_at: dict[bytes, float] = {}
        """When the websocket first showed each phase."""
        self._port = port
        self._sku = sku
        self._connection: Connection
        self._socket: Socket
        path, from_page = f"/sales/{sku}/", {"Cookie": cookie, "HX-Request": "true"}
        self._page = request("GET", port, path, {"Cookie": cookie, "Accept-Encoding": "gzip"})
        self._panel = request("GET", port, f"{path}me", from_page)
        form = {**from_page, "Content-Type": "application/x-www-form-urlencoded"}
        wish = f"attempt={secrets.token_hex(16)}&{ONE_UNIT}".encode()
        self._purchase = request("POST", port, f"{path}orders", form, wish)

    @property
    def was_told_bought(self) -> bool:
        return self.status in BOUGHT

    @property
    def seconds(self) -> float:
        """From the click to the last answer."""
        return self.answered_at - self.clicked_at

    async def arrive(self) -> None:
        """Load the page and the panel, and open the websocket.

        Raises:
            RuntimeError: the shop did not serve the page or the panel.
            Refused, OSError: it did not open a connection.
        """
        self._connection = await connect(self._port)
        for message in (self._page, self._panel):
            answer = await self._connection.ask(message)
            if answer.status != 200:
                raise RuntimeError(f"{message.split()[1].decode()} was answered with {answer.status}")
        self._socket = await open_socket(self._port, self._sku, self._on_banner)

    async def buy(self, clicks_at: float) -> None:
        """Click at that moment, and go on until the answer is definite or patience ends."""
        await asyncio.sleep(clicks_at - time.perf_counter())
        self.clicked_at = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await self._has_answer():
                    pass
        except TimeoutError:
            self.answered_at = time.perf_counter()

    def leave(self) -> None:
        self._connection.close()
        self._socket.close()

    async def _has_answer(self) -> bool:
        """Ask once, and pause when there is reason to ask again."""
        pause = AGAIN_SECONDS
        try:
            answer = await self._ask(self._purchase)
        except OSError:
            self.put_off[NO_ANSWER] += 1
        else:
            self.status, self.answered_at = answer.status, answer.at
            if answer.status not in NOT_YET:
                return True
            self.put_off[answer.status] += 1
            pause = float(answer.headers.get("retry-after", AGAIN_SECONDS))
        await asyncio.sleep(pause)
        return False

    async def _ask(self, message: bytes) -> Answer:
        if not self._connection.is_open:
            self._connection = await connect(self._port)
        return await self._connection.ask(message)

    def _on_banner(self, socket: Socket, at: float, banner: bytes) -> None:
        phase = PHASE.search(banner)
        if phase is None:
            raise ValueError(f"a banner without its phase: {banner[:200]!r}")
        self.shown_at.setdefault(phase[1], at)
