"""The banner over a websocket: on connect, and on each change."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from channels.generic.websocket import AsyncWebsocketConsumer

from flashdrop.languages import language_in
from flashdrop.wire_socket import EXTENSION
from sales.archive import if_known, shown
from sales.board import current_board
from sales.hub import CLOSE_TRY_LATER, News, Viewer, hub

BEAT_PARAMETER = "beat"


class BannerConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Registers the socket with the hub. Refuses what is neither on show nor archived; ignores what clients send.

    Beats come to those who ask for them (`?beat=1`): by contract others hear of changes only.
    """

    viewer: Viewer | None = None
    sale_id: str

    async def connect(self) -> None:
        board, sku = await current_board(), self.scope["url_route"]["kwargs"]["sku"]
        showing = await if_known(shown(sku))
        if showing is None:
            await self.close(CLOSE_TRY_LATER)
            return
        await self.accept()
        self.sale_id = showing.sale.id
        push = self.scope.get("extensions", {}).get(EXTENSION, {}).get("push")
        self.viewer = Viewer(
            self._send_text, self.close, push, language_in(self.scope), hears_beats=self._asked_for(BEAT_PARAMETER)
        )
        hub().join(self.sale_id, self.viewer)
        # Looked up again: the board may have changed while the handshake was under way.
        self.viewer.offer(News(board.by_sku.get(sku, showing).banner_html(self.viewer.language)))

    def _asked_for(self, parameter: str) -> bool:
        return (parameter, "1") in parse_qsl(self.scope["query_string"].decode("latin1"))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """The page has nothing to say; there is nothing to guard and nothing to echo."""

    async def disconnect(self, code: int) -> None:
        if self.viewer is not None:
            hub().leave(self.sale_id, self.viewer)

    async def _send_text(self, text: str) -> None:
        await self.send(text_data=text)

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        await self.receive(message.get("text"), message.get("bytes"))
