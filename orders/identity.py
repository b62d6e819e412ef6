"""Who a shopper is: one signed cookie, or the header of an authenticating proxy.

The cookie holds the shopper id (a keyed hash of the normalised identifier), the name as it was given, and a random
browser-session id. The limit per shopper counts by shopper id; what an order contains is shown by session id.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from dataclasses import dataclass
from functools import cache

import orjson
from django.core.signing import BadSignature, b64_decode, b64_encode
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_noop as _

from flashdrop.config import config
from flashdrop.headers import header_text
from flashdrop.signing import QuickSigner
from orders.names import compared, shown

# With the prefix a browser takes it from this very host and by TLS only: no neighbour under the same domain plants one.
COOKIE = "__Host-flashdrop_shopper" if config.https_only else "flashdrop_shopper"
COOKIE_MAX_AGE_SECONDS = 30 * 24 * 3600
TRUSTED_HEADER = "X-User-Id"
MAX_IDENTIFIER_LENGTH = 255
GUEST_NAME = _("Guest")


class InvalidIdentifier(ValueError):
    """The identifier can't be used; the text says why, for the person who typed it."""


@dataclass(frozen=True, slots=True)
class Shopper:
    """Somebody who may buy.

    `is_vouched_for` is true when a proxy we trust says who this is: then the person, not the browser, owns the orders.
    """

    id: str
    name: str
    session_id: str
    is_guest: bool = False
    is_vouched_for: bool = False


def sign_in(identifier: object, session_id: str | None = None) -> Shopper:
    """A shopper, in the browser session that is given, else in a new one.

    Raises:
        InvalidIdentifier: empty, too long, or with characters that can't be shown.
    """
    name = check_identifier(identifier)
    return Shopper(shopper_id(name), name, session_id or secrets.token_urlsafe(12))


def sign_in_guest() -> Shopper:
    """A shopper without a name; as many as there are browsers."""
    return Shopper(secrets.token_hex(12), GUEST_NAME, secrets.token_urlsafe(12), is_guest=True)


def check_identifier(identifier: object) -> str:
    """The identifier as it is shown: without white space around it, and without what can't be seen.

    Raises:
        InvalidIdentifier: see `sign_in`.
    """
    if not isinstance(identifier, str):
        raise InvalidIdentifier(_("Give a name, an e-mail address or a member number as text."))
    typed = identifier.strip()
    if not typed:
        raise InvalidIdentifier(_("Please enter a name, an e-mail address or a member number."))
    if len(typed) > MAX_IDENTIFIER_LENGTH:
        raise InvalidIdentifier(_("Please use at most 255 characters."))
    # Control, surrogate, private-use and unassigned characters.
    if {unicodedata.category(char) for char in typed} & {"Cc", "Cs", "Co", "Cn"}:
        raise InvalidIdentifier(_("Please leave out control characters."))
    if not compared(typed):
        raise InvalidIdentifier(_("Please enter something that can be seen."))
    return shown(typed)


def shopper_id(identifier: str) -> str:
    """The same id for every spelling (`orders/names.py`). Keyed, so that nobody else can compute it."""
    return hashlib.blake2b(compared(identifier).encode(), key=_id_key(), digest_size=12).hexdigest()


def cookie_value(shopper: Shopper) -> str:
    """The signed cookie's value."""
    fields = [shopper.id, shopper.name, shopper.session_id, int(shopper.is_guest)]
    return _signer().sign(b64_encode(orjson.dumps(fields)).decode())


def read_cookie(value: str) -> Shopper | None:
    """The shopper of a cookie we signed; None for any other text."""
    try:
        fields = orjson.loads(b64_decode(_signer().unsign(value).encode()))
        return Shopper(fields[0], fields[1], fields[2], bool(fields[3]))
    except (BadSignature, ValueError, IndexError, TypeError):
        return None


def shopper_of(request: HttpRequest) -> Shopper | None:
    """Who is asking, or None. Nothing unsigned is believed, but a header that this deployment was told to trust."""
    if config.trust_user_id_header:
        claimed = request.headers.get(TRUSTED_HEADER)
        if claimed is not None:
            try:
                name = check_identifier(header_text(claimed))
            except InvalidIdentifier:
                return None
            return Shopper(shopper_id(name), name, "", is_vouched_for=True)
    value = request.COOKIES.get(COOKIE)
    return read_cookie(value) if value else None


def browser_session(request: HttpRequest) -> str | None:
    """The session of this browser, whoever is signed in; None without a cookie of ours."""
    known = read_cookie(request.COOKIES.get(COOKIE, ""))
    return known.session_id if known else None


def remember(response: HttpResponse, shopper: Shopper, is_secure: bool) -> None:
    """Set the signed cookie."""
    response.set_cookie(
        COOKIE,
        cookie_value(shopper),
        max_age=COOKIE_MAX_AGE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=is_secure,
    )


def forget(response: HttpResponse) -> None:
    """Clear the cookie."""
    response.delete_cookie(COOKIE, samesite="Lax")


@cache
def _signer() -> QuickSigner:
    return QuickSigner(salt="flashdrop.shopper")


@cache
def _id_key() -> bytes:
    key = config.shopper_id_key or config.secret_key
    return hashlib.sha256(b"flashdrop.shopper-id" + key.encode()).digest()
