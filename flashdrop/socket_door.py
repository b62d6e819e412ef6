"""The door for websockets: who may open one, and how many there may be.

A page of another site may not: its visitor's browser would do the asking. A program, which sends no `Origin`, may: no
cookie that says who somebody is gets read behind this door. One address may hold a share of a process' sockets, so that
nobody takes all of them; who is refused hears so before the handshake, and a page polls instead.
"""

from __future__ import annotations

import logging
import resource
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from django.http.request import validate_host

from flashdrop import metrics
from flashdrop.config import config
from flashdrop.lean import AsgiApp, Receive, Scope, Send, peer_of
from flashdrop.proxies import client_address, network_of

# Seconds, for clients that count them; pages choose their own time.
RETRY_AFTER = b"10"
# Of the files that the process may have open; the rest are for pages, orders and the stores.
SHARE_OF_FILES = 0.75
log = logging.getLogger(__name__)


async def refuse(scope: Scope, receive: Receive, send: Send, status: int = 404, reason: str = "Not found.") -> None:
    """Answer a handshake with a status, where the server can; else it closes with 403."""
    await receive()  # websocket.connect
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    if status in (429, 503):
        headers.append((b"retry-after", RETRY_AFTER))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": f"{reason}\n".encode()})


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """The end of the routes: there is no socket at this address."""
    await refuse(scope, receive, send)


class SocketDoor:
    """Lets sockets pass to `app`, and counts those that are open in this process.

    Args:
        app: the routes of websockets.
        most: open at the same time.
        most_of_one: open at the same time from one address, or one IPv6 network.
    """

    def __init__(
        self, app: AsgiApp, most: int = config.sockets_max, most_of_one: int = config.sockets_per_address
    ) -> None:
        self._app = app
        self._most = min(most, int(resource.getrlimit(resource.RLIMIT_NOFILE)[0] * SHARE_OF_FILES))
        self._most_of_one = most_of_one
        self._open: Counter[str] = Counter()
        self._total = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not comes_from_here(scope):
            await receive()
            await send({"type": "websocket.close"})
            return
        address = client_address(scope["headers"], peer_of(scope))
        key = network_of(address) or address
        if self._total >= self._most:
            metrics.SOCKETS.labels("refused_full").inc()
            await refuse(scope, receive, send, 503, "No more websockets here now. Ask for the numbers instead.")
            return
        if self._open[key] >= self._most_of_one:
            metrics.SOCKETS.labels("refused_address").inc()
            await refuse(
                scope, receive, send, 429, "Too many websockets from this address. Ask for the numbers instead."
            )
            return
        self._total += 1
        self._open[key] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._total -= 1
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


def comes_from_here(scope: dict[str, Any] | Scope) -> bool:
    """Whether a page of this shop asks, or no page at all."""
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if not origins:
        return True
    try:
        page = urlsplit(origins[0].decode("ascii"))
        host, _ = page.hostname or "", page.port  # both or none: a port that is no number is an error
    except ValueError:
        return False
    return (
        len(origins) == 1 and bool(host) and validate_host(f"[{host}]" if ":" in host else host, config.allowed_hosts)
    )
