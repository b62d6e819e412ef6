"""Logging: a line for people where people look, JSON where programs do, and never more than a disk can take.

`LOG_FORMAT=auto` writes lines to a terminal and JSON anywhere else. Each line names the request it belongs to.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from flashdrop.request_id import request_id

FORMATS = ("auto", "line", "json")
LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s%(details)s"
# Of one kind (logger, level and text before its values are put in), in each second and process.
MOST_PER_SECOND = 50
MOST_KINDS = 1000
# What a LogRecord has by itself; the rest came with `extra`.
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "details", "taskName"}


class Allowance:
    """So many lines in a second. Asked before a line is made, where there may be thousands: making one costs more."""

    __slots__ = ("_left_out", "_most", "_second", "_taken")

    def __init__(self, most_per_second: int = MOST_PER_SECOND) -> None:
        self._most = most_per_second
        self._second = self._taken = self._left_out = 0

    def take(self, at: float | None = None) -> int | None:
        """None when no line may be written now (`at`, seconds since the epoch); else how many were left out before."""
        second = int(time.time() if at is None else at)
        if second != self._second:
            self._second, self._taken = second, 0
        if self._taken >= self._most:
            self._left_out += 1
            return None
        self._taken += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


class Flood(logging.Filter):
    """Lets through so many records of a kind in a second; the next one after that says how many were left out.

    A stampede must not fill a disk, nor one noisy line hide the others: each kind has its own allowance.
    """

    def __init__(self, most_per_second: int = MOST_PER_SECOND) -> None:
        super().__init__()
        self._most = most_per_second
        self._kinds: dict[tuple[str, int, str], Allowance] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = (record.name, record.levelno, str(record.msg))
        allowance = self._kinds.get(kind)
        if allowance is None:
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
            allowance = self._kinds[kind] = Allowance(self._most)
        left_out = allowance.take(record.created)
        if left_out:
            record.left_out = left_out
        return left_out is not None


class Request(logging.Filter):
    """Adds the id of the request that is being answered, and takes away Django's own form of it: a receipt's address
    is its key.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        vars(record).pop("request", None)
        found = request_id.get()
        if found:
            record.request_id = found
        return True


class LineFormatter(logging.Formatter):
    """One line for people; what came with `extra` follows the message."""

    def __init__(self) -> None:
        super().__init__(LINE)

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in STANDARD}
        record.details = "".join(f" {name}={value}" for name, value in extra.items())
        return super().format(record)


class JSONFormatter(JsonFormatter):
    """One JSON object a line: time, level, logger, message, and what came with `extra`."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{moment}.{int(record.msecs):03d}Z"


def logging_settings(level: str, form: str) -> dict[str, Any]:
    """Django's LOGGING. `form`: one of `FORMATS`."""
    is_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": {"()": JSONFormatter if is_json else LineFormatter}},
        "filters": {"flood": {"()": Flood}, "request": {"()": Request}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "chosen", "filters": ["flood", "request"]}
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # An expected 4xx is an answer, not news.
            "django.request": {"level": "ERROR"},
            "pymongo": {"level": "WARNING"},
            "asyncio": {"level": "WARNING"},
            "axes": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            # Two lines for each websocket would be most of a stampede's log.
            "uvicorn.error": {"level": "WARNING"},
        },
    }
