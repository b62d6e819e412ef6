"""Who a shopper is: one signed cookie, or the header of an authenticating proxy.

The cookie holds the shopper id (a keyed hash of the normalised identifier), the name as it is shown, and a random
browser-session id with the time that it began. The limit per shopper counts by shopper id; what an order contains is
shown by session id. A session ends by its age, or by signing out (`orders/sessions.py`), for every copy of its cookie.
"""

from __future__ import annotations

import hashlib
import secrets
import time
import unicodedata
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache

import orjson
from django.core.signing import BadSignature, b64_decode, b64_encode
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_noop as _

from flashdrop.config import config
from flashdrop.headers import header_text
from flashdrop.signing import QuickSigner
from orders import sessions
from orders.names import compared, shown
from orders.order import Order
from orders.sessions import SESSION_SECONDS, has_ended

# With the prefix a browser takes it from this very host and by TLS only: no neighbour under the same domain plants one.
PREFIX = "__Host-" if config.https_only else ""
COOKIE = f"{PREFIX}flashdrop_shopper"
# Which sessions this browser had: so that whoever comes back is told why it shows their orders no longer.
LEFT_COOKIE = f"{PREFIX}flashdrop_left"
MOST_LEFT = 4
# Cookies of before carry no time. All of them count from the day that times came in, so that the last one ends, too.
UNDATED_BEGAN_AT = int(datetime(2026, 11, 28, tzinfo=UTC).timestamp())
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
    session_began_at: int = 0
    """Seconds since the epoch."""


def sign_in(identifier: object, present: Shopper | None = None) -> Shopper:
    """A shopper, in the browser session of `present` if that is the same one, else in a new session.

    Nobody goes on in a session that another shopper began: its cookie may have been kept by them.

    Raises:
        InvalidIdentifier: empty, too long, or with characters that can't be shown.
    """
    name = check_identifier(identifier)
    known_as = shopper_id(name)
    if present is not None and present.id == known_as:
        return replace(present, name=name)
    return Shopper(known_as, name, _new_session(), session_began_at=_now())


def sign_in_guest() -> Shopper:
    """A shopper without a name; as many as there are browsers."""
    return Shopper(secrets.token_hex(12), GUEST_NAME, _new_session(), is_guest=True, session_began_at=_now())


def _new_session() -> str:
    return secrets.token_urlsafe(12)


def _now() -> int:
    return int(time.time())


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
    fields = [shopper.id, shopper.name, shopper.session_id, int(shopper.is_guest), shopper.session_began_at]
    return _signer().sign(b64_encode(orjson.dumps(fields)).decode())


def read_cookie(value: str) -> Shopper | None:
    """The shopper of a cookie we signed and whose age is within a session's; None for any other text."""
    try:
        fields = orjson.loads(b64_decode(_signer().unsign(value).encode()))
        began_at = fields[4] if len(fields) > 4 else UNDATED_BEGAN_AT
        if began_at <= time.time() - SESSION_SECONDS:
            return None
        return Shopper(fields[0], fields[1], fields[2], bool(fields[3]), session_began_at=began_at)
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
    return in_this_browser(request)


def in_this_browser(request: HttpRequest) -> Shopper | None:
    """Who is signed in by the cookie; None when its session has ended."""
    found = cookie_holder(request)
    return None if found is None or has_ended(found.session_id) else found


def cookie_holder(request: HttpRequest) -> Shopper | None:
    """Whose cookie this is, even if its session was signed out."""
    value = request.COOKIES.get(COOKIE)
    return read_cookie(value) if value else None


def may_see(shopper: Shopper, order: Order) -> bool:
    """Whether this browser may read the order: it placed it and was not signed out since, or a trusted proxy vouches
    for the person.
    """
    if order.shopper_id != shopper.id:
        return False
    return shopper.is_vouched_for or (order.session_id == shopper.session_id and not order.session_ended)


async def end_session(request: HttpRequest) -> None:
    """Sign out the shopper of this browser, wherever their cookie was copied to. Harmless when nobody is signed in.

    Raises:
        orders.sessions.NotEnded: a store is away.
    """
    found = cookie_holder(request)
    if found is not None:
        await sessions.end(found.id, found.session_id)


def remember(request: HttpRequest, response: HttpResponse, shopper: Shopper) -> None:
    """Set the signed cookie, for as long as its session goes on."""
    former = cookie_holder(request)
    if former is not None and former.session_id != shopper.session_id:
        _note_left(request, response, former)
    seconds = shopper.session_began_at + SESSION_SECONDS - _now()
    _set_cookie(request, response, COOKIE, cookie_value(shopper), seconds)


def forget(request: HttpRequest, response: HttpResponse) -> None:
    """Clear the cookie."""
    former = cookie_holder(request)
    if former is not None:
        _note_left(request, response, former)
    response.delete_cookie(COOKIE, samesite="Lax")


def left_here(request: HttpRequest) -> frozenset[str]:
    """The last sessions of this browser that are over. They open nothing."""
    return frozenset(_left(request))


def _left(request: HttpRequest) -> list[str]:
    try:
        return _left_signer().unsign(request.COOKIES.get(LEFT_COOKIE, "")).split(".")
    except BadSignature:
        return []


def _note_left(request: HttpRequest, response: HttpResponse, former: Shopper) -> None:
    left = [former.session_id, *(one for one in _left(request) if one != former.session_id)][:MOST_LEFT]
    _set_cookie(request, response, LEFT_COOKIE, _left_signer().sign(".".join(left)), SESSION_SECONDS)


def _set_cookie(request: HttpRequest, response: HttpResponse, name: str, value: str, seconds: int) -> None:
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="Lax", secure=request.is_secure())


@cache
def _signer() -> QuickSigner:
    return QuickSigner(salt="flashdrop.shopper")


@cache
def _left_signer() -> QuickSigner:
    return QuickSigner(salt="flashdrop.left")


@cache
def _id_key() -> bytes:
    key = config.shopper_id_key or config.secret_key
    return hashlib.sha256(b"flashdrop.shopper-id" + key.encode()).digest()
