"""The one JSON envelope that every `/api/` answer travels in."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from django.http import HttpResponse

from flashdrop.responses import Head, LeanResponse

# The orders of one batch share theirs.
INSTANTS_REMEMBERED = 1024


@lru_cache(INSTANTS_REMEMBERED)
def iso_utc(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: `2026-11-22T14:28:22.160Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_ms(ms: int) -> datetime:
    """An aware UTC datetime from milliseconds since the epoch."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(at: datetime) -> int:
    """Milliseconds since the epoch."""
    return round(at.timestamp() * 1000)


def encode(value: Any) -> bytes:
    """Compact JSON."""
    return orjson.dumps(value)


def ok(data: Any, status: int = 200) -> HttpResponse:
    """A successful answer around `data`."""
    body = b'{"status":"ok","data":%b,"error":null,"code":null%b' % (encode(data), timestamp_tail())
    return LeanResponse(_head(status, None), body)


def error(
    message: Any, code: str, status: int, retry_after_seconds: int | None = None, data: dict[str, Any] | None = None
) -> HttpResponse:
    """A refusal: `message` for people (or `{"issues": [...]}`), `code` for programs, `data` where the code has some."""
    body = b'{"status":"error","data":%b,"error":%b,"code":%b%b' % (
        encode(data),
        encode(message),
        encode(code),
        timestamp_tail(),
    )
    return LeanResponse(_head(status, retry_after_seconds), body)


def issue(path: str, message: str) -> HttpResponse:
    """A validation error about one field."""
    return issues([(path, message)])


def issues(found: list[tuple[str, str]]) -> HttpResponse:
    """A validation error; `found` pairs a field with what is wrong with it."""
    listed = [{"path": [path] if path else [], "message": message} for path, message in found]
    return error({"issues": listed}, "VALIDATION_ERROR", 400)


def timestamp_tail() -> bytes:
    """The end of every envelope: the time of the answer."""
    return _tail_at(time.time_ns() // 1_000_000)


@lru_cache(1)
def _tail_at(ms: int) -> bytes:
    return f',"timestamp":"{iso_utc(from_ms(ms))}"}}'.encode()


@lru_cache(128)
def _head(status: int, retry_after_seconds: int | None) -> Head:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    if retry_after_seconds is not None:
        headers["Retry-After"] = str(retry_after_seconds)
    return Head(status, headers)
