"""MongoDB servers with a key file and passwords become one set, as containers do it: real servers, real accounts."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from flashdrop.config import BASE_DIR
from flashdrop.embedded.mongo_server import mongo_binary
from flashdrop.embedded.process import Server, free_port
from flashdrop.management.commands.initiate_mongodb import members_of
from flashdrop.replica_set import Account, SetUnavailable, Standing, ensure_set, ensure_user

ROOT_PASSWORD, SHOP_PASSWORD = secrets.token_hex(8), secrets.token_hex(8)
ROOT = Account("root", ROOT_PASSWORD)
START_SECONDS = 30
Start = Callable[[], str]


def answers(port: int) -> bool:
    try:
        with MongoClient[dict[str, Any]](
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=300
        ) as client:
            return bool(client.admin.command("ping")["ok"])
    except PyMongoError:
        return False


def mongod(folder: Path, port: int, *options: str) -> Server:
    folder.mkdir(exist_ok=True)
    command = [
        *(str(mongo_binary()), "--port", str(port), "--bind_ip", "127.0.0.1", "--dbpath", str(folder)),
        *("--wiredTigerCacheSizeGB", "0.25", "--nounixsocket", "--quiet"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    ]
    return Server("mongod", [*command, *options], folder / "server.log")


@pytest.fixture
def keyfile(tmp_path: Path) -> Path:
    path = tmp_path / "keyfile"
    path.write_text(secrets.token_hex(200))
    path.chmod(0o400)
    return path


@pytest.fixture
def member(tmp_path: Path, keyfile: Path) -> Iterator[Start]:
    """Start one more member and return its address; the first one has the root account, as MongoDB's image makes it."""
    servers: list[Server] = []

    def start() -> str:
        folder, port = tmp_path / f"mongod-{len(servers)}", free_port()
        if not servers:
            alone = mongod(folder, port)
            alone.wait_until(lambda: answers(port), START_SECONDS)
            with MongoClient[dict[str, Any]]("127.0.0.1", port, directConnection=True) as client:
                client.admin.command("createUser", "root", pwd=ROOT_PASSWORD, roles=["root"])
            alone.stop()
        servers.append(mongod(folder, port, "--replSet", "rs0", "--keyFile", str(keyfile)))
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.kill()


def shop_url(*hosts: str, password: str = SHOP_PASSWORD) -> str:
    return f"mongodb://shop:{password}@{','.join(hosts)}/flashdrop?authSource=admin&replicaSet=rs0"


def initiate(tmp_path: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "mongodb_password"
    file.write_text(ROOT_PASSWORD + "\n")
    command = [sys.executable, str(BASE_DIR / "manage.py"), "initiate_mongodb", "--root-password-file", str(file)]
    return subprocess.run(
        [*command, *arguments],
        env=os.environ | {"MONGODB_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_one_node_with_accounts_becomes_a_set_and_grows_to_three(member: Start, tmp_path: Path) -> None:
    first, nobody = member(), f"127.0.0.1:{free_port()}"
    # What is wrong is said in a sentence, and nothing was begun by it.
    with pytest.raises(SetUnavailable, match=f"{nobody} does not answer, and no set is begun before all do"):
        ensure_set("rs0", [first, nobody], ROOT, 0)
    with pytest.raises(SetUnavailable, match="refuses the administrator's name or password"):
        ensure_set("rs0", [first], Account("root", "wrong"), 20)

    made = initiate(tmp_path, shop_url(first))
    assert made.returncode == 0, made.stderr
    assert f"The set rs0 stands: {first}; {first} is the primary." in made.stdout
    assert "The account of MONGODB_URL was created" in made.stdout
    with MongoClient[dict[str, Any]](shop_url(first)) as client:
        shop = client.get_default_database()
        shop["probe"].insert_one({"_id": 1})
        shop["probe"].create_index("at")
        assert client.admin.command("replSetGetStatus")["members"][0]["name"] == first
        with pytest.raises(OperationFailure, match="not authorized"):
            client["elsewhere"]["probe"].insert_one({"_id": 1})
    # Again changes nothing; a new password of the shop is taken from its address.
    hosts = [first, member(), member()]
    assert ensure_set("rs0", [first], ROOT, 20) == Standing(first, ())
    assert not ensure_user(first, ROOT, shop_url(first))
    assert ensure_user(first, ROOT, shop_url(first, password="another"))

    assert ensure_set("rs0", hosts, ROOT, 30).primary == first
    with MongoClient[dict[str, Any]](shop_url(*hosts, password="another"), w=3, wTimeoutMS=10_000) as client:
        client.get_default_database()["probe"].insert_one({"_id": 2})
        assert {m["name"] for m in client.admin.command("replSetGetStatus")["members"]} == set(hosts)
    with pytest.raises(SetUnavailable, match="belongs to the set rs0, not to rs1"):
        ensure_set("rs1", hosts, ROOT, 0)


def test_the_command_needs_the_name_of_the_set(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="MONGODB_URL does not name the set"):
        members_of("mongodb://mongodb:27017/flashdrop", [])
    assert members_of("mongodb://a,b:2/flashdrop?replicaSet=rs0", []) == ("rs0", ["a:27017", "b:2"])
    assert members_of("mongodb://a/flashdrop?replicaSet=rs0", ["a:1", "c:1"]) == ("rs0", ["a:1", "c:1"])
