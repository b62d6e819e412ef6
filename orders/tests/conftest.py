"""What the tests of the desk's pages about orders have in common."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from conftest import Processes, Publish, fetch, settings_of
from flashdrop.embedded.process import free_port
from orders.tests.stage import Stage
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


@pytest.fixture(scope="module")
def floor(migrated: None, static_files: None) -> Iterator[tuple[str, str]]:
    """The addresses of two shops without a worker: one over the suite's stores, one whose stores can't be reached."""
    started = Processes()
    nowhere = free_port()
    away = {
        "REDIS_URL": f"redis://127.0.0.1:{nowhere}/0",
        "MONGODB_URL": f"mongodb://127.0.0.1:{nowhere}/flashdrop?replicaSet=rs0",
    }
    ports = {free_port(): {}, free_port(): away}
    try:
        for port, stores_of in ports.items():
            started.start("serve", "--port", str(port), "--workers", "1", LOG_LEVEL="ERROR", **stores_of)
        with_stores, without = [f"http://127.0.0.1:{port}" for port in ports]
        for url in (with_stores, without):
            wait_until_it_answers(url)
        yield with_stores, without
    finally:
        started.stop_all()


@pytest.fixture(scope="module")
async def stage(chromium: Any, floor: tuple[str, str], ledger_indexes: None) -> AsyncIterator[Stage]:
    """A real shop in which every state can be reached, and stands still."""
    yield Stage(chromium, *floor)


def wait_until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if fetch(f"{url}/healthz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "the shop did not come up"
        time.sleep(0.05)
