"""What a run has done so far, in one line for people who watch it."""

from __future__ import annotations

import sys
from typing import TextIO

from flashdrop.stress.kit import ANSWER, Extent, Look

EVERY_SECONDS = 5.0
MOST_COLUMNS = 150


class Progress:
    """Prints the newest look: in place on a terminal, a line every few seconds elsewhere."""

    def __init__(self, extent: Extent, stream: TextIO | None = None) -> None:
        self._extent = extent
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._before: Look | None = None
        self._said_at = 0.0

    def show(self, look: Look) -> None:
        """Say what has changed since the look before; `look` must be newer."""
        line = described(look, self._before, self._extent)
        self._before = look
        if self._is_terminal:
            self._stream.write(f"\r\x1b[2K{line[:MOST_COLUMNS]}")
        elif look.seconds - self._said_at >= EVERY_SECONDS:
            self._said_at = look.seconds
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def say(self, text: str) -> None:
        """Print a line of its own."""
        self.end()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the line, so that what comes next has one of its own."""
        if self._is_terminal:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()


def described(look: Look, before: Look | None, extent: Extent) -> str:
    """`0:12 of 1:00 | 4,210 requests, 350/s | 1,203 purchases, 120/s | confirmed 500, OUT_OF_STOCK 703`."""
    of = f" of {_clock(extent.seconds)}" if look.seconds <= extent.seconds else ""
    parts = [_clock(look.seconds) + of, _paced("requests", "http_reqs", look, before)]
    answers = answers_of(look)
    if answers:
        parts.append(_paced("confirmed", f"{ANSWER}confirmed", look, before))
        rest = [f"{name} {count:,.0f}" for name, count in answers.items() if name != "confirmed"]
        parts += [", ".join(rest)] if rest else []
    if look.counts.get("banners"):
        parts.append(_paced("banners", "banners", look, before))
    return " | ".join(parts)


def answers_of(look: Look) -> dict[str, float]:
    """Answers to purchases so far, by what they said."""
    return {
        name.removeprefix(ANSWER): count
        for name, count in sorted(look.counts.items())
        if name.startswith(ANSWER) and not name.startswith(f"{ANSWER}status_") and count
    }


def _paced(what: str, metric: str, look: Look, before: Look | None) -> str:
    count = look.counts.get(metric, 0)
    grown = count - (before.counts.get(metric, 0) if before else 0)
    took = look.seconds - (before.seconds if before else 0)
    return f"{count:,.0f} {what}, {grown / took:,.0f}/s"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
