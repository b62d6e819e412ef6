"""What the tests of the desk's pages about orders have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from conftest import Publish, settings_of
from sales.desk import roles
from sales.models import Sale

OnSale = Callable[..., Awaitable[Sale]]


@pytest.fixture
def accounts(transactional_db: None) -> dict[str, Client]:
    """A signed-in browser for each role, one for staff without any, and one for nobody."""
    roles.ensure()
    found = {"nobody": Client()}
    for role in (*roles.ROLES, "staff"):
        user = User.objects.create(username=role, is_staff=True)
        if role != "staff":
            user.groups.add(Group.objects.get(name=role))
        found[role] = Client()
        found[role].force_login(user)
    return found


@pytest.fixture
def mia(accounts: dict[str, Client]) -> Client:
    return accounts["merchandiser"]


@pytest.fixture
def on_sale(publish: Publish, transactional_db: None) -> OnSale:
    """A sale that is open, in the back office and in the shop."""

    async def work(**changes: Any) -> Sale:
        settings = settings_of(**changes)
        await publish(settings)
        return await Sale.objects.acreate(**asdict(settings), version=1)

    return work
