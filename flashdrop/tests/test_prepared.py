"""Answers made once: which form a client gets, and that both doors would send the same."""

from __future__ import annotations

import gzip

import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from flashdrop.prepared import GZIP_FROM_BYTES, Prepared
from flashdrop.responses import SECURITY_HEADERS_RAW, as_messages

HTML = "text/html; charset=utf-8"
LONG = b"All of it, again and again. " * 100


def asking(**headers: str) -> HttpRequest:
    return RequestFactory().get("/", headers={name.replace("_", "-"): value for name, value in headers.items()})


def page(body: bytes = LONG, validator: bytes | None = None) -> Prepared:
    return Prepared(body, HTML, "no-cache", validator)


def test_the_plain_form() -> None:
    prepared = page()
    response = prepared.response(asking())
    assert (response.status_code, response.content) == (200, LONG)
    assert dict(response.items()) == {
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
        "ETag": prepared.etag,
        "Content-Type": HTML,
    }


def test_the_gzip_form() -> None:
    prepared = page()
    response = prepared.response(asking(Accept_Encoding="br, gzip, deflate"))
    assert gzip.decompress(response.content) == LONG
    assert len(response.content) < len(LONG)
    assert response["Content-Encoding"] == "gzip"
    assert response["ETag"] == prepared.gzip_etag != prepared.etag


@pytest.mark.parametrize("accepted", ["gzip", "GZIP", "x, gzip;q=0.5", "gzip;q=1.0, identity;q=0.1", "gzip ; q=0.001"])
def test_gzip_for_whoever_takes_it(accepted: str) -> None:
    assert page().response(asking(Accept_Encoding=accepted)).get("Content-Encoding") == "gzip"


@pytest.mark.parametrize(
    "accepted", ["", "identity", "br, deflate", "gzip;q=0", "gzip; q=0.0, identity", "GZIP;Q=0", "xgzip"]
)
def test_no_gzip_for_whoever_does_not_take_it(accepted: str) -> None:
    response = page().response(asking(Accept_Encoding=accepted))
    assert (response.get("Content-Encoding"), response.content) == (None, LONG)


def test_what_is_small_is_not_packed() -> None:
    small = page(b"x" * (GZIP_FROM_BYTES - 1))
    assert small.gzipped is None
    assert small.response(asking(Accept_Encoding="gzip")).get("Content-Encoding") is None


def test_packing_is_repeatable() -> None:
    assert page().gzipped == page().gzipped


def test_a_strong_etag_stands_for_the_bytes() -> None:
    assert page().etag == page().etag
    assert page().etag != page(LONG + b".").etag
    assert page().etag.startswith('"')


def test_a_weak_etag_stands_for_the_validator() -> None:
    one, other = page(b"at noon", validator=b"v1"), page(b"at one", validator=b"v1")
    assert one.etag == other.etag == one.gzip_etag
    assert one.etag.startswith('W/"')
    assert one.etag != page(b"at noon", validator=b"v2").etag


@pytest.mark.parametrize("form", ["{0}", "W/{0}", '"a", {0}', '"a",W/{0},"b"', "  {0}  ", "*", " * "])
@pytest.mark.parametrize("packed", [False, True])
def test_what_the_client_has_is_not_sent_again(form: str, packed: bool) -> None:
    prepared = page()
    etag = prepared.gzip_etag if packed else prepared.etag
    response = prepared.response(asking(If_None_Match=form.format(etag), Accept_Encoding="gzip"))
    assert (response.status_code, response.content) == (304, b"")
    assert (response["ETag"], response["Cache-Control"], response["Vary"]) == (
        prepared.etag,
        "no-cache",
        "Accept-Encoding",
    )


@pytest.mark.parametrize("match", ["", '"a"', "a, b", '"*"', 'W/"', ",", "**"])
def test_what_the_client_does_not_have_is_sent(match: str) -> None:
    assert page().response(asking(If_None_Match=match)).status_code == 200


def test_an_etag_without_its_quotes_is_none() -> None:
    prepared = page()
    assert prepared.response(asking(If_None_Match=prepared.etag.strip('"'))).status_code == 200


@pytest.mark.parametrize("form", ["plain", "gzip", "not_modified"])
def test_the_messages_for_the_lean_door_say_what_the_response_says(form: str) -> None:
    prepared = page()
    request = {"plain": asking(), "gzip": asking(Accept_Encoding="gzip"), "not_modified": asking(If_None_Match="*")}[
        form
    ]
    response = prepared.response(request)
    start, body = as_messages(response)
    headers = {
        name.decode(): value.decode() for name, value in start["headers"] if (name, value) not in SECURITY_HEADERS_RAW
    }
    assert (start["status"], body["body"]) == (response.status_code, response.content)
    expected = {name.lower(): value for name, value in response.items()}
    if form == "not_modified":
        expected.pop("content-type", None)  # Django gives every response one
    else:
        assert headers.pop("content-length") == str(len(body["body"]))
    assert headers == expected
    assert set(SECURITY_HEADERS_RAW) <= set(start["headers"])


@pytest.mark.parametrize("headers", [{}, {"Accept_Encoding": "gzip"}, {"If_None_Match": "*"}])
def test_the_head_and_the_body_of_a_form_are_made_once(headers: dict[str, str]) -> None:
    prepared = page()
    one, other = prepared.response(asking(**headers)), prepared.response(asking(**headers))
    assert one.head is other.head
    assert one.body is other.body


def test_one_response_changed_on_its_way_out_changes_no_other() -> None:
    """Middleware at the stock door may add headers and cookies."""
    prepared = page()
    changed = prepared.response(asking())
    changed["X-Added"] = "1"
    changed.set_cookie("name", "value")
    changed.content = b"other"
    again = prepared.response(asking())
    assert "X-Added" not in again
    assert not again.cookies
    assert again.content == LONG
    assert b"x-added" not in dict(as_messages(again)[0]["headers"])


def test_a_response_has_no_attributes_that_responses_do_not_have() -> None:
    response = page().response(asking())
    assert not hasattr(response, "no_such_attribute")
    assert response.reason_phrase == "OK"
    assert not response.streaming
