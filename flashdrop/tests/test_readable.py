"""A NUL in whatever is sent is a bad request, never a failure: PostgreSQL could not even be asked about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import httpx
import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from conftest import Publish, cookie_of, settings_of, shopper
from sales.models import Sale
from sales.tests.desk import account

pytestmark = pytest.mark.django_db(transaction=True)
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"}
NAMES = ("q", "copy", "when", "do", "at", "as", "state", "from", "format", "answer", "lang", "next", "sku", "x")


def addresses(patterns: Iterable[URLPattern | URLResolver], ids: dict[str, str], prefix: str = "") -> Iterator[str]:
    """Every address of the URLconf, with `ids` where it takes something."""
    for pattern in patterns:
        text = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, ids, text)
        elif "(" not in text and "static/" not in text and "logout" not in text:
            for kind in ("path:", "int:"):
                text = text.replace(f"<{kind}", "<")
            for name, value in ids.items():
                text = text.replace(f"<{name}>", value)
            if "<" not in text:
                yield f"/{text}"


@pytest.fixture
async def sale(publish: Publish, transactional_db: None) -> Sale:
    mine = settings_of()
    await publish(mine)
    return await Sale.objects.acreate(**{name: getattr(mine, name) for name in mine.__dataclass_fields__}, version=1)


@pytest.fixture
def session(transactional_db: None) -> dict[str, str]:
    admin: Client = account(None, is_superuser=True)
    return {"Cookie": f"sessionid={admin.cookies['sessionid'].value}; {cookie_of(shopper())['Cookie']}"}


def ids_of(sale: Sale) -> dict[str, str]:
    return {
        "sale_id": sale.pk,
        "sku": sale.sku,
        "order_id": "o" * 24,
        "token": "t" * 20,
        "object_id": sale.pk,
        "id": "1",
    }


async def test_no_address_fails_over_a_nul_in_a_parameter(
    client: httpx.AsyncClient, sale: Sale, session: dict[str, str]
) -> None:
    found = sorted(set(addresses(get_resolver().url_patterns, ids_of(sale))))
    assert len(found) > 50
    query = "&".join(f"{name}=a%00b" for name in NAMES)
    for address in found:
        answer = await client.get(f"{address}?{query}", headers=session)
        assert answer.status_code < 500 or address == "/readyz", (address, answer.status_code)
        if address.startswith("/admin/") and not address.endswith("/live/data"):
            assert answer.status_code == 400, (address, answer.status_code)


async def test_no_address_fails_over_a_nul_in_a_form(
    client: httpx.AsyncClient, sale: Sale, session: dict[str, str]
) -> None:
    for address in sorted(set(addresses(get_resolver().url_patterns, ids_of(sale)))):
        for body in ({"username": "a\0b", "identifier": "a\0b", "quantity": "1\0", "reason": "\0"}, {"a\0b": "x"}):
            answer = await client.post(address, data=body, headers=session | SAME_ORIGIN)
            assert answer.status_code < 500, (address, answer.status_code)
    for address in ("/api/orders", "/api/auth/login"):
        body = {"sku": f"{sale.sku}\0", "username": "a\0b", "identifier": "a\0b"}
        answer = await client.post(address, json=body, headers=session | SAME_ORIGIN)
        assert answer.status_code < 500, (address, answer.status_code)


async def test_no_address_fails_over_a_nul_in_itself(
    client: httpx.AsyncClient, sale: Sale, session: dict[str, str]
) -> None:
    ids = dict.fromkeys(ids_of(sale), "a%00b")
    for address in sorted(set(addresses(get_resolver().url_patterns, ids))):
        answer = await client.get(address, headers=session)
        assert answer.status_code < 500 or address == "/readyz", (address, answer.status_code)


@pytest.mark.parametrize("address", ["/admin/", "/admin/desk/sales/{pk}/live/data", "/admin/desk/sales/{pk}/control/"])
@pytest.mark.parametrize("name", ["sessionid", "csrftoken", "desk_time_zone"])
async def test_a_nul_that_a_cookie_spells_out_signs_nobody_in(
    client: httpx.AsyncClient, sale: Sale, address: str, name: str
) -> None:
    spelled = '"' + "\\000" * 9 + '"'
    answer = await client.get(address.format(pk=sale.pk), headers={"Cookie": f"{name}={spelled}"})
    assert answer.status_code in (302, 400, 401, 403), answer.status_code


def test_the_guard_stands_before_whatever_asks_the_database() -> None:
    order: list[str] = list(settings.MIDDLEWARE)
    assert order.index("flashdrop.readable.RefuseNul") < order.index(
        "django.contrib.sessions.middleware.SessionMiddleware"
    )


def test_what_is_readable_passes(transactional_db: None) -> None:
    assert account(None, is_superuser=True).get("/admin/sales/sale/?q=%2500").status_code == 200
