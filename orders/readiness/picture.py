"""The product's picture: is it there, is it a picture, is it small enough for a phone?"""

from __future__ import annotations

import mimetypes
import ssl
from hashlib import sha256

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.cache import cache
from django.core.exceptions import SuspiciousOperation

from flashdrop.public_fetch import Judge, NotFetched, NotPublic, TooLarge, fetch, is_public
from orders.readiness.line import Line, amber, green, red

NAME = "Picture"
HEAVY_BYTES = 500_000
# The page looks again every ten seconds; somebody else's server is not asked that often.
REMEMBERED_SECONDS = 30
CHANGE = "Choose another address in Settings."


def check_picture(address: str, judge: Judge = is_public, context: ssl.SSLContext | None = None) -> Line:
    """One line. An https address is fetched, a path on this site is looked up; blocks for two seconds at most."""
    if not address:
        return amber(NAME, "There is none: the page shows the number of units instead.", "Add one in Settings.")
    if address.startswith("/"):
        return _own(address)
    key = "picture:" + sha256(address.encode()).hexdigest()
    known = cache.get(key)
    if isinstance(known, Line):
        return known
    line = _elsewhere(address, judge, context)
    cache.set(key, line, REMEMBERED_SECONDS)
    return line


def _own(address: str) -> Line:
    path = address.partition("?")[0].partition("#")[0]
    if not path.startswith(settings.STATIC_URL):
        return amber(
            NAME,
            f"{address} is on this site, but not among the shop's own files, so it can't be checked from here.",
            "See below that it is the right picture.",
            picture=address,
        )
    name = path.removeprefix(settings.STATIC_URL)
    try:
        size = staticfiles_storage.size(name) if staticfiles_storage.exists(name) else None
    except (OSError, ValueError, SuspiciousOperation):  # a path that leads out of the folder
        size = None
    if size is None:
        return red(NAME, f"There is no {address} on this site: shoppers see a gap.", CHANGE)
    return _judged(address, mimetypes.guess_type(name)[0] or "", size)


def _elsewhere(address: str, judge: Judge, context: ssl.SSLContext | None) -> Line:
    try:
        found = fetch(address, judge, context)
    except NotPublic as error:
        return red(NAME, f"Not looked at: {error}. Shoppers can't reach it.", CHANGE)
    except TooLarge as error:
        return red(NAME, f"Too large: {error}. Phones load it for many seconds.", "Use a smaller one, below 0.5 MB.")
    except NotFetched as error:
        return red(NAME, f"{address}: {error}. Shoppers see a gap.", CHANGE)
    return _judged(address, found.content_type, found.size)


def _judged(address: str, content_type: str, size: int) -> Line:
    if not content_type.startswith("image/"):
        return red(NAME, f"{address} is no picture but {content_type or 'something else'}.", CHANGE)
    if not size:
        return red(NAME, f"{address} is empty.", CHANGE)
    found = f"It is there: {content_type}, {max(1, round(size / 1000)):,} KB."
    if size > HEAVY_BYTES:
        return amber(NAME, found, "Phones load it slowly: use one below 500 KB.", picture=address)
    return green(NAME, found, picture=address)
