"""A lean response and the ordinary one it turns into say the same, at every door, also when somebody has changed it."""

from __future__ import annotations

import copy
from http import HTTPStatus
from typing import Any

import pytest
from django.http import HttpResponse, HttpResponseRedirect

from flashdrop import envelope
from flashdrop.responses import SECURITY_HEADERS_RAW, Head, LeanResponse, as_messages, as_wire, is_lean

pytestmark = pytest.mark.usefixtures("may_close_connections")
HEADERS = {"Content-Type": "text/plain", "Cache-Control": "no-store", "X-Price": "129 €".encode().decode("latin1")}
DATE = b"date: Sun, 22 Nov 2026 14:28:22 GMT\r\n"


def lean(body: bytes = b"hello", status: int = 200) -> LeanResponse:
    return LeanResponse(Head(status, HEADERS), body)


def ordinary(body: bytes = b"hello", status: int = 200) -> HttpResponse:
    """What a view without any of this would have returned."""
    return HttpResponse(body, status=status, headers=HEADERS)


def not_modified() -> LeanResponse:
    return LeanResponse(Head(304, {"ETag": '"x"'}, has_body=False), b"")


class Told:
    """What a client would read."""

    def __init__(self, wire: bytes) -> None:
        head, _, self.body = wire.partition(b"\r\n\r\n")
        self.status_line, *lines = head.split(b"\r\n")
        self.headers = sorted((name, value) for name, _, value in (line.partition(b": ") for line in lines))

    def values(self, name: str) -> list[str]:
        return [value.decode() for header, value in self.headers if header == name.encode()]


def on_wire(response: HttpResponse) -> Told:
    return Told(as_wire(response, DATE))


def by_messages(response: HttpResponse) -> Told:
    """As a server would write the messages down."""
    start, body = as_messages(response)
    phrase = HTTPStatus(start["status"]).phrase
    lines = [f"HTTP/1.1 {start['status']} {phrase}".encode(), DATE[:-2]]
    lines += [name + b": " + value for name, value in start["headers"]]
    return Told(b"\r\n".join(lines) + b"\r\n\r\n" + body["body"])


def add_header(response: HttpResponse) -> None:
    response.headers["X-Added"] = "1"


def add_header_by_item(response: HttpResponse) -> None:
    response["X-Added"] = "1"


def change_header(response: HttpResponse) -> None:
    response.headers["Cache-Control"] = "private"


def delete_header(response: HttpResponse) -> None:
    del response.headers["Cache-Control"]


def set_two_cookies(response: HttpResponse) -> None:
    response.set_cookie("a", "1", httponly=True, samesite="Lax")
    response.set_cookie("b", "2", max_age=5)


def clear_cookie(response: HttpResponse) -> None:
    response.delete_cookie("a")


def change_content(response: HttpResponse) -> None:
    response.content = b"something longer than before"


def write_more(response: HttpResponse) -> None:
    response.write(b", and more")


def change_status(response: HttpResponse) -> None:
    response.status_code = 409


def look(response: HttpResponse) -> None:
    assert response.headers["Cache-Control"] == "no-store"


def look_then_change_content(response: HttpResponse) -> None:
    look(response)
    change_content(response)


def look_then_change_status(response: HttpResponse) -> None:
    look(response)
    change_status(response)


def change_content_then_look(response: HttpResponse) -> None:
    change_content(response)
    look(response)


def change_status_then_look(response: HttpResponse) -> None:
    change_status(response)
    look(response)


CHANGES = [
    *(add_header, add_header_by_item, change_header, delete_header, set_two_cookies, clear_cookie),
    *(change_content, write_more, change_status, look, look_then_change_content, look_then_change_status),
    *(change_content_then_look, change_status_then_look),
]


# The forms of a head


def test_a_head_has_the_security_headers_in_both_forms() -> None:
    head = Head(200, HEADERS)
    assert set(SECURITY_HEADERS_RAW) <= set(head.raw)
    for name, value in SECURITY_HEADERS_RAW:
        assert b"%b: %b\r\n" % (name, value) in head.wire


@pytest.mark.parametrize("status", [200, 201, 202, 304, 404, 405, 409, 413, 422, 423, 429, 500, 503])
def test_the_status_line_has_the_phrase(status: int) -> None:
    assert on_wire(lean(status=status)).status_line == f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()


def test_a_head_is_not_changed_by_who_made_it() -> None:
    headers = dict(HEADERS)
    head = Head(200, headers)
    headers["X-Late"] = "1"
    assert b"x-late" not in dict(head.raw)
    assert not LeanResponse(head, b"").has_header("X-Late")


# Both doors say the same as an ordinary response would


@pytest.mark.parametrize("body", [b"", b"hello", b"\r\n\r\n", b"\xff\x00", b"x" * 100_000], ids=len)
@pytest.mark.parametrize("told", [on_wire, by_messages])
def test_a_lean_response_says_what_an_ordinary_one_says(told: Any, body: bytes) -> None:
    found, expected = told(lean(body)), told(ordinary(body))
    assert (found.status_line, found.headers, found.body) == (expected.status_line, expected.headers, body)
    assert found.values("content-length") == [str(len(body))]
    assert found.values("date") == ["Sun, 22 Nov 2026 14:28:22 GMT"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("told", [on_wire, by_messages])
def test_a_changed_response_says_what_a_changed_ordinary_one_says(told: Any, change: Any) -> None:
    changed, expected = lean(), ordinary()
    change(changed), change(expected)
    found, wanted = told(changed), told(expected)
    assert (found.status_line, found.headers, found.body) == (wanted.status_line, wanted.headers, wanted.body)
    assert found.values("content-length") == [str(len(found.body))], "or the next answer would be read wrongly"


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_response_is_changed_for_everybody_who_looks(change: Any) -> None:
    """Also for middleware, and for the metrics."""
    changed, expected = lean(), ordinary()
    change(changed), change(expected)
    assert (changed.status_code, changed.content) == (expected.status_code, expected.content)
    assert changed.reason_phrase == expected.reason_phrase
    assert {**changed.headers, "Content-Length": ""} == {**expected.headers, "Content-Length": ""}
    assert changed.cookies.output() == expected.cookies.output()


@pytest.mark.parametrize("change", CHANGES)
def test_one_response_that_was_changed_changes_no_other_of_its_head(change: Any) -> None:
    head = Head(200, HEADERS)
    before = as_wire(LeanResponse(head, b"hello"), DATE)
    changed = LeanResponse(head, b"hello")
    change(changed)
    as_wire(changed, DATE)
    assert as_wire(LeanResponse(head, b"hello"), DATE) == before


@pytest.mark.parametrize("told", [on_wire, by_messages])
def test_a_304_has_no_length_and_no_body(told: Any) -> None:
    found = told(not_modified())
    assert (found.status_line, found.body) == (b"HTTP/1.1 304 Not Modified", b"")
    assert found.values("content-length") == found.values("content-type") == []
    assert found.values("etag") == ['"x"']


@pytest.mark.parametrize("told", [on_wire, by_messages])
def test_a_304_with_a_cookie_has_still_no_body(told: Any) -> None:
    response = not_modified()
    response.set_cookie("a", "1")
    found = told(response)
    assert (found.body, found.values("set-cookie")) == (b"", ["a=1; Path=/"])
    assert found.values("content-length") in ([], ["0"])


@pytest.mark.parametrize("told", [on_wire, by_messages])
def test_an_ordinary_response_is_written_out_whole(told: Any) -> None:
    response = HttpResponseRedirect("/orders/?a=%C3%A9", status=303)
    set_two_cookies(response)
    found = told(response)
    assert found.status_line == b"HTTP/1.1 303 See Other"
    assert found.values("location") == ["/orders/?a=%C3%A9"]
    assert len(found.values("set-cookie")) == 2
    assert found.values("content-length") == ["0"]
    for name, value in SECURITY_HEADERS_RAW:
        assert found.values(name.decode()) == [value.decode()]


def test_the_wire_takes_no_more_than_it_needs() -> None:
    """Writing a lean response down does not build the ordinary one."""
    response = lean()
    as_wire(response, DATE), as_messages(response)
    assert is_lean(response)
    assert set(vars(response)) == {"head", "body", "status_code"}


# What an ordinary response can, a lean one can


def test_it_is_built_once() -> None:
    response = lean()
    add_header(response)
    assert response.headers is response.headers
    assert response["X-Added"] == "1"
    assert not is_lean(response)


def test_it_can_be_copied_closed_printed_and_read() -> None:
    response = lean()
    assert b"".join(response) == b"hello"
    assert (response.getvalue(), response.content.decode(response.charset)) == (b"hello", "hello")
    assert "200" in repr(lean())
    assert copy.copy(lean()).content == b"hello"
    assert not response.streaming
    response.close()
    assert response.closed
    assert "Cache-Control" in response
    assert response.has_header("X-Price")
    assert b"hello" in lean().serialize()


def test_it_has_nothing_that_a_response_has_not() -> None:
    response = lean()
    assert not hasattr(response, "no_such_attribute")
    assert not hasattr(response, "no_such_attribute")


# The envelope


def test_answers_of_one_kind_share_their_head() -> None:
    one, other = envelope.ok(1), envelope.ok(2)
    assert isinstance(one, LeanResponse) and isinstance(other, LeanResponse)
    assert one.head is other.head
    assert one.head is not envelope.ok(1, 201).head  # type: ignore[attr-defined]


def test_a_cookie_on_one_answer_is_on_no_other() -> None:
    one = envelope.ok(1)
    one.set_cookie("a", "1")
    assert b"set-cookie" in as_wire(one, b"")
    assert b"set-cookie" not in as_wire(envelope.ok(1), b"")
