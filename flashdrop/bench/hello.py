"""The smallest ASGI application, on one uvicorn worker: what the server costs before any of our code runs."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"5")],
}
BODY = {"type": "http.response.body", "body": b"hello"}


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send(BODY)


if __name__ == "__main__":
    uvicorn.run(
        application,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="error",
    )
