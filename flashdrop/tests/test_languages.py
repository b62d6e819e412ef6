"""What the shop floor says in other languages, whole and compiled; and which one a viewer gets."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from babel.messages import mofile, pofile
from babel.messages.catalog import Catalog, Message
from django.conf import settings
from django.test import RequestFactory

from conftest import BASE_DIR
from flashdrop.languages import COOKIE, language_in, language_of, moment_text, supported

TRANSLATED = [code for code, _ in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
LOCALE = BASE_DIR / "flashdrop" / "locale"
# What messages are collected from.
SOURCES = ("flashdrop", "orders", "sales", "templates")
NAMED = re.compile(r"%\(\w+\)[a-z]|%%|%[a-z]")
TAG = re.compile(r"<[^>]*>")


def files(language: str, folder: Path = LOCALE) -> tuple[Path, Path]:
    """The catalogue as people write it, and as it is compiled."""
    home = folder / language / "LC_MESSAGES"
    return home / "django.po", home / "django.mo"


def read(language: str, folder: Path = LOCALE) -> Catalog:
    with files(language, folder)[0].open("rb") as file:
        return pofile.read_po(file)


def messages(catalog: Catalog) -> list[Message]:
    return [message for message in catalog if message.id]


def forms(text: Any) -> tuple[str, ...]:
    """A message's one text, or its texts by number."""
    return (text,) if isinstance(text, str) else tuple(text)


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_message_is_translated_and_none_is_a_guess(language: str) -> None:
    found = messages(read(language))
    assert len(found) > 100
    assert [message.id for message in found if message.fuzzy] == []
    assert [message.id for message in found if not all(forms(message.string))] == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_the_originals_values_and_tags(language: str) -> None:
    for message in messages(read(language)):
        original, translations = forms(message.id)[-1], forms(message.string)
        # The form for every other number names all of them; "two units" need not say the number.
        assert Counter(NAMED.findall(translations[-1])) == Counter(NAMED.findall(original)), original
        for translation in translations:
            assert set(NAMED.findall(translation)) <= set(NAMED.findall(original)), translation
            assert Counter(TAG.findall(translation)) == Counter(TAG.findall(original)), translation


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_language_has_a_text_for_each_of_its_numbers(language: str) -> None:
    catalog = read(language)
    for message in messages(catalog):
        assert not message.pluralizable or len(forms(message.string)) == catalog.num_plurals, message.id


@pytest.mark.parametrize("language", TRANSLATED)
def test_what_is_compiled_is_what_is_written(language: str) -> None:
    written = {(forms(message.id), message.context): forms(message.string) for message in messages(read(language))}
    with files(language)[1].open("rb") as file:
        catalog = mofile.read_mo(file)
    # Babel leaves the contexts of a compiled catalogue as bytes.
    compiled = {
        (forms(message.id), message.context and str(message.context, "utf-8")): forms(message.string)
        for message in messages(catalog)
    }
    assert compiled == written


def test_no_message_waits_to_be_collected(tmp_path: Path) -> None:
    """`make messages` on a copy of the sources leaves the catalogues as they are."""
    if shutil.which("xgettext") is None:
        if os.environ.get("CI"):
            pytest.fail("xgettext is missing; `make tools` installs it")
        pytest.skip("xgettext is missing; `make tools` installs it")
    for source in SOURCES:
        shutil.copytree(BASE_DIR / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(BASE_DIR / "manage.py", tmp_path)
    subprocess.run([sys.executable, "manage.py", *collecting()], cwd=tmp_path, check=True, capture_output=True)
    for language in TRANSLATED:
        known, collected = read(language), read(language, tmp_path / "flashdrop" / "locale")
        assert {(message.id, message.context) for message in messages(collected)} == {
            (message.id, message.context) for message in messages(known)
        }


def collecting() -> list[str]:
    """The arguments with which `make messages` collects."""
    recipe = re.search(r"manage\.py (makemessages .*)", (BASE_DIR / "Makefile").read_text())
    assert recipe is not None
    return shlex.split(recipe[1].replace("$(VENV)", ".venv"))


# Which language a viewer gets


def asked(query: str = "", cookie: str = "", accepts: str = "") -> str:
    headers = [(b"cookie", cookie.encode()), (b"accept-language", accepts.encode())]
    return language_in({"query_string": query.encode(), "headers": [(name, value) for name, value in headers if value]})


@pytest.mark.parametrize(
    ("query", "cookie", "accepts", "language"),
    [
        ("", "", "", "en"),
        ("lang=ar", f"{COOKIE}=de", "de", "ar"),
        ("", f"{COOKIE}=de", "ar", "de"),
        ("", "", "ar", "ar"),
        ("", "", "de-AT", "de"),
        ("lang=de-AT", "", "", "de"),
        ("lang=DE", "", "", "de"),
        ("sku=1&lang=ar&x=2", "", "", "ar"),
        ("", f"a=b; {COOKIE}=ar; c=d", "", "ar"),
        # What we don't speak is passed over, each time for the next.
        ("lang=fr", f"{COOKIE}=de", "ar", "de"),
        ("lang=fr", f"{COOKIE}=fr", "ar", "ar"),
        ("lang=fr", f"{COOKIE}=fr", "fr", "en"),
        ("", "", "fr, ar;q=0.5, de;q=0.9", "de"),
        ("", "", "fr;q=1, *;q=0.5", "en"),
        # What is no language at all.
        ("lang=", f"{COOKIE}=", ";;q=,", "en"),
        ("lang=de%00", "", "", "en"),
        ("slang=de", f"x{COOKIE}=de", "", "en"),
        ("lang=../../etc/passwd", f"{COOKIE}=\xff\xfe", "\xff\x00", "en"),
        ("lang=de'--", f"{COOKIE}=<script>", "d" * 5000, "en"),
    ],
)
def test_the_address_then_the_choice_then_the_browser(query: str, cookie: str, accepts: str, language: str) -> None:
    assert asked(query, cookie, accepts) == language


def test_a_header_without_end_is_not_read_to_its_end() -> None:
    assert asked(accepts="fr;q=0.1," * 10_000 + "de") == "en"
    assert asked(accepts="de," + "fr;q=0.1," * 10_000) == "de"


def test_a_request_without_a_scope_is_answered_in_the_shops_own_language() -> None:
    assert language_of(RequestFactory().get("/?lang=de")) == "en"


@pytest.mark.parametrize(
    ("code", "language"),
    [("de", "de"), ("ar-EG", "ar"), ("en-GB", "en"), ("fr", None), ("", None), ("../de", None), ("de\n", None)],
)
def test_what_we_speak(code: str, language: str | None) -> None:
    assert supported(code) == language


def test_a_moment_is_written_as_each_language_does() -> None:
    at = datetime(2026, 11, 27, 9, 5, 7, tzinfo=UTC)
    assert moment_text(at, "en") == "27 Nov 2026, 09:05"
    assert moment_text(at, "de", seconds=True) == "27.11.2026, 09:05:07"
    assert re.sub("[\u200e\u200f]", "", moment_text(at, "ar")) == "27/11/2026، 09:05"
