"""Static files that are several in the source and one on the wire.

A phone far away pays for each file with a round trip and with the answer's headers; whoever changes the code wants one
behaviour a file. So pages name a bundle, and this finder makes it, wherever static files are looked for. What is
vendored stays apart: it changes less often, and browsers keep it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage
from django.utils._os import safe_join

from flashdrop.config import BASE_DIR, config

SOURCE = BASE_DIR / "static"
# In this order: scripts may use what an earlier one has put there, and rules give way to later ones.
BUNDLES = {
    "css/shop.css": ("css/tokens.css", "css/base.css", "css/sale.css", "css/panel.css"),
    "js/shop.js": (
        "js/wake.js",
        "js/clock.js",
        "js/socket.js",
        "js/moments.js",
        "js/countdown.js",
        "js/offer.js",
        "js/panel.js",
        "js/buy.js",
        "js/tabs.js",
        "js/connection.js",
    ),
}


class BundleFinder(BaseFinder):
    """Finds the bundles, made anew each time, in a folder of their own."""

    def __init__(self) -> None:
        self.storage = FileSystemStorage(location=config.data_dir / "bundles")

    def check(self, **kwargs: Any) -> list[Any]:
        return []

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        if path not in BUNDLES:
            return []
        found = self._write(path)
        return [found] if find_all else found

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, FileSystemStorage]]:
        for path in BUNDLES:
            self._write(path)
            yield path, self.storage

    def _write(self, path: str) -> str:
        file = Path(safe_join(self.storage.location, path))
        file.parent.mkdir(parents=True, exist_ok=True)
        # A statement that a file leaves open must not reach into the next one.
        between = ";\n" if path.endswith(".js") else "\n"
        file.write_text(between.join((SOURCE / part).read_text(encoding="utf-8") for part in BUNDLES[path]), "utf-8")
        return str(file)
