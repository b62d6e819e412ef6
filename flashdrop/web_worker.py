"""One web worker: uvicorn with the shorter way to hot views, sockets that take ready frames, and eager accepting."""

from __future__ import annotations

import socket
from functools import partial

import uvicorn

from flashdrop.acceptor import Acceptor
from flashdrop.wire import WireProtocol
from flashdrop.wire_socket import PushingProtocol

BACKLOG = 4096
KEEP_ALIVE_SECONDS = 75
DRAIN_SECONDS = 10
# Viewers have nothing to say.
MAX_SOCKET_MESSAGE_BYTES = 4096


class WebServer(uvicorn.Server):
    """Uvicorn's server, helped by an `Acceptor` on each of its sockets."""

    def __init__(self) -> None:
        super().__init__(
            uvicorn.Config(
                "flashdrop.asgi:application",
                loop="uvloop",
                http=WireProtocol,
                ws=PushingProtocol,
                ws_per_message_deflate=False,
                ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._acceptors: list[Acceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        make_protocol = partial(
            WireProtocol, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        self._acceptors = [Acceptor(sock, make_protocol) for sock in sockets or []]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for acceptor in self._acceptors:
            await acceptor.close()
        await super().shutdown(sockets=sockets)
