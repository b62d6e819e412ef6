"""A sale's page in each language: told apart by caches, made once, and followed over the socket in it."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from websockets.asyncio.client import connect

from conftest import Publish, client_of, follows
from flashdrop.languages import COOKIE
from sales.board import board

ON_SALE_NOW = {"en": "On sale now", "de": "Jetzt im Verkauf", "ar": "البيع جارٍ الآن"}
VARY = "Accept-Encoding, Accept-Language, Cookie"


@pytest.mark.parametrize("part", ["", "banner"])
async def test_each_language_has_bytes_and_an_etag_of_its_own(
    client: httpx.AsyncClient, publish: Publish, part: str
) -> None:
    sale = await publish()
    found = {
        language: await client.get(f"/sales/{sale.sku}/{part}", headers={"Accept-Language": language})
        for language in ON_SALE_NOW
    }
    for language, answer in found.items():
        assert ON_SALE_NOW[language] in answer.text
        assert answer.headers["Vary"] == VARY
        assert f"?lang={language}" in answer.text
    assert len({answer.headers["ETag"] for answer in found.values()}) == len(found)
    # The copy of one language is not taken for another's.
    known = {"If-None-Match": found["de"].headers["ETag"]}
    path = f"/sales/{sale.sku}/{part}"
    assert (await client.get(path, headers=known | {"Accept-Language": "de"})).status_code == 304
    assert (await client.get(path, headers=known | {"Accept-Language": "ar"})).status_code == 200


async def test_a_language_is_rendered_once_for_all_its_readers(client: httpx.AsyncClient, publish: Publish) -> None:
    sale = await publish()
    showing = board().by_sku[sale.sku]
    pages = {language: showing.face(language).page for language in ON_SALE_NOW}
    for language in ON_SALE_NOW:
        await client.get(f"/sales/{sale.sku}/", headers={"Accept-Language": language})
        assert board().by_sku[sale.sku].face(language).page is pages[language]
        assert showing.face(language).banner is showing.face(language).banner
    assert len({page.body for page in pages.values()}) == len(pages)


@pytest.mark.parametrize(
    ("query", "headers", "language"),
    [
        ("", {}, "en"),
        ("?lang=de", {"Cookie": f"{COOKIE}=ar", "Accept-Language": "ar"}, "de"),
        ("", {"Cookie": f"{COOKIE}=ar", "Accept-Language": "de"}, "ar"),
        ("", {"Accept-Language": "de-AT, en;q=0.5"}, "de"),
        ("?lang=fr", {"Accept-Language": "fr"}, "en"),
    ],
)
async def test_the_socket_speaks_the_pages_language(
    shop: str, publish: Publish, query: str, headers: dict[str, str], language: str
) -> None:
    sale = await publish()
    await follows(shop, sale)
    address = f"{shop.replace('http', 'ws')}/ws/sales/{sale.sku}/{query}"
    async with connect(address, origin=shop, additional_headers=headers) as viewer, client_of(shop) as client:  # type: ignore[arg-type]
        first = str(await asyncio.wait_for(viewer.recv(), 5))
        assert ON_SALE_NOW[language] in first
        assert first.strip() == (await client.get(f"/sales/{sale.sku}/banner{query}", headers=headers)).text.strip()
