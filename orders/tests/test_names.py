"""Names that look alike are one shopper: over all of Unicode, and against tables that are not Python's."""

# ruff: noqa: RUF001 (names of many scripts)
from __future__ import annotations

import hashlib
import secrets
import sys
import unicodedata
from collections.abc import Iterator

import httpx
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Publish
from flashdrop.config import config
from orders.identity import InvalidIdentifier, check_identifier, shopper_id, sign_in
from orders.names import BLANK, DEFAULT_IGNORABLE, JOINERS, compared, shown

EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def spellings(text: str) -> Iterator[str]:
    """What has to be the same name."""
    yield text.casefold()
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        yield unicodedata.normalize(form, text)
    # Some capitals fold to another letter: those of the Turkish dotless i.
    if text.upper().casefold() == text.casefold():
        yield text.upper()


def changing() -> list[str]:
    """Every character that has another spelling."""
    return [char for char in EVERY_CHARACTER if any(spelling != char for spelling in spellings(char))]


def test_every_character_is_the_same_in_each_of_its_spellings() -> None:
    found = changing()
    assert len(found) > 15_000  # all capitals, all composed letters, all of Hangul
    assert [char for char in found if any(compared(other) != compared(char) for other in spellings(char))] == []


COMBINING = [char for char in EVERY_CHARACTER if unicodedata.combining(char)]
TURNING = [char for char in changing() if not 0xAC00 <= ord(char) <= 0xD7A3]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(TURNING) | st.sampled_from(COMBINING) | st.sampled_from("aΙ \u0345\u034f\u1160")))
def test_so_is_every_text_of_them(characters: list[str]) -> None:
    # In canonical order: folding one that isn't moves an iota subscript to another place.
    text = unicodedata.normalize("NFD", "".join(characters))
    assert compared("".join(characters)) == compared(text)
    assert {compared(spelling) for spelling in spellings(text)} <= {compared(text)}
    assert compared(compared(text)) == compared(text)


def test_a_whole_word_in_capitals_is_the_same_name() -> None:
    for word in ("μαΐου", "ǰ", "ŉ", "ᾳ", "ﬃ", "ΰ", "ὖ", "straße", "ﬓ"):
        assert shopper_id(word) == shopper_id(word.upper()), word


def test_the_table_of_what_is_ignorable_is_unicodes() -> None:
    ours = set(regex.findall(f"[{DEFAULT_IGNORABLE}]", "".join(EVERY_CHARACTER)))
    theirs = set(regex.findall(r"\p{Default_Ignorable_Code_Point}", "".join(EVERY_CHARACTER)))
    assert ours == theirs
    assert set(BIDI_CONTROLS) == set(regex.findall(r"\p{Bidi_Control}", "".join(EVERY_CHARACTER))) <= ours


def test_what_cannot_be_seen_makes_no_other_name() -> None:
    invisible = regex.findall(f"[{DEFAULT_IGNORABLE}{BLANK}]", "".join(EVERY_CHARACTER))
    assert [char for char in invisible if compared(f"a{char}lice{char}") != "alice" or compared(char)] == []


@pytest.mark.parametrize(
    "name", ["\u3164", "\u115f", "\u1160", "\uffa0", "\u2800", "\ufe0f", "\u3164 \u200b\u2066", "\u0600"]
)
def test_a_name_of_which_nothing_is_seen_is_refused(name: str) -> None:
    with pytest.raises(InvalidIdentifier, match="can be seen"):
        sign_in(name)


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("Ada\u2069\u202e has not", "Ada has not"),
        (f"A{BIDI_CONTROLS}da", "Ada"),
        ("\u200b Ada \ufe0f", "Ada"),
        ("Ada\u3164\u2800", "Ada"),
        ("A\u200dda\u200c", "Ada"),
        ("علی\u200cرضا", "علی\u200cرضا"),
        ("علی\u200c", "علی"),
        ("क्\u200dष", "क्\u200dष"),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
        ("علی\u200c\u200c\u200dرضا", "علیرضا"),
        ("山田\u3000太郎", "山田\u3000太郎"),
    ],
)
def test_a_name_is_shown_without_what_cannot_be_seen_and_with_the_joiners_it_needs(typed: str, seen: str) -> None:
    assert check_identifier(typed) == seen
    assert shopper_id(typed) == shopper_id(seen)


def test_nothing_that_is_shown_turns_a_sentence_or_is_invisible() -> None:
    text = "".join(f"a{char}" for char in EVERY_CHARACTER)
    assert regex.findall(f"(?![{JOINERS}])[{DEFAULT_IGNORABLE}{BLANK}]", shown(text)) == []
    assert shown(shown(text)) == shown(text)


def test_ids_of_names_that_can_be_seen_have_stayed() -> None:
    """As they were computed before: an id that changes lets its shopper buy once more."""

    def former(name: str) -> str:
        visible = "".join(char for char in name if unicodedata.category(char) != "Cf")
        return " ".join(unicodedata.normalize("NFKC", visible).casefold().split())

    unseen = set(regex.findall(f"[{DEFAULT_IGNORABLE}{BLANK}]", "".join(EVERY_CHARACTER)))
    assert [char for char in EVERY_CHARACTER if char not in unseen and compared(char) != former(char)] == []
    key = hashlib.sha256(b"flashdrop.shopper-id" + (config.shopper_id_key or config.secret_key).encode()).digest()
    for name in ("Alice B", "Élodie Müller", "山田　太郎", "μαΐου", "ada+1@example.com", "Дмитрий", "علی\u200cرضا"):
        digest = hashlib.blake2b(former(name).encode(), key=key, digest_size=12)
        assert shopper_id(name) == digest.hexdigest()


async def test_an_invisible_character_buys_nothing_more(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, name = await publish(limit_per_shopper=1), f"once-{secrets.token_hex(4)}"
    answers = []
    for spelling in (name, f"{name}\ufe0f", f"\u3164{name}", name.upper(), f"{name}\u2069\u202e"):
        answer = await client.post("/api/auth/login", json={"identifier": spelling})
        assert not set(answer.json()["data"]["identifier"]) & set(BIDI_CONTROLS)
        answers.append((await client.post("/api/orders", json={"sku": sale.sku})).status_code)
    assert answers == [201, 403, 403, 403, 403]
