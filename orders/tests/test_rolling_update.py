"""An update as it is done, from the version before to today's and back: both checkouts over the same stores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from conftest import BASE_DIR, Processes, client_of, eventually
from flashdrop.embedded.process import free_port
from orders.tests.releases.stores import RELEASES, filled, recorded
from orders.tests.test_releases import manage, ready

BEFORE = "4301c74"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The version before, out of this repository's own history."""
    folder = tmp_path_factory.mktemp("before") / "checkout"
    git = ["git", "-C", str(BASE_DIR), "worktree"]
    made = subprocess.run([*git, "add", "--detach", str(folder), BEFORE], capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"the history with {BEFORE} is needed (a clone that is not shallow): {made.stderr}"
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=False, capture_output=True)


class Shops:
    """Web tiers and workers of both versions."""

    def __init__(self, before: Path, environment: dict[str, str]) -> None:
        self.environment = environment
        self.folders = {"before": before, "today": BASE_DIR}
        self.processes = Processes()

    async def web(self, version: str) -> tuple[subprocess.Popen[bytes], str]:
        """A web tier that is ready, and its address."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        process = self._start(version, "serve", "--port", str(port), "--workers", "1")

        async def answers() -> bool:
            return ready(url)

        await eventually(answers, 30)
        return process, url

    def worker(self, version: str) -> subprocess.Popen[bytes]:
        return self._start(version, "run_worker")

    def _start(self, version: str, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, str(self.folders[version] / "manage.py"), *command],
            cwd=self.folders[version],
            env=os.environ | self.environment,
            start_new_session=True,
        )
        self.processes.running.append(process)
        return process


async def sign_in(url: str, name: str) -> dict[str, str]:
    """The cookie that this version gives."""
    async with client_of(url) as client:
        answer = await client.post("/api/auth/login", json={"identifier": name})
        assert answer.status_code == 200, answer.text
        return {"Cookie": "; ".join(f"{key}={value}" for key, value in answer.cookies.items())}


async def buy(url: str, name: str, cookie: dict[str, str] | None = None) -> tuple[int, Any]:
    async with client_of(url) as client:
        answer = await client.post(
            "/api/orders",
            json={"sku": "running", "quantity": 1, "price": 12900},
            headers=(cookie or await sign_in(url, name)) | {"Idempotency-Key": name},
        )
        return answer.status_code, answer.json()


async def status(url: str) -> Any:
    async with client_of(url) as client:
        return (await client.get("/api/products/running/sale-status")).json()["data"]


def save(folder: Path, environment: dict[str, str], **changes: Any) -> None:
    """What the back office of a version does when somebody saves."""
    code = (
        "from sales.models import Sale; from sales import backoffice; sale = Sale.objects.get(sku='running');"
        f"[setattr(sale, *change) for change in {changes!r}.items()]; backoffice.save_and_publish(sale)"
    )
    saved = subprocess.run(
        [sys.executable, str(folder / "manage.py"), "shell", "-c", code],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert saved.returncode == 0, saved.stderr


@pytest.mark.heavy
async def test_both_versions_sell_side_by_side_and_back_again(stores: Any, checkout: Path, tmp_path: Path) -> None:
    with filled(recorded(BEFORE), "rolling", tmp_path) as environment:
        shops = Shops(checkout, environment)
        try:
            first, old = await shops.web("before")
            old_worker = shops.worker("before")
            assert (await buy(old, "before the update"))[0] == 201

            # The update: migrated first, then one process after another.
            assert manage("migrate", "--verbosity", "0", **environment).returncode == 0
            second, new = await shops.web("today")
            new_worker = shops.worker("today")
            for number in range(6):
                for url in (old, new):
                    assert (await buy(url, f"{url} {number}"))[0] == 201
            # The same attempt through the other version finds the same order, whoever has signed the shopper in.
            for one, other in ((old, new), (new, old)):
                cookie = await sign_in(one, f"from {one}")
                code, told = await buy(one, f"from {one}", cookie)
                again, told_again = await buy(other, f"from {one}", cookie)
                assert (code, again) == (201, 200)
                assert told["data"]["_id"] == told_again["data"]["_id"]

            async def follow(description: str, **expected: Any) -> None:
                async def both() -> bool:
                    found = [await status(url) for url in (old, new)]
                    return all(one[name] == value for one in found for name, value in expected.items())

                await eventually(both)

            # Whoever saves, through whichever version, is followed by both.
            save(BASE_DIR, environment, stock=60)
            await follow("today's save", totalStock=60)
            save(checkout, environment, stock=70)
            await follow("the save of before", totalStock=70)
            save(checkout, environment, paused=True)
            await follow("a pause", phase="paused")
            save(BASE_DIR, environment, paused=False)
            await follow("its end", phase="active")

            shops.processes.stop(first)
            shops.processes.stop(old_worker)
            assert (await buy(new, "after the update"))[0] == 201

            # And back, with what today's version has written.
            _, back = await shops.web("before")
            shops.worker("before")
            assert (await buy(back, "during the roll back"))[0] == 201
            assert (await buy(new, "during the roll back, too"))[0] == 201
            shops.processes.stop(second)
            shops.processes.stop(new_worker)
            assert (await buy(back, "after the roll back"))[0] == 201

            with MongoClient[dict[str, Any]](environment["MONGODB_URL"]) as client:
                names = client.get_default_database()["orders"].distinct("name", {"status": "completed"})
            assert {
                "before the update",
                f"from {old}",
                f"from {new}",
                "after the update",
                "after the roll back",
            } <= set(names)

            async def holds() -> bool:
                return manage("audit_sale", "running", **environment).returncode == 0

            await eventually(holds, 20)
        finally:
            shops.processes.stop_all()


def test_the_version_before_is_the_newest_one_recorded() -> None:
    assert BEFORE in {path.stem for path in RELEASES.glob("*.json")}
