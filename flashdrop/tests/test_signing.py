"""Signatures of the hot path: what was signed is read, and nothing else is."""

from __future__ import annotations

import pytest
from django.core.signing import BadSignature, Signer

from flashdrop.config import config
from flashdrop.signing import QuickSigner

TEXTS = ["", "x", "a:b:c", ":", "é 💥", "x" * 10_000, "\0", "a.b"]


def signer(salt: str = "flashdrop.test", key: str | bytes = "key", fallbacks: tuple[str, ...] = ()) -> QuickSigner:
    return QuickSigner(salt=salt, key=key, fallback_keys=[*fallbacks])


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("sep", [":", "."])
def test_what_was_signed_is_read(text: str, sep: str) -> None:
    one = QuickSigner(salt="flashdrop.test", sep=sep)
    assert one.unsign(one.sign(text)) == text


def test_the_same_text_has_the_same_signature() -> None:
    assert signer().sign("x") == signer().sign("x")
    assert signer().sign("x") != signer().sign("y")


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_was_changed_is_refused(text: str) -> None:
    signed = signer().sign(text)
    for changed in (f"x{signed}", f"{text}x:{signed.rpartition(':')[2]}"):
        with pytest.raises(BadSignature):
            signer().unsign(changed)


def test_a_signature_that_was_changed_anywhere_is_refused() -> None:
    signed = signer().sign("x")
    for place in range(len("x:"), len(signed)):
        other = "A" if signed[place] != "A" else "B"
        with pytest.raises(BadSignature):
            signer().unsign(signed[:place] + other + signed[place + 1 :])


@pytest.mark.parametrize(
    "change", [lambda s: s[:-1], lambda s: s + "A", lambda s: s + "=", lambda s: s + "\n", str.upper]
)
def test_a_signature_of_another_form_is_refused(change: object) -> None:
    assert callable(change)
    with pytest.raises(BadSignature):
        signer().unsign(change(signer().sign("x")))


@pytest.mark.parametrize("text", ["", "x", ":", "x:", ":x", "x:é", "x:💥", "x:\0"])
def test_what_was_never_signed_is_refused(text: str) -> None:
    with pytest.raises(BadSignature):
        signer().unsign(text)


def test_a_token_of_another_purpose_is_refused() -> None:
    with pytest.raises(BadSignature):
        signer("flashdrop.shopper").unsign(signer("flashdrop.receipt").sign("x"))


def test_a_token_under_another_key_is_refused() -> None:
    with pytest.raises(BadSignature):
        signer(key="other").unsign(signer(key="key").sign("x"))


def test_a_token_under_an_older_key_is_read_while_that_is_a_fallback() -> None:
    old = signer(key="old").sign("x")
    assert signer(key="new", fallbacks=("older", "old")).unsign(old) == "x"
    with pytest.raises(BadSignature):
        signer(key="new", fallbacks=("older",)).unsign(old)
    assert signer(key="new", fallbacks=("old",)).sign("x") == signer(key="new").sign("x")


def test_a_key_may_be_bytes() -> None:
    assert signer(key=b"key").sign("x") == signer(key="key").sign("x")


def test_a_signature_is_256_bits_that_need_no_quoting() -> None:
    found = signer().signature("x")
    assert len(found) == 43  # ceil(32 * 4 / 3)
    assert all(char.isalnum() or char in "-_" for char in found) and found.isascii()


def test_it_is_not_djangos_signature() -> None:
    """Cookies of before do not read as ours; who had one signs in again."""
    old = Signer(salt="flashdrop.test", key="key").sign("x")
    with pytest.raises(BadSignature):
        signer().unsign(old)


def test_the_key_is_the_settings() -> None:
    assert QuickSigner(salt="s").sign("x") == QuickSigner(salt="s", key=config.secret_key).sign("x")
