"""The ASGI application: the same for `manage.py serve`, Daphne and `runserver`."""

from __future__ import annotations

import gc
import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flashdrop.settings")
stock_handler: Any = get_asgi_application()  # sets Django up; what follows needs that

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from flashdrop import loops, metrics  # noqa: E402
from flashdrop.config import config  # noqa: E402
from flashdrop.lean import AsgiApp, LeanHandler, Receive, Scope, Send, hot_routes  # noqa: E402
from flashdrop.nowhere import NOWHERE  # noqa: E402
from flashdrop.sampling import sampler  # noqa: E402
from flashdrop.socket_door import SocketDoor  # noqa: E402
from flashdrop.urls import websocket_urlpatterns  # noqa: E402
from orders import sessions  # noqa: E402
from orders.indexes import index_guard  # noqa: E402
from sales import tally  # noqa: E402
from sales.board import current_board  # noqa: E402

# New objects before the collector looks at them.
GC_THRESHOLD = 50_000


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Warm up before the first request; on shutdown finish the batches, send viewers away, close the stores."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            metrics.publisher()
            metrics.start_at_zero(metrics.REQUEST_SECONDS, (*hot_routes(), NOWHERE))
            sampler()
            tally.writer()
            index_guard()
            sessions.watcher()
            await current_board()
            _settle_memory()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await loops.close_all()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _settle_memory() -> None:
    """Let the collector forget what lives as long as the process, and look at the rest less often.

    A request makes hundreds of objects and no cycles: with Python's own threshold (700) a stampede was collected
    hundreds of times a second, for a tenth of the processor's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)


def scraped_by_address(app: AsgiApp) -> AsgiApp:
    """Answer `/metrics` under any name: Prometheus calls what it found by DNS by its address, and knows no other."""
    own = config.allowed_hosts[0].lstrip(".").encode() if config.allowed_hosts else b""

    async def scraped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/metrics":
            others = [header for header in scope["headers"] if header[0] != b"host"]
            scope = {**scope, "headers": [*others, (b"host", b"localhost" if own == b"*" else own)]}
        await app(scope, receive, send)

    return scraped


lean_handler = LeanHandler(scraped_by_address(stock_handler))
application: AsgiApp = ProtocolTypeRouter(
    {
        "http": lean_handler,
        "websocket": SocketDoor(URLRouter(websocket_urlpatterns)),
        "lifespan": lifespan,
    }
)
