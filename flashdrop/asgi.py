"""The ASGI application: the same for `manage.py serve`, Daphne and `runserver`."""

from __future__ import annotations

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flashdrop.settings")
stock_handler: Any = get_asgi_application()  # sets Django up; what follows needs that

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from flashdrop import loops, metrics  # noqa: E402
from flashdrop.lean import AsgiApp, LeanHandler, Receive, Scope, Send  # noqa: E402
from flashdrop.urls import websocket_urlpatterns  # noqa: E402
from orders.indexes import index_guard  # noqa: E402
from sales.board import current_board  # noqa: E402


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Warm up before the first request; on shutdown finish the batches, send viewers away, close the stores."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            metrics.publisher()
            index_guard()
            await current_board()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await loops.close_all()
            await send({"type": "lifespan.shutdown.complete"})
            return


lean_handler = LeanHandler(stock_handler)
application: AsgiApp = ProtocolTypeRouter(
    {
        "http": lean_handler,
        "websocket": AllowedHostsOriginValidator(URLRouter(websocket_urlpatterns)),
        "lifespan": lifespan,
    }
)
