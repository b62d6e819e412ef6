"""Accepts connections in bulk.

The event loop's own listener (libuv's) accepts one connection in each turn. In a stampede a turn serves hundreds of
requests, so those who come while others are served would wait in the kernel's queue for seconds: 2,800 of 5,000
connections still stood there after 5 s of `wrk -c5000`. An `Acceptor` shares the listening socket and takes
all that wait.

It also closes without losing anybody. A listening socket that is closed resets the connections in its queue, and a
proxy that has sent its request on one of those must not send it again. So the kernel is told first to let no more in:
whoever comes then tries again by itself a second later, and is refused or finds another worker.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import socket
import struct
import sys
from collections.abc import Callable

# In one turn of the loop: under 100 ms of work, in a turn that serves as long as that anyway.
AT_ONCE = 256
# After the process has run out of file descriptors.
PAUSE_SECONDS = 0.5
# linux/filter.h: "return 0", a program for a socket that is to receive nothing more.
SO_ATTACH_FILTER = 26
RECEIVE_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)
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
        """Let nobody in any more, and take all who are. What was accepted stays, and has its protocol on return.

        The listener stays the caller's to close; on Linux nothing reaches it from here on.
        """
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            _let_nobody_in(self._listener)
            while self._accept():
                pass
            self._listener.close()
        await asyncio.gather(*self._arriving)

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> bool:
        """Take some of those who wait. Whether there may be more."""
        for _ in range(AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return False
            except ConnectionAbortedError:  # gone while it waited
                continue
            except OSError as error:
                log.warning("can't accept connections: %s", error.strerror)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(PAUSE_SECONDS, self._listen)
                return False
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            arrival = self._loop.create_task(self._take(connection))
            self._arriving.add(arrival)
            arrival.add_done_callback(self._arriving.discard)
        return True

    async def _take(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except Exception as error:
            log.warning("a connection could not be taken: %s", error)
            connection.close()


def _let_nobody_in(listener: socket.socket) -> None:
    """Have the kernel drop all that comes for this listening socket; elsewhere than on Linux nothing happens."""
    if sys.platform == "linux":
        instruction = ctypes.create_string_buffer(RECEIVE_NOTHING)
        program = struct.pack("HP", 1, ctypes.addressof(instruction))
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
