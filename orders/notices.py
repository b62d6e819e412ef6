"""What came of a try, told once: its words, whether it still holds, and how it gets past a plain form's redirect.

A redirect's address can be reloaded, kept and shared, so it tells nothing: a signed cookie does, which only the panel's
page is sent, and which that page takes away. What holds no longer by the time the page is made isn't told.
"""

from __future__ import annotations

import binascii
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

import orjson
from django.core.signing import BadSignature, b64_decode, b64_encode
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.translation import gettext_noop as _
from django.utils.translation import ngettext

from flashdrop.envelope import from_ms, to_ms
from flashdrop.languages import locale_of, translated
from flashdrop.signing import QuickSigner
from orders.answers import ANSWERS, SIGN_IN_FIRST
from orders.history import History
from orders.identity import Shopper
from orders.placing import NOT_COMPARED, Refusal, Refused, Shown
from orders.reserving import RESERVE_SECONDS
from sales.money import format_minor
from sales.published import PublishedSale
from sales.showing import Phase, Showing

COOKIE = "flashdrop_notice"
# A redirect is followed at once; whoever comes later has come to look.
COOKIE_MAX_AGE_SECONDS = 60
SIGN_IN = "SIGN_IN_FIRST"
INVALID_NAME = "INVALID_NAME"
INVALID_QUANTITY = "INVALID_QUANTITY"
OWN_WORDS = {SIGN_IN: SIGN_IN_FIRST.message, INVALID_QUANTITY: _("Please choose how many.")}
CODES = frozenset({SIGN_IN, INVALID_NAME, INVALID_QUANTITY, *(refusal.value for refusal in Refusal)})
HOLDS_IN = {
    Refusal.NOT_STARTED.value: Phase.UPCOMING,
    Refusal.PAUSED.value: Phase.PAUSED,
    Refusal.ENDED.value: Phase.ENDED,
}


class Notice(NamedTuple):
    """What came of one try.

    Args:
        code: a refusal's, or one of this module's.
        quantity: how many were asked for.
        available: units that were left, where those were too few.
        price_minor, currency: what the shopper was shown before, where the price had changed.
        message: words of the code's own set, not translated yet, in place of the code's usual ones.
        at_ms: when it was told, by the gate's clock.
    """

    code: str
    quantity: int = 1
    available: int = 0
    price_minor: int | None = None
    currency: str | None = None
    message: str = ""
    at_ms: int = 0


def notice_of(refused: Refused, quantity: int, shown: Shown, at: datetime) -> Notice:
    """What a refusal tells somebody who asked for `quantity` at the price that was `shown`."""
    if refused.refusal is not Refusal.PRICE_CHANGED or shown.price_minor is None or shown.price_minor < 0:
        shown = NOT_COMPARED
    return Notice(refused.refusal.value, quantity, refused.available, *shown, at_ms=to_ms(at))


def words(notice: Notice, sale: PublishedSale, language: str, allowed: int = 0, *, has_bought: bool = False) -> str:
    """The notice as people read it, about `sale` as it is shown beside it.

    `allowed`: units this shopper may still buy, 0 where that isn't for this browser to know.
    """
    if notice.message:
        return translated(notice.message, language)
    if notice.code == Refusal.OUT_OF_STOCK.value:
        return too_few_left(notice.available, language)
    if notice.code == Refusal.PRICE_CHANGED.value:
        return _price_words(notice, sale, language)
    if notice.code == Refusal.LIMIT_EXCEEDED.value and allowed:
        with translation.override(language):
            if has_bought:
                text = ngettext("You may buy %(allowed)s more here.", "You may buy %(allowed)s more here.", allowed)
            else:
                text = ngettext(
                    "One shopper may buy only %(allowed)s here.", "One shopper may buy up to %(allowed)s here.", allowed
                )
        return text % {"allowed": allowed}
    return translated(OWN_WORDS.get(notice.code) or ANSWERS[Refusal(notice.code)].message, language)


def too_few_left(available: int, language: str = "en") -> str:
    """That there are not as many left as somebody asked for, and how many there are."""
    if available <= 0:
        return translated(ANSWERS[Refusal.OUT_OF_STOCK].message, language)
    if available == 2:
        return translated(_("Only 2 are left. Choose 1 or 2."), language)
    with translation.override(language):
        text = ngettext(
            "Only %(available)s is left. Choose 1.",
            "Only %(available)s are left. Choose 1 to %(available)s.",
            available,
        )
    return text % {"available": available}


def _price_words(notice: Notice, sale: PublishedSale, language: str) -> str:
    locale = locale_of(language)
    new = format_minor(sale.price_minor, sale.currency, locale)
    if notice.price_minor is None or notice.currency is None:
        return translated(_("The price is %(new)s. Press the button again to buy at it."), language) % {"new": new}
    old = format_minor(notice.price_minor, notice.currency, locale)
    message = _(
        "The price has changed: it was %(old)s and is %(new)s now. Press the button again to buy at the new one."
    )
    return translated(message, language) % {"old": old, "new": new}


def still_holds(
    notice: Notice, showing: Showing, shopper: Shopper | None, history: History | None, allowed: int = 0
) -> bool:
    """Whether what was told a moment ago is still so, by what the page shows beside it.

    `history`: the shopper's orders, None where nobody is signed in; `allowed` as for `words`.
    """
    code = notice.code
    if shopper is None or history is None:
        return code in (SIGN_IN, INVALID_NAME, Refusal.NAME_NEEDED.value)
    sale = showing.sale
    if code in (SIGN_IN, INVALID_NAME):
        return False
    if code == Refusal.NAME_NEEDED.value:
        return shopper.is_guest and not sale.guests_allowed
    if code in HOLDS_IN:
        return showing.phase is HOLDS_IN[code]
    if code == Refusal.OUT_OF_STOCK.value:
        return showing.available < notice.quantity
    if code == Refusal.LIMIT_EXCEEDED.value:
        return allowed < notice.quantity
    if code == Refusal.PRICE_CHANGED.value:
        return (notice.price_minor, notice.currency) != (sale.price_minor, sale.currency)
    if code in (Refusal.NOT_READY.value, Refusal.OVERLOADED.value):
        # Its answer was lost, not the try: the order beside it is what came of it.
        since = from_ms(notice.at_ms) - timedelta(seconds=2 * RESERVE_SECONDS)
        return not any(order.units and order.reserved_at >= since for order in history.visible)
    return True


def as_it_is(notice: Notice, showing: Showing) -> Notice:
    """The notice with the figures that are shown beside it."""
    return notice._replace(available=showing.available)


def remember(response: HttpResponse, sku: str, path: str, notice: Notice, is_secure: bool) -> None:
    """Let the page at `path` tell it, once."""
    value = _signer().sign(b64_encode(orjson.dumps([sku, *notice])).decode())
    response.set_cookie(
        COOKIE,
        value,
        max_age=COOKIE_MAX_AGE_SECONDS,
        path=path,
        httponly=True,
        samesite="Lax",
        secure=is_secure,
    )


def forget(response: HttpResponse, path: str) -> None:
    """Take away what `remember` left for `path`."""
    response.delete_cookie(COOKIE, path=path, samesite="Lax")


def remembered(request: HttpRequest, sku: str) -> Notice | None:
    """What `remember` left for this sale's page; None for anything that we did not leave, or don't know."""
    value = request.COOKIES.get(COOKIE)
    if not value:
        return None
    try:
        about, *fields = orjson.loads(b64_decode(_signer().unsign(value).encode()))
        notice = Notice(*fields)
        return notice if about == sku and notice.code in CODES else None
    except (BadSignature, binascii.Error, ValueError, TypeError):
        return None


@cache
def _signer() -> QuickSigner:
    return QuickSigner(salt="flashdrop.notice")
