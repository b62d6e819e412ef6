"""Stores filled with what a version has written (`record.py`), as it was or as another version might have."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bson import json_util
from pymongo import MongoClient
from redis import Redis

RELEASES = Path(__file__).resolve().parent
NEW = "next_version"


def recorded(release: str) -> dict[str, Any]:
    """What a release has written."""
    found: dict[str, Any] = json.loads((RELEASES / f"{release}.json").read_text(encoding="utf-8"))
    return found


def from_next_version(found: dict[str, Any]) -> dict[str, Any]:
    """The same with what only a version after this one knows: fields, members of lists, and words, everywhere."""
    for documents in found["ledger"].values():
        for document in documents:
            document[NEW] = {"of": "any shape"}
            for event in document.get("events", ()):
                event[NEW] = True
    collected = next(one for one in found["ledger"]["orders"] if "fulfilled_at" in one)
    collected["status"] = "handed_over"
    next(one for one in found["ledger"]["orders"] if one["status"] == "cancelled")["status"] = "refunded"
    found["gate"] = [[key, kind, _with_more(key, kind, value)] for key, kind, value in found["gate"]]
    # Of the back office's tables the columns, each with a value for whoever does not name it.
    found["back_office"] += f"\nALTER TABLE sales_sale ADD COLUMN {NEW} integer NOT NULL DEFAULT 7;"
    found["back_office"] += (
        "\nUPDATE django_admin_log SET change_message ="
        f""" replace(change_message, '"desk": {{', '"desk": {{"{NEW}": 1, ');"""
    )
    return found


def _with_more(key: str, kind: str, value: Any) -> Any:
    if kind == "stream":
        return [
            [entry, fields | {NEW: "1", "context": json.dumps([*json.loads(fields["context"]), NEW])}]
            for entry, fields in value
        ]
    if key.endswith(":rehearsal"):
        record = json.loads(value)
        return json.dumps(
            record | {NEW: 1, "plan": record["plan"] | {NEW: 1}, "steps": [step | {NEW: 1} for step in record["steps"]]}
        )
    if key.endswith(":shoppers"):
        return {shopper: f"{orders} {NEW}" for shopper, orders in value.items()}
    return value | {NEW: "1"} if kind == "hash" else value


@contextmanager
def filled(found: dict[str, Any], name: str, folder: Path) -> Iterator[dict[str, str]]:
    """Put it into stores of its own beside the suite's; the value is the environment of a shop over them."""
    servers = os.environ["REDIS_URL"].rpartition("/")[0], os.environ["MONGODB_URL"].replace("/flashdrop?", f"/{name}?")
    environment = {
        "REDIS_URL": f"{servers[0]}/7",
        "MONGODB_URL": servers[1],
        "DATABASE_URL": f"sqlite:///{folder}/{name}.sqlite3",
    }
    gate = Redis.from_url(environment["REDIS_URL"], decode_responses=True)
    with MongoClient[dict[str, Any]](environment["MONGODB_URL"]) as client:
        try:
            _fill_ledger(client.get_default_database(), found["ledger"])
            _fill_gate(gate, found["gate"])
            with sqlite3.connect(folder / f"{name}.sqlite3") as database:
                database.executescript(found["back_office"])
            database.close()
            yield environment
        finally:
            client.drop_database(name)
            gate.flushdb()
            gate.close()


def _fill_ledger(database: Any, collections: dict[str, Any]) -> None:
    for name, documents in collections.items():
        if documents:
            database[name].insert_many(json_util.loads(json.dumps(documents)))


def _fill_gate(gate: Redis, keys: list[list[Any]]) -> None:
    gate.flushdb()
    for key, kind, value in keys:
        match kind:
            case "string":
                gate.set(key, value)
            case "hash":
                gate.hset(key, mapping=value)
            case "zset":
                gate.zadd(key, dict(value))
            case "stream":
                for entry, fields in value:
                    gate.xadd(key, fields, id=entry)
        if kind == "hash" and "run_id" in value:
            # As if the server had run on: the gate is used as it stands, not rebuilt.
            gate.hset(key, "run_id", gate.info("server")["run_id"])
