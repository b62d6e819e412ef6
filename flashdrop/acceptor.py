"""Accepts connections in bulk.

The event loop's own listener (libuv's) accepts one connection in each turn. In a stampede a turn serves hundreds of
requests, so those who come while others are served would wait in the kernel's queue for seconds: 2,800 of 5,000
connections still stood there after 5 s of `wrk -c5000`. An `Acceptor` shares the listening socket and takes
all that wait.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

# In one turn of the loop: under 100 ms of work, in a turn that serves as long as that anyway.
AT_ONCE = 256
# After the process has run out of file descriptors.
PAUSE_SECONDS = 0.5
log = logging.getLogger(__name__)


class Acceptor:
    """Accepts on `listener` (which stays the caller's) and makes a protocol for each connection, until closed."""

    def __init__(self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener.dup()
        self._listener.setblocking(False)
        self._make_protocol = make_protocol
        self._arriving: set[asyncio.Task[None]] = set()
        self._listen()

    async def close(self) -> None:
        """Stop accepting. What was accepted stays, and has its protocol on return."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        await asyncio.gather(*self._arriving)

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:  # gone while it waited
                continue
            except OSError as error:
                log.warning("can't accept connections: %s", error.strerror)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(PAUSE_SECONDS, self._listen)
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            arrival = self._loop.create_task(self._take(connection))
            self._arriving.add(arrival)
            arrival.add_done_callback(self._arriving.discard)

    async def _take(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except Exception as error:
            log.warning("a connection could not be taken: %s", error)
            connection.close()
