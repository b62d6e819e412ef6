"""The one JSON envelope that every `/api/` answer travels in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from django.http import HttpResponse


def iso_utc(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: `2026-11-22T14:28:22.160Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_ms(ms: int) -> datetime:
    """An aware UTC datetime from milliseconds since the epoch."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(at: datetime) -> int:
    """Milliseconds since the epoch."""
    return round(at.timestamp() * 1000)


def encode(value: Any) -> str:
    """Compact JSON text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def ok(data: Any, status: int = 200) -> HttpResponse:
    """A successful answer around `data`."""
    return _response(f'{{"status":"ok","data":{encode(data)},"error":null,"code":null', status)


def error(message: Any, code: str, status: int, retry_after_seconds: int | None = None) -> HttpResponse:
    """A refusal: `message` for people (or `{"issues": [...]}`), `code` for programs."""
    response = _response(
        f'{{"status":"error","data":null,"error":{encode(message)},"code":"{code}"',
        status,
    )
    if retry_after_seconds is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    return response


def issue(path: str, message: str) -> HttpResponse:
    """A validation error about one field."""
    return issues([(path, message)])


def issues(found: list[tuple[str, str]]) -> HttpResponse:
    """A validation error; `found` pairs a field with what is wrong with it."""
    listed = [{"path": [path] if path else [], "message": message} for path, message in found]
    return error({"issues": listed}, "VALIDATION_ERROR", 400)


def timestamp_tail() -> str:
    """The end of every envelope: the time of the answer."""
    return f',"timestamp":"{iso_utc(datetime.now(UTC))}"}}'


def _response(head: str, status: int) -> HttpResponse:
    body = head + timestamp_tail()
    response = HttpResponse(body.encode("utf-8", "replace"), content_type="application/json", status=status)
    response.headers["Cache-Control"] = "no-store"
    return response
