"""One HTTP request over a connection of its own, by a client that may leave at any stage of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Leave(StrEnum):
    """When a client goes away without its answer."""

    CONNECTED = "connected"
    HALF_SENT = "half sent"
    SENT = "sent"
    READING = "reading"


class ClientLeft(Exception):
    """The client went away on purpose."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the envelope's code and data."""

    status: int
    code: str | None
    data: dict[str, Any] = field(default_factory=dict)


async def request(
    port: int,
    method: str,
    path: str,
    headers: dict[str, str],
    *,
    body: dict[str, Any] | None = None,
    leave: Leave | None = None,
) -> Reply:
    """Ask the web tier on `port`.

    Raises:
        ClientLeft: as `leave` said.
        OSError: refused, reset, or closed before the answer was complete.
    """
    payload = b"" if body is None else json.dumps(body).encode()
    fields = {"Host": "127.0.0.1", "Connection": "close", **headers}
    if body is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(payload))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    message = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + payload
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        if leave is Leave.CONNECTED:
            raise ClientLeft
        writer.write(message[: len(message) // 2] if leave is Leave.HALF_SENT else message)
        await writer.drain()
        if leave in (Leave.HALF_SENT, Leave.SENT):
            raise ClientLeft
        if leave is Leave.READING:
            await reader.read(16)
            raise ClientLeft
        return _parse(await reader.read())
    finally:
        if leave in (Leave.CONNECTED, Leave.READING):
            writer.transport.abort()
        writer.close()


def _parse(answer: bytes) -> Reply:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        raise ConnectionResetError("the connection closed before the answer")
    status = int(head.split(None, 2)[1])
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    if len(body) < length:
        raise ConnectionResetError("the connection closed inside the answer")
    try:
        envelope = json.loads(body)
    except ValueError:
        return Reply(status, None)
    data = envelope.get("data")
    return Reply(status, envelope.get("code"), data if isinstance(data, dict) else {})
