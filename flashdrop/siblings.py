"""What the web processes of one `serve` know of each other: a page of shared memory, made before they are forked.

Any of them may be asked whether the shop is ready, and a load balancer's next request goes to another. So each writes
down here what it shows, several times a second, and whoever is asked answers for all.
"""

from __future__ import annotations

import mmap
import struct
import time
import zlib
from collections.abc import Iterable

# When it was written, by the clock that all processes of a host share; the sum of what is shown; whether it is ready.
ROW = struct.Struct("dQ?")
# A process that has written nothing for so long is starting, hangs, or is gone.
SILENT_SECONDS = 5.0


class Siblings:
    """`count` processes; each is told its own place once it is forked, and has the first one until then."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._page = mmap.mmap(-1, ROW.size * count)
        self._place = 0

    def take(self, place: int) -> None:
        """In a process: this is its own place; what another wrote there before is void."""
        self._place = place
        ROW.pack_into(self._page, place * ROW.size, 0.0, 0, False)

    def write(self, shown: int, is_ready: bool) -> None:
        """Tell the others what this process shows; `shown` is a `sum_of`."""
        ROW.pack_into(self._page, self._place * ROW.size, time.monotonic(), shown, is_ready)

    def behind(self, shown: int) -> int:
        """How many of the others are not ready, or show something else than `shown`."""
        rows = (ROW.unpack_from(self._page, place * ROW.size) for place in range(self._count) if place != self._place)
        oldest = time.monotonic() - SILENT_SECONDS
        return sum(at < oldest or theirs != shown or not is_ready for at, theirs, is_ready in rows)


def sum_of(names: Iterable[str]) -> int:
    """A number that is the same for the same names, in whatever order."""
    return zlib.crc32("\n".join(sorted(names)).encode())


# Alone, unless `serve` says otherwise.
siblings = Siblings(1)


def adopt(found: Siblings, place: int) -> None:
    """In a web process: these are its siblings, and this is its own place among them."""
    global siblings
    siblings = found
    found.take(place)
