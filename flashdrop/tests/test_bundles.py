"""Bundles: whole, in order, and nothing that a page needs is left out of them."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage

from flashdrop.bundles import BUNDLES, SOURCE
from flashdrop.config import BASE_DIR

PAGES = [*(BASE_DIR / "templates").glob("*.html"), *(BASE_DIR / "templates").glob("[!d]*/*.html")]


def test_a_bundle_holds_its_parts_in_order() -> None:
    for name, parts in BUNDLES.items():
        text = Path(str(finders.find(name))).read_text(encoding="utf-8")
        places = [text.index((SOURCE / part).read_text(encoding="utf-8")) for part in parts]
        assert places == sorted(places)
    assert finders.find("js/no-such-bundle.js") is None


def test_every_file_of_the_shop_floor_is_in_a_bundle_or_named_by_a_page() -> None:
    bundled = {part for parts in BUNDLES.values() for part in parts}
    named = {path for page in PAGES for path in re.findall(r"{% static '([^']+)' %}", page.read_text(encoding="utf-8"))}
    own = {f"{kind}/{file.name}" for kind in ("css", "js") for file in (SOURCE / kind).glob("[!d]*.*")}
    own |= {f"js/{file.name}" for file in (SOURCE / "js").glob("d*.js") if not file.name.startswith("desk")}
    assert own <= bundled | named
    assert named <= {file.relative_to(SOURCE).as_posix() for file in SOURCE.rglob("*.*")} | set(BUNDLES)


async def test_a_bundle_is_served_packed_and_kept_forever(client: httpx.AsyncClient) -> None:
    for name in BUNDLES:
        answer = await client.get(staticfiles_storage.url(name))
        assert answer.status_code == 200
        assert answer.headers["Content-Encoding"] == "gzip"
        assert "immutable" in answer.headers["Cache-Control"]
