"""An export on its way: read from the ledger, written as it is read, no faster than it is taken.

The reader is a task of its own: a client that leaves cancels whoever serves it, and a call of pymongo must not be
cancelled (see `flashdrop.mongo_client.within`). It is told to stop instead, closes its cursor and ends.

It runs on the loop that serves shoppers too, so it works in short strides and gives way after each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from flashdrop.mongo_client import PyMongoError
from orders import exporting, ledger_desk
from orders.exporting import Export
from orders.ledger_desk import OrderRecord

# About 2 ms of the loop's time, and 50 KB.
STRIDE = 100
# Read ahead, while what was read before is on its way.
STRIDES_AHEAD = 4
Note = Callable[[str], Awaitable[None]]
log = logging.getLogger(__name__)
# A task that nobody holds may be collected while it runs.
_readers: set[asyncio.Task[None]] = set()


class ExportBroken(Exception):
    """The ledger failed half-way. What was sent so far is not the whole file."""


async def stream(export: Export, note: Note) -> AsyncGenerator[bytes, None]:
    """The file, piece by piece. `note` is told how it ended, in words.

    Raises:
        ExportBroken: whoever serves the file must break the connection off, so that nobody takes it for complete.
    """
    reader = _Reader(export, note)
    try:
        if first := exporting.head(export):
            yield first
        while (piece := await reader.pieces.get()) is not None:
            yield piece
        if reader.failure is not None:
            raise ExportBroken(f"after {reader.count} orders") from reader.failure
        yield exporting.tail(export, reader.count)
        reader.end(f"Export complete: {_orders(reader.count)}")
    finally:
        reader.end(f"Export broke off: the browser left after about {_orders(reader.count)}")


class _Reader:
    """Fills `pieces`, None last. Until `end` it holds at most `STRIDES_AHEAD` of them."""

    def __init__(self, export: Export, note: Note) -> None:
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue(STRIDES_AHEAD)
        self.count = 0
        self.failure: Exception | None = None
        self._export = export
        self._note = note
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run())
        _readers.add(task)
        task.add_done_callback(_readers.discard)

    def end(self, how: str) -> None:
        """Nobody takes any more. The first call counts."""
        if not self._ended.done():
            self._ended.set_result(how)
        while not self.pieces.empty():  # so that the reader does not wait for room
            self.pieces.get_nowait()

    async def _run(self) -> None:
        try:
            await self._read()
        except Exception as error:  # whatever it was, somebody waits for the next piece
            log.log(
                logging.WARNING if isinstance(error, PyMongoError) else logging.ERROR,
                "export of sale %s broke off: %r",
                self._export.sku,
                error,
            )
            self.failure = error
            if not self._ended.done():
                self._ended.set_result(f"Export broke off: the ledger did not answer after {_orders(self.count)}")
        if self.failure is not None or not self._ended.done():
            await self.pieces.put(None)
        try:
            await self._note(await self._ended)
        except Exception:
            log.exception("the end of an export of sale %s could not be noted", self._export.sku)

    async def _read(self) -> None:
        async with aclosing(ledger_desk.every(self._export.wanted)) as records:
            stride: list[OrderRecord] = []
            async for record in records:
                stride.append(record)
                if len(stride) == STRIDE:
                    await self._put(stride)
                    stride = []
                    await asyncio.sleep(0)
                if self._ended.done():
                    return
            if stride:
                await self._put(stride)

    async def _put(self, stride: list[OrderRecord]) -> None:
        piece = exporting.rows(self._export, stride, is_first=self.count == 0)
        self.count += len(stride)
        if not self._ended.done():
            await self.pieces.put(piece)


def _orders(count: int) -> str:
    return f"{count:,} order" if count == 1 else f"{count:,} orders"
