"""Answers whose bytes are made once and sent many times.

`Prepared` is a body with its gzip form, its ETag, and a ready head for each form (`flashdrop/responses.py`).
"""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import lru_cache

from django.http import HttpRequest
from django.utils.functional import cached_property

from flashdrop.responses import Head, LeanResponse

# Below this size gzip's own header eats the gain.
GZIP_FROM_BYTES = 600
# Browsers send a handful of different ones.
ENCODINGS_REMEMBERED = 64


@lru_cache(ENCODINGS_REMEMBERED)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether `Accept-Encoding` names gzip with a weight above 0."""
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight) is None
    return False


class Prepared:
    """A 200 answer, rendered once, in every form a client may ask for.

    Args:
        body: the bytes.
        content_type: the full `Content-Type`.
        cache_control: the full `Cache-Control`.
        validator: what the ETag stands for, when not the bytes themselves (a body that carries the time of day): the
            ETag is then weak.
        vary: request headers, beside Accept-Encoding, by which another form would have been given.
    """

    def __init__(
        self, body: bytes, content_type: str, cache_control: str, validator: bytes | None = None, vary: str = ""
    ) -> None:
        self.body = body
        self.content_type = content_type
        self.cache_control = cache_control
        self.vary = f"Accept-Encoding, {vary}" if vary else "Accept-Encoding"
        weak = "" if validator is None else "W/"
        # blake2b is here for its speed; nothing secret hangs on it.
        digest = hashlib.blake2b(body if validator is None else validator, digest_size=12).hexdigest()
        self.etag = f'{weak}"{digest}"'
        self.gzip_etag = f'{weak}"{digest}-gz"' if validator is None else self.etag

    @cached_property
    def gzipped(self) -> bytes | None:
        """The gzip form, or None where it would not be smaller."""
        if len(self.body) < GZIP_FROM_BYTES:
            return None
        return gzip.compress(self.body, compresslevel=6, mtime=0)

    def response(self, request: HttpRequest) -> LeanResponse:
        """The form that `request` accepts: 304, gzip or plain."""
        headers = request.headers
        match = headers.get("If-None-Match")
        if match is not None and self.matches(match):
            return LeanResponse(self._not_modified_head, b"")
        accepted = headers.get("Accept-Encoding")
        if accepted is not None and self.gzipped is not None and takes_gzip(accepted):
            return LeanResponse(self._gzip_head, self.gzipped)
        return LeanResponse(self._plain_head, self.body)

    def matches(self, if_none_match: str) -> bool:
        """Whether an `If-None-Match` names this content (weak comparison, RFC 9110 section 13.1.2)."""
        if if_none_match.strip() == "*":
            return True
        candidates = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
        return bool(candidates & {self.etag.removeprefix("W/"), self.gzip_etag.removeprefix("W/")})

    @cached_property
    def _plain_head(self) -> Head:
        return Head(200, self._headers_with({"Content-Type": self.content_type}))

    @cached_property
    def _gzip_head(self) -> Head:
        changed = {"Content-Type": self.content_type, "Content-Encoding": "gzip", "ETag": self.gzip_etag}
        return Head(200, self._headers_with(changed))

    @cached_property
    def _not_modified_head(self) -> Head:
        return Head(304, self._headers_with({}), has_body=False)

    def _headers_with(self, more: dict[str, str]) -> dict[str, str]:
        return {"Cache-Control": self.cache_control, "Vary": self.vary, "ETag": self.etag} | more
