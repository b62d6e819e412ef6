"""What the tests of the desk's pages share: rows in the back office, and accounts in their roles."""

from __future__ import annotations

import asyncio
import html
import secrets
from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client

from conftest import settings_of
from sales.models import Sale


async def row(**changes: Any) -> Sale:
    """A sale in the back office; no store has heard of it. A draft unless told otherwise."""
    settings = settings_of(**{"published": False, **changes})
    return await Sale.objects.acreate(**{name: getattr(settings, name) for name in settings.__dataclass_fields__})


async def signed_in(role: str) -> Client:
    """The browser of somebody of the staff with that role."""

    def work() -> Client:
        user = User.objects.create(username=f"{role}-{secrets.token_hex(4)}", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return await asyncio.to_thread(work)


async def get(client: Client, address: str) -> str:
    """A page that is there, as text."""
    answer = await asyncio.to_thread(client.get, address)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())
