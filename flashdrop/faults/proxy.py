"""A TCP proxy between the shop and a store, for networks that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum, auto

CHUNK = 64 * 1024
DELAY_SECONDS = 0.3


class Weather(Enum):
    """What the network does to what passes through."""

    FAIR = auto()
    HANGING = auto()
    """Connections stand and new ones are accepted; nothing passes."""
    RESETTING = auto()
    """Every connection is reset, and each new one too."""
    SLOW = auto()
    """Everything arrives `DELAY_SECONDS` later."""


class Proxy:
    """Listens on `port` and passes everything on to `target` on loopback, as the weather lets it."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._weather = Weather.FAIR
        self._fair = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen."""
        self._fair.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Drop everything and stop listening."""
        if self._server:
            self._server.close()
        self._drop()
        for task in list(self._tasks):
            task.cancel()

    def change(self, weather: Weather) -> None:
        """From now on."""
        self._weather = weather
        if weather is Weather.HANGING:
            self._fair.clear()
        else:
            self._fair.set()
        if weather is Weather.RESETTING:
            self._drop()

    def _drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        ends = [writer]
        try:
            await self._fair.wait()
            if self._weather is Weather.RESETTING:
                return
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._target)
            ends.append(upstream_writer)
            self._writers.add(upstream_writer)
            await asyncio.gather(self._pass(reader, upstream_writer), self._pass(upstream_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in ends:
                end.transport.abort()
                self._writers.discard(end)
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                await self._fair.wait()
                if self._weather is Weather.SLOW:
                    await asyncio.sleep(DELAY_SECONDS)
                writer.write(chunk)
                await writer.drain()
        writer.close()
