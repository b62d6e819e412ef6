"""Receipt links: whoever holds one may read the order, and nobody can guess one."""

from __future__ import annotations

from functools import cache

from django.core.signing import BadSignature

from flashdrop.signing import QuickSigner


def receipt_path(order_id: str) -> str:
    """The receipt's address on this site."""
    return f"/orders/{receipt_token(order_id)}/"


def receipt_token(order_id: str) -> str:
    """The order id with its signature."""
    return _signer().sign(order_id)


def order_id_of(token: str) -> str | None:
    """The order a token was made for; None for a token we did not make."""
    try:
        return _signer().unsign(token)
    except BadSignature:
        return None


@cache
def _signer() -> QuickSigner:
    return QuickSigner(salt="flashdrop.receipt", sep=".")
