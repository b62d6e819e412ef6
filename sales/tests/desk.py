"""What tests of the desk share: accounts, the sale's form, and stores that are away."""

from __future__ import annotations

import asyncio
import html
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client

from conftest import cookie_of, shopper, show
from flashdrop import mongo_client, redis_client
from flashdrop.config import config
from flashdrop.embedded.process import free_port
from flashdrop.redis_client import redis
from sales import stock
from sales.desk import edits, price
from sales.gate import Levels
from sales.models import Sale

LIST = "/admin/sales/sale/"
ADD = f"{LIST}add/"
REASON = "For a test"
SWITCHES = ("guests_allowed", "published", "paused")


def form(sale: Sale | None = None, **changes: Any) -> dict[str, Any]:
    """What the admin's form posts: the sale as it stands, or a new one that is open and published, with `changes`."""
    now = datetime.now(UTC).replace(microsecond=0)
    fields: dict[str, Any] = {
        "sku": f"desk-{secrets.token_hex(5)}",
        "name": "Desk lamp",
        "description": "",
        "image_url": "",
        "price": "129.00",
        "currency": "EUR",
        "stock": 10,
        "limit_per_shopper": 1,
        "opens_at": now - timedelta(minutes=1),
        "closes_at": now + timedelta(hours=1),
        "guests_allowed": False,
        "published": True,
        "paused": False,
    }
    if sale is not None:
        fields = {name: getattr(sale, name) for name in fields if name != "price"}
        fields |= {"price": price.plain(sale.price_minor, sale.currency)}
    fields |= changes
    for name in ("opens_at", "closes_at"):
        if isinstance(fields[name], datetime):
            fields[name] = f"{fields[name]:%Y-%m-%dT%H:%M:%S}"
    for name in SWITCHES:  # a box that is not ticked is not posted
        if not fields[name]:
            del fields[name]
    return fields


def page_of(sale: Sale) -> str:
    return f"{LIST}{sale.pk}/change/"


async def get(admin: Client, address: str) -> str:
    response = await asyncio.to_thread(admin.get, address)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


async def post(admin: Client, address: str, data: dict[str, Any], *, means_it: bool = True) -> str:
    """Post as the browser does, in a thread as the server does; the page that comes back.

    What the form asks back is answered with yes, unless told otherwise.
    """

    def work() -> HttpResponse:
        response = admin.post(address, data, follow=True)
        asked = re.search(r'name="confirmed" value="(\w+)"', response.content.decode())
        if asked and means_it:
            response = admin.post(address, data | {"confirmed": asked[1], "reason": REASON}, follow=True)
        return response

    response = await asyncio.to_thread(work)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


async def created(admin: Client, **changes: Any) -> Sale:
    data = form(**changes)
    text = await post(admin, ADD, data)
    assert "was added successfully" in text, text
    await show()
    return await Sale.objects.aget(sku=data["sku"])


async def seen_now(sale: Sale) -> str:
    """What the sale's form would carry if it were opened now."""
    return await asyncio.to_thread(lambda: edits.written(Sale.objects.get(pk=sale.pk)))


async def changed(admin: Client, sale: Sale, **changes: Any) -> str:
    """Save the sale's page with `changes`, as if just opened; what the admin says about it."""
    seen = await seen_now(sale)
    changes = {"seen": seen} | changes
    return await post(admin, page_of(sale), form(sale, **changes))


async def buy(client: httpx.AsyncClient, sale: Sale) -> tuple[int, str | None]:
    """One order by somebody new: status and code."""
    answer = await client.post("/api/orders", json={"sku": sale.sku}, headers=cookie_of(shopper()))
    return answer.status_code, answer.json()["code"]


async def levels(sale: Sale) -> Levels:
    return (await stock.levels(redis(), [sale.pk]))[1][0]


@contextmanager
def ledger_away() -> Iterator[None]:
    """Whoever connects to the ledger meanwhile finds nobody there; this test's own connection stays."""
    with pytest.MonkeyPatch.context() as patch:
        dead = f"mongodb://127.0.0.1:{free_port()}/flashdrop?replicaSet=rs0"
        patch.setattr(mongo_client, "config", replace(config, mongodb_url=dead))
        patch.setattr(mongo_client, "SELECT_SERVER_MS", 200)
        yield


@contextmanager
def gate_away() -> Iterator[None]:
    """The same for the gate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_client, "config", replace(config, redis_url=f"redis://127.0.0.1:{free_port()}/0"))
        yield


def account(role: str | None, *, is_staff: bool = True, is_superuser: bool = False) -> Client:
    """Somebody signed in; without a password, because hashing one takes longer than most tests here."""
    name = f"{role or 'somebody'}-{secrets.token_hex(3)}"
    someone = User.objects.create(username=name, is_staff=is_staff, is_superuser=is_superuser)
    if role:
        # A test that ends by emptying the tables takes the groups along.
        from sales.desk import roles

        roles.ensure()
        someone.groups.add(Group.objects.get(name=role))
    signed_in = Client()
    signed_in.force_login(someone)
    return signed_in
