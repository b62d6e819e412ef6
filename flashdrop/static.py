"""Static files at the lean door: each collected file is read once, and then served from memory.

WhiteNoise collects, hashes and serves them everywhere else; behind an ASGI server it costs a thread hop for each
request, and a stampede begins with everybody fetching the same few files.
"""

from __future__ import annotations

import mimetypes
import re
from functools import cache, lru_cache
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from flashdrop.api import page
from flashdrop.errors import handler404
from flashdrop.prepared import Prepared

# The shop has a dozen small files, the admin some two hundred.
FILES_KEPT = 512
HASHED = re.compile(r"\.[0-9a-f]{12}\.\w+$")
FOREVER = "max-age=315360000, public, immutable"
A_MINUTE = "max-age=60, public"


@page("GET", at_once=True)
async def static_file(request: HttpRequest, path: str) -> HttpResponseBase:
    """A collected file; those whose name carries their hash may be kept forever."""
    return _read(path).response(request) if path in _collected() else handler404(request)


@cache
def _collected() -> frozenset[str]:
    """The names of all collected files: what is not among them does not exist, whatever the path says."""
    root = Path(settings.STATIC_ROOT)
    return frozenset(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())


@lru_cache(FILES_KEPT)
def _read(path: str) -> Prepared:
    content_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
    if content_type.startswith("text/") or content_type in ("application/javascript", "image/svg+xml"):
        content_type += "; charset=utf-8"
    body = (Path(settings.STATIC_ROOT) / path).read_bytes()
    return Prepared(body, content_type, FOREVER if HASHED.search(path) else A_MINUTE)
