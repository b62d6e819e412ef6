"""Who a shopper is: the signed cookie, the normalised identifier, the header of a trusted proxy."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import replace
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
from django.core.management import call_command
from django.core.signing import Signer, b64_decode, b64_encode

from conftest import BASE_DIR, Publish, cookie_of, shopper
from orders import identity
from orders.identity import COOKIE, InvalidIdentifier, Shopper, cookie_value, read_cookie, shopper_id, sign_in

# What browsers keep of one cookie, name and value together.
MAX_COOKIE_BYTES = 4096
# RFC 6265: no white space, quotes, commas, semicolons or backslashes.
COOKIE_OCTETS = frozenset(
    map(chr, [0x21, *range(0x23, 0x2C), *range(0x2D, 0x3B), *range(0x3C, 0x5C), *range(0x5D, 0x7F)])
)

ODD_NAMES = [
    "alice; Path=/admin; HttpOnly",
    "\"'`<script>alert(1)</script>",
    "a,b=c;d",
    "back\\slash",
    "zoë 😀 名前",
    "%00%0d%0a",
    "a:b:c",
    "\u202eevil",
    "x" * 255,
    "名" * 255,
    "😀" * 255,
]


async def is_known(client: httpx.AsyncClient, value: str) -> bool:
    answer = await client.get("/api/orders", headers={"Cookie": f"{COOKIE}={value}"})
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


async def user_id(client: httpx.AsyncClient, name: str) -> str:
    answer = await client.post("/api/auth/login", json={"identifier": name})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["userId"])


# The identifier


@pytest.mark.parametrize(
    "spelling",
    ["ALICE B", "  alice b ", "alice\u00a0b", "alice   b", "\uff41\uff4c\uff49\uff43\uff45 b", "Alice\u3000B"],
)
async def test_case_width_and_white_space_do_not_make_another_shopper(client: httpx.AsyncClient, spelling: str) -> None:
    assert await user_id(client, spelling) == await user_id(client, "alice b")


@pytest.mark.parametrize(("one", "other"), [("straße", "STRASSE"), ("é", "e\u0301"), ("\ufb01ona", "Fiona")])
def test_equivalent_letters_are_the_same(one: str, other: str) -> None:
    assert shopper_id(one) == shopper_id(other)


def test_other_names_are_other_shoppers() -> None:
    assert len({shopper_id(name) for name in ("alice", "alicia", "al ice", "bob", "álice")}) == 5


def test_an_id_says_nothing_about_the_name() -> None:
    assert len(shopper_id("alice")) == 24
    assert "alice" not in shopper_id("alice")
    assert int(shopper_id("x" * 255), 16)


@pytest.mark.parametrize("name", ["", " \t", "x" * 256, "a\0", "\ud800", "\x7f", "\ue000", 5, None, b"x", ["x"]])
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidIdentifier):
        sign_in(name)  # type: ignore[arg-type]


def test_each_sign_in_is_a_browser_session_of_its_own() -> None:
    first, second = sign_in("alice"), sign_in("alice")
    assert (first.id, first.session_id == second.session_id) == (second.id, False)


async def test_signing_in_again_in_the_same_browser_keeps_its_orders_in_sight(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale, name = await publish(), f"again-{secrets.token_hex(4)}"
    await user_id(client, name)
    assert (await client.post("/api/orders", json={"sku": sale.sku})).status_code == 201
    await user_id(client, name)
    assert (await client.get(f"/api/orders/{sale.sku}")).status_code == 200


def test_guests_are_all_different() -> None:
    guests = [identity.sign_in_guest() for _ in range(20)]
    assert len({guest.id for guest in guests}) == 20
    assert all(guest.is_guest for guest in guests)


async def test_a_guest_cannot_be_signed_in_as_by_name(client: httpx.AsyncClient) -> None:
    guest = identity.sign_in_guest()
    assert await user_id(client, guest.id) != guest.id
    assert await user_id(client, guest.name) != guest.id


# The cookie


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_a_cookie_brings_back_who_was_signed_in(name: str) -> None:
    someone = shopper(name)
    assert read_cookie(cookie_value(someone)) == someone


def test_a_guest_stays_a_guest() -> None:
    guest = identity.sign_in_guest()
    assert read_cookie(cookie_value(guest)) == guest


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
async def test_any_name_makes_a_plain_cookie_that_a_browser_keeps(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.post("/api/auth/login", json={"identifier": name})
    (header,) = answer.headers.get_list("Set-Cookie")
    pair, *attributes = header.split("; ")
    cookie_name, value = pair.split("=", 1)
    assert cookie_name == COOKIE
    assert set(value) <= COOKIE_OCTETS
    assert {attribute.split("=")[0] for attribute in attributes} == {
        "HttpOnly",
        "Path",
        "SameSite",
        "Max-Age",
        "expires",
    }
    assert len(pair) <= MAX_COOKIE_BYTES
    assert await is_known(client, value)


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/auth/login", json={"identifier": "x"})
    morsel = SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]
    assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["domain"]) == (True, "Lax", "/", "")
    assert morsel["secure"] == ""
    assert int(morsel["max-age"]) > 24 * 3600


async def test_the_cookie_is_for_https_only_where_there_is_https(client: httpx.AsyncClient) -> None:
    answer = await client.post("https://testserver/api/auth/login", json={"identifier": "x"})
    assert SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]["secure"] is True


async def test_signing_out_clears_the_same_cookie(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/auth/logout")
    morsel = SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]
    assert (morsel.value, morsel["max-age"], morsel["path"], morsel["domain"]) == ("", "0", "/", "")


def forgeries() -> dict[str, str]:
    mine, theirs = cookie_value(sign_in("mallory")), cookie_value(sign_in("alice"))
    payload, signature = theirs.rsplit(":", 1)
    admin = b64_encode(json.dumps([shopper_id("alice"), "alice", "s", 0]).encode()).decode()
    return {
        "no signature": payload,
        "empty signature": f"{payload}:",
        "cut short": theirs[:-1],
        "cut long": theirs[1:],
        "one more": f"{theirs}A",
        "swapped payload": f"{payload}:{mine.rsplit(':', 1)[1]}",
        "own payload": f"{admin}:{signature}",
        "foreign key": Signer(key="another key", salt="flashdrop.shopper").sign(payload),
        "foreign salt": Signer(salt="flashdrop.receipt").sign(payload),
        "no salt": Signer().sign(payload),
        "unsigned": json.dumps([shopper_id("alice"), "alice", "s", 0]),
        "the id": shopper_id("alice"),
        "the name": "alice",
        "empty": "",
        "signature only": f":{signature}",
        "other case": theirs.swapcase(),
    }


@pytest.mark.parametrize("name", forgeries())
async def test_a_cookie_we_did_not_sign_is_nobody(client: httpx.AsyncClient, name: str) -> None:
    assert not await is_known(client, forgeries()[name])


@pytest.mark.parametrize("raw", [b"\xff\xfe:\xff", b"\x00", b"a:b:c", b'"quoted:value"', b"x" * 8000, b"%F0%9F:%00"])
async def test_bytes_in_the_cookie_are_nobody(client: httpx.AsyncClient, raw: bytes) -> None:
    headers = [(b"Cookie", COOKIE.encode() + b"=" + raw)]
    assert (await client.get("/api/orders", headers=headers)).status_code == 401  # type: ignore[arg-type]


async def test_a_receipt_token_is_no_cookie(client: httpx.AsyncClient) -> None:
    from orders.receipts import receipt_token

    assert not await is_known(client, receipt_token(cookie_value(sign_in("x")).split(":")[0]))


async def test_the_cookie_reveals_neither_key_nor_more_than_its_five_fields() -> None:
    someone = Shopper("id", "name", "session", session_began_at=1_795_000_000)
    payload = json.loads(b64_decode(cookie_value(someone).split(":")[0].encode()))
    assert payload == ["id", "name", "session", 0, 1_795_000_000]


async def test_minted_cookies_are_distinct_shoppers(client: httpx.AsyncClient, tmp_path: Path) -> None:
    out, prefix = tmp_path / "cookies", f"mint-{secrets.token_hex(4)}"
    call_command("mint_shoppers", 5, prefix=prefix, out=out)
    lines = out.read_text().splitlines()
    assert len(lines) == 5
    shoppers = [read_cookie(line.removeprefix(f"{COOKIE}=")) for line in lines]
    assert [found.name for found in shoppers if found] == [f"{prefix}-{number}" for number in range(1, 6)]
    assert len({found.id for found in shoppers if found}) == 5
    for line in lines:
        assert (await client.get("/api/orders", headers={"Cookie": line})).status_code == 200


# The trusted header


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "config", replace(identity.config, trust_user_id_header=True))


async def test_the_header_is_not_believed_by_default(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/orders", headers={"X-User-Id": "alice"})).status_code == 401


async def test_the_header_does_not_override_the_cookie_by_default(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, someone = await publish(), shopper()
    headers = cookie_of(someone) | {"X-User-Id": "alice"}
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=headers)
    assert answer.json()["data"]["userId"] == someone.id


@pytest.mark.usefixtures("trusting")
async def test_a_trusted_header_says_who_it_is(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, name = await publish(), f"proxied-{secrets.token_hex(4)}"
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers={"X-User-Id": name})
    assert answer.status_code == 201
    assert answer.json()["data"]["userId"] == shopper_id(name)
    # The proxy vouches for the person, so any browser of theirs may read the order.
    found = await client.get(f"/api/orders/{sale.sku}", headers={"X-User-Id": name.upper()})
    assert found.json()["data"]["_id"] == answer.json()["data"]["_id"]


@pytest.mark.usefixtures("trusting")
async def test_a_trusted_header_wins_over_the_cookie(client: httpx.AsyncClient, publish: Publish) -> None:
    sale, name = await publish(), f"proxied-{secrets.token_hex(4)}"
    headers = cookie_of(shopper()) | {"X-User-Id": name}
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=headers)
    assert answer.json()["data"]["userId"] == shopper_id(name)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("value", [b"", b"  ", b"x" * 256, b"a\x00b", b"a\x7f"])
async def test_an_unusable_trusted_header_is_nobody(client: httpx.AsyncClient, value: bytes) -> None:
    headers = [(b"X-User-Id", value), (b"Cookie", f"{COOKIE}={cookie_value(shopper())}".encode())]
    assert (await client.get("/api/orders", headers=headers)).status_code == 401  # type: ignore[arg-type]


@pytest.mark.usefixtures("trusting")
async def test_a_trusted_header_in_utf_8_is_the_same_name_as_in_a_form(
    client: httpx.AsyncClient, publish: Publish
) -> None:
    sale = await publish()
    headers = [(b"X-User-Id", "Élodie".encode())]
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 201, answer.text
    assert answer.json()["data"]["userId"] == shopper_id("Élodie")


def test_a_process_that_takes_identities_on_trust_says_so_at_its_start() -> None:
    told = subprocess.run(
        [sys.executable, str(BASE_DIR / "manage.py"), "check"],
        env=os.environ | {"TRUST_USER_ID_HEADER": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "TRUST_USER_ID_HEADER is on" in told.stderr


def under(script: str, **environment: str) -> str:
    """What a process with these settings says."""
    told = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{script}"],
        cwd=BASE_DIR,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.strip()


def test_a_key_is_replaced_without_signing_anybody_out() -> None:
    """As docs/how-to/operate.md says; and without that, everybody is a stranger."""
    make = """
from orders.identity import cookie_value, shopper_id, sign_in
from orders.receipts import receipt_token
print(cookie_value(sign_in("Ada")), receipt_token("0" * 24), shopper_id("ada"))
"""
    cookie, token, known_as = under(make, SECRET_KEY="old-key").split()
    read = f"""
from orders.identity import read_cookie, shopper_id
from orders.receipts import order_id_of
known = read_cookie({cookie!r})
print(known and known.id, shopper_id("ada"), order_id_of({token!r}))
"""
    rotated = {"SECRET_KEY": "new-key", "SECRET_KEY_FALLBACKS": "old-key", "SHOPPER_ID_KEY": "old-key"}
    assert under(read, **rotated).split() == [known_as, known_as, "0" * 24]
    careless = under(read, SECRET_KEY="new-key").split()
    assert careless[0] == careless[2] == "None" and careless[1] != known_as
    # Once the fallback is gone the old cookie is worth nothing, and the same person still has the same id.
    over = under(read, SECRET_KEY="new-key", SHOPPER_ID_KEY="old-key").split()
    assert over == ["None", known_as, "None"]
