"""Choosing a language: remembered, and back to where it was chosen, whatever a stranger's page says."""

from __future__ import annotations

import httpx
import pytest

from flashdrop.languages import COOKIE

OURS = "http://testserver"


async def choose(client: httpx.AsyncClient, language: str = "de", came_from: str = "") -> httpx.Response:
    told = {"Sec-Fetch-Site": "same-origin"} | ({"Referer": came_from} if came_from else {})
    return await client.post("/language", data={"lang": language}, headers=told)


async def test_the_choice_is_remembered(client: httpx.AsyncClient) -> None:
    answer = await choose(client)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert answer.headers["Cache-Control"] == "private, no-store"
    name, *attributes = [part.strip() for part in answer.headers["Set-Cookie"].split(";")]
    assert name == f"{COOKIE}=de"
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=31536000"} <= set(attributes)
    assert not any(attribute.startswith("Domain") for attribute in attributes)
    chosen = await client.get("/orders/", headers={"Accept-Language": "ar"})
    assert '<html lang="de" dir="ltr">' in chosen.text


@pytest.mark.parametrize(
    ("came_from", "back_to"),
    [
        (f"{OURS}/sales/lamp/", "/sales/lamp/"),
        (f"{OURS}/sales/lamp/me?seen=7&lang=ar", "/sales/lamp/me?seen=7"),
        (f"{OURS}/orders/?lang=ar#top", "/orders/"),
        (f"{OURS}//evil.example/", "/evil.example/"),
        (f"{OURS}/\\evil.example/", "/evil.example/"),
        (f"{OURS}/\\/evil.example/", "/evil.example/"),
        (OURS, "/"),
        # Not ours, or nothing that could be.
        ("http://evil.example/sales/lamp/", "/"),
        ("http://testserver.evil.example/", "/"),
        ("http://testserver@evil.example/", "/"),
        ("http://testserver:81/sales/lamp/", "/"),
        ("//evil.example/", "/"),
        ("http://[/", "/"),
        ("javascript:alert(1)", "/"),
        ("about:blank", "/"),
    ],
)
async def test_back_to_where_it_was_chosen_and_never_out_of_the_shop(
    client: httpx.AsyncClient, came_from: str, back_to: str
) -> None:
    answer = await choose(client, came_from=came_from)
    assert (answer.status_code, answer.headers["Location"]) == (303, back_to)


@pytest.mark.parametrize(
    ("told", "back_to"),
    [
        ("/orders/some.receipt/", "/orders/some.receipt/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/evil.example/"),
        ("///evil.example/", "/evil.example/"),
        ("/\t/evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("/orders/\r\nSet-Cookie: a=b", "/orders/Set-Cookie: a=b"),
    ],
)
async def test_a_page_that_sends_no_referrer_says_so_in_its_form(
    client: httpx.AsyncClient, told: str, back_to: str
) -> None:
    answer = await client.post(
        "/language", data={"lang": "de", "next": told}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert answer.status_code == 303
    assert httpx.URL(answer.headers["Location"]) == httpx.URL(back_to)
    assert len(answer.headers.get_list("Set-Cookie")) == 1


@pytest.mark.parametrize("language", ["fr", "", "../de", "de\n", "d" * 10_000])
async def test_a_language_that_nobody_here_speaks(client: httpx.AsyncClient, language: str) -> None:
    answer = await choose(client, language)
    assert answer.status_code == 400
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
async def test_another_sites_form_is_refused(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post("/language", data={"lang": "de"}, headers=headers)
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


async def test_it_is_chosen_by_a_form_alone(client: httpx.AsyncClient) -> None:
    answer = await client.get("/language?lang=de")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
