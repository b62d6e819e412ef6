"""The banner over a real websocket, from a real shop with two workers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from conftest import Publish, client_of, cookie_of, follows, settings_of, shopper
from sales import publishing
from sales.hub import BEAT, BEAT_SECONDS

FOLLOWED_SECONDS = 1.0


def watch(shop: str, sku: str, origin: str | None = "", query: str = "") -> connect:
    """A socket as a page of the shop opens it; another `origin` as some other page would."""
    address = f"{shop.replace('http', 'ws')}/ws/sales/{sku}/{query}"
    return connect(address, origin=shop if origin == "" else origin)  # type: ignore[arg-type]


async def banner(viewer: ClientConnection, seconds: float = 5.0) -> str:
    return str(await asyncio.wait_for(viewer.recv(), seconds))


async def buy(shop: str, sku: str) -> dict[str, Any]:
    async with client_of(shop) as client:
        answer = await client.post("/api/orders", json={"sku": sku}, headers=cookie_of(shopper()))
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["data"])


async def test_the_banner_comes_on_connect_and_is_the_pages_own(shop: str, publish: Publish) -> None:
    sale = await publish(stock=4)
    await follows(shop, sale)
    async with watch(shop, sale.sku) as viewer, client_of(shop) as client:
        text = await banner(viewer)
        assert text.strip() == (await client.get(f"/sales/{sale.sku}/banner")).text.strip()
    assert 'id="banner"' in text
    assert 'data-available="4"' in text


async def test_a_purchase_reaches_every_viewer_within_a_second(shop: str, publish: Publish) -> None:
    sale = await publish(stock=4)
    await follows(shop, sale)
    async with AsyncExitStack() as open_sockets:
        # Enough of them that both workers have some.
        viewers = [await open_sockets.enter_async_context(watch(shop, sale.sku)) for _ in range(10)]
        for viewer in viewers:
            assert 'data-available="4"' in await banner(viewer)
        await buy(shop, sale.sku)
        found = await asyncio.gather(*(banner(viewer, FOLLOWED_SECONDS) for viewer in viewers))
    assert all('data-available="3"' in text for text in found)


async def test_a_change_of_settings_reaches_the_viewer(shop: str, publish: Publish) -> None:
    settings = settings_of()
    sale = await publish(settings)
    await follows(shop, sale)
    async with watch(shop, sale.sku) as viewer:
        await banner(viewer)
        await publishing.publish(replace(settings, paused=True))
        assert 'data-phase="paused"' in await banner(viewer, FOLLOWED_SECONDS)


async def test_nothing_is_sent_while_nothing_changes(shop: str, publish: Publish) -> None:
    sale = await publish()
    await follows(shop, sale)
    async with watch(shop, sale.sku) as viewer:
        await banner(viewer)
        with pytest.raises(TimeoutError):
            await banner(viewer, 0.6)


async def test_a_beat_says_that_nothing_is_new_to_who_asked_for_it(shop: str, publish: Publish) -> None:
    """A page that hears neither news nor beats knows that its socket is dead; other clients hear of changes only."""
    sale = await publish()
    await follows(shop, sale)
    async with watch(shop, sale.sku, query="?lang=en&beat=1") as viewer, watch(shop, sale.sku) as other:
        await banner(viewer)
        await banner(other)
        for _ in range(2):
            assert await asyncio.wait_for(viewer.recv(), BEAT_SECONDS + 1) == BEAT.text
        with pytest.raises(TimeoutError):
            await banner(other, 0.1)


async def test_a_page_of_another_site_is_refused(shop: str, publish: Publish) -> None:
    sale = await publish()
    await follows(shop, sale)
    for origin in (
        "https://elsewhere.example",
        "http://127.0.0.1.elsewhere.example",
        "null",
        "http://[",
        "http://127.0.0.1:eighty.example",
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with watch(shop, sale.sku, origin):
                pass
        assert refused.value.response.status_code == 403, origin


async def test_a_program_without_an_origin_is_a_viewer(shop: str, publish: Publish) -> None:
    """A browser always says where its page is from; who says nothing has no visitor whose cookies could be used."""
    sale = await publish()
    await follows(shop, sale)
    async with watch(shop, sale.sku, None) as viewer:
        assert 'id="banner"' in await banner(viewer)


@pytest.mark.parametrize("sku", ["no-such-sale", "%00", "a" * 300])
async def test_a_sale_that_is_not_on_show_is_refused(shop: str, sku: str) -> None:
    with pytest.raises((InvalidStatus, ConnectionClosed)):
        async with watch(shop, sku) as viewer:
            await banner(viewer)


async def test_an_unknown_path_is_refused(shop: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{shop.replace('http', 'ws')}/ws/nothing/", origin=shop):  # type: ignore[arg-type]
            pass
    assert refused.value.response.status_code == 404


async def test_what_a_client_sends_is_ignored(shop: str, publish: Publish) -> None:
    sale = await publish(stock=4)
    await follows(shop, sale)
    async with watch(shop, sale.sku) as viewer:
        await banner(viewer)
        for message in ("hello", '{"type": "websocket.close"}', b"\x00\xff", ""):
            await viewer.send(message)
        with pytest.raises(TimeoutError):
            await banner(viewer, 0.4)
        await buy(shop, sale.sku)
        assert 'data-available="3"' in await banner(viewer, FOLLOWED_SECONDS)


async def test_a_viewer_that_leaves_does_not_disturb_the_others(shop: str, publish: Publish) -> None:
    sale = await publish(stock=4)
    await follows(shop, sale)
    async with watch(shop, sale.sku) as stays:
        await banner(stays)
        async with AsyncExitStack() as leaving:
            for _ in range(6):
                gone = await leaving.enter_async_context(watch(shop, sale.sku))
                await banner(gone)
                gone.transport.abort()
        await buy(shop, sale.sku)
        assert 'data-available="3"' in await banner(stays, FOLLOWED_SECONDS)
