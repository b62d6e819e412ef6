"""Signatures of the hot path."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from django.core.signing import Signer, b64_encode


class QuickSigner(Signer):
    """Django's `Signer` with keyed BLAKE2b (RFC 7693) in place of HMAC-SHA256, at a tenth of the cost.

    HMAC through OpenSSL 3 takes longer than parsing the request; a cookie and a receipt link need one each.
    """

    def signature(self, value: str | bytes, key: str | bytes | None = None) -> str:
        derived = _derived_key(self.salt, self.key if key is None else key)
        message = value if isinstance(value, bytes) else value.encode()
        return b64_encode(hashlib.blake2b(message, key=derived, digest_size=32).digest()).decode()


@lru_cache(64)
def _derived_key(salt: str, key: str | bytes) -> bytes:
    """A key of its own for each purpose, so that one kind of token never passes for another."""
    secret = key if isinstance(key, bytes) else key.encode()
    return hashlib.sha256(f"{salt}signer".encode() + secret).digest()
