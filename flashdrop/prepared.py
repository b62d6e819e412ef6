"""Answers whose bytes are made once and sent many times.

`Prepared` is a body with its gzip form, its ETag and, for the lean door, its ASGI messages. `PreparedResponse` is how
a view returns one: to the lean door it is a pair of ready messages, to everything else an ordinary `HttpResponse`.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import cached_property
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from flashdrop.headers import SECURITY_HEADERS

Headers = list[tuple[bytes, bytes]]
SECURITY_HEADERS_RAW: Headers = [(n.lower().encode(), v.encode()) for n, v in SECURITY_HEADERS.items()]
# Below this size gzip's own header eats the gain.
GZIP_FROM_BYTES = 600


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
    """

    def __init__(self, body: bytes, content_type: str, cache_control: str, validator: str | None = None) -> None:
        self.body = body
        self.content_type = content_type
        self.cache_control = cache_control
        weak = "" if validator is None else "W/"
        # blake2b is here for its speed; nothing secret hangs on it.
        digest = hashlib.blake2b(body if validator is None else validator.encode(), digest_size=12).hexdigest()
        self.etag = f'{weak}"{digest}"'
        self.gzip_etag = f'{weak}"{digest}-gz"' if validator is None else self.etag

    @cached_property
    def gzipped(self) -> bytes | None:
        """The gzip form, or None where it would not be smaller."""
        if len(self.body) < GZIP_FROM_BYTES:
            return None
        return gzip.compress(self.body, compresslevel=6, mtime=0)

    def response(self, request: HttpRequest) -> PreparedResponse:
        """The form that `request` accepts: 304, gzip or plain."""
        headers = request.headers
        match = headers.get("If-None-Match")
        if match is not None and self.matches(match):
            return self._not_modified
        if takes_gzip(headers.get("Accept-Encoding", "")) and self.gzipped is not None:
            return self._gzip_form
        return self._plain_form

    def matches(self, if_none_match: str) -> bool:
        """Whether an `If-None-Match` names this content (weak comparison, RFC 9110 section 13.1.2)."""
        if if_none_match.strip() == "*":
            return True
        candidates = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
        return bool(candidates & {self.etag.removeprefix("W/"), self.gzip_etag.removeprefix("W/")})

    @cached_property
    def _form_headers(self) -> dict[str, str]:
        return {"Cache-Control": self.cache_control, "Vary": "Accept-Encoding", "ETag": self.etag}

    @property
    def _plain_form(self) -> PreparedResponse:
        return PreparedResponse(self, "plain")

    @property
    def _gzip_form(self) -> PreparedResponse:
        return PreparedResponse(self, "gzip")

    @property
    def _not_modified(self) -> PreparedResponse:
        return PreparedResponse(self, "not_modified")

    def parts(self, form: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one form."""
        headers = dict(self._form_headers)
        if form == "not_modified":
            return 304, headers, b""
        headers["Content-Type"] = self.content_type
        body = self.body
        if form == "gzip":
            assert self.gzipped is not None
            body = self.gzipped
            headers["Content-Encoding"] = "gzip"
            headers["ETag"] = self.gzip_etag
        headers["Content-Length"] = str(len(body))
        return 200, headers, body

    @cached_property
    def _messages(self) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
        return {}

    def messages(self, form: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The two ASGI messages of one form, made on first use."""
        made = self._messages.get(form)
        if made is None:
            status, headers, body = self.parts(form)
            raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
            start = {"type": "http.response.start", "status": status, "headers": raw + SECURITY_HEADERS_RAW}
            made = (start, {"type": "http.response.body", "body": body})
            self._messages[form] = made
        return made


class PreparedResponse(HttpResponse):
    """An `HttpResponse` that is only built out when somebody other than the lean door looks inside."""

    status_code: int

    def __init__(self, prepared: Prepared, form: str) -> None:
        # Not calling the base is the point: its headers and cookies are made in __getattr__, when asked for.
        self.prepared = prepared
        self.form = form
        self.status_code = 304 if form == "not_modified" else 200

    def messages(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The ASGI messages for the lean door."""
        return self.prepared.messages(self.form)

    def __getattr__(self, name: str) -> Any:
        """Reached only for what is not there yet: build the ordinary response, once."""
        if "_resource_closers" in self.__dict__ or name.startswith("__"):
            raise AttributeError(name)
        status, headers, body = self.prepared.parts(self.form)
        HttpResponseBase.__init__(self, status=status, headers=headers)
        self.content = body
        return getattr(self, name)
