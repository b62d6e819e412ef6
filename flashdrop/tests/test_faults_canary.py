"""The suite fails when it should: with one guard taken out of the running processes, a fault turns red.

The guard is taken out from here: a `sitecustomize` module on the started processes' path changes one function once its
module is loaded. The product has no switch for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import BASE_DIR

AT_ONCE = 2
LONGEST_SECONDS = 120

HOOK = """
import importlib.abc, importlib.util, sys


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != {module!r}:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            take_out(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
"""

NO_UNIT_INDEX = """
def take_out(ledger):
    create = ledger.ensure_indexes

    async def without_the_guard():
        from pymongo.errors import OperationFailure

        try:
            await create()
            await ledger.orders_collection().drop_index("unit_sold_once")
        except OperationFailure:
            pass  # another process was first, or a unit is sold twice already

    async def as_if_all_were_there():
        return [model.document for model in ledger.INDEXES]

    ledger.ensure_indexes = without_the_guard
    ledger.indexes = as_if_all_were_there  # or nothing would be sold
"""

CHANGED_SCRIPT = """
def take_out(scripts):
    read = scripts.source

    def changed(name):
        text = read(name)
        if name == "reserve":
            assert text.count({before!r}) == 1
            text = text.replace({before!r}, {after!r})
        return text

    scripts.source = changed
"""

RANDOM_ORDER_ID = """
def take_out(placing):
    import secrets

    placing.order_id_for = lambda sale_id, shopper_id, key_digest: secrets.token_hex(12)
"""


FORGETFUL = """
def take_out(brakes):
    async def hold(self, levels, sales):
        pass

    brakes.Memory.hold = hold
"""
NOT_PAUSED = "not paused after Redis was flushed and MongoDB was back"


@dataclass(frozen=True)
class Guard:
    """A guard, how to take it out, and what must turn red then."""

    name: str
    module: str
    code: str
    fault: str
    turns_red: str


GUARDS = [
    Guard("unique unit index", "orders.ledger", NO_UNIT_INDEX, "redis-restored", "oversold"),
    Guard(
        "epoch check",
        "flashdrop.scripts",
        CHANGED_SCRIPT.format(before="if sale[1] ~= ARGV[1] then closed = NOT_READY\nelse", after=""),
        "redis-flushed",
        "untrue",
    ),
    Guard(
        "pending stream",
        "flashdrop.scripts",
        CHANGED_SCRIPT.format(before="  local mine = ", after="  redis.call('XDEL', KEYS[4], entry)\n  local mine = "),
        "mongodb-and-web-killed",
        "unkept",
    ),
    Guard("memory of brakes", "sales.brakes", FORGETFUL, "brake-without-mongodb", NOT_PAUSED),
    Guard("idempotent order id", "orders.placing", RANDOM_ORDER_ID, "web-worker-killed", "wrong_retries"),
]


@pytest.fixture(scope="module")
async def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any] | BaseException]:
    """What the suite says of each guard's fault without the guard, or why it says nothing."""
    places = asyncio.Semaphore(AT_ONCE)

    async def without(guard: Guard) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("canary")
        async with places:
            return await verdict_without(guard, folder)

    found = await asyncio.gather(*(without(guard) for guard in GUARDS), return_exceptions=True)
    return {guard.name: row for guard, row in zip(GUARDS, found, strict=True)}


async def verdict_without(guard: Guard, folder: Path) -> dict[str, Any]:
    (folder / "sitecustomize.py").write_text(guard.code + HOOK.format(module=guard.module))
    report = folder / "rows.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "flashdrop.faults", "--quick", "--only", guard.fault),
        *("--settle", "6", "--json", str(report)),
        cwd=BASE_DIR,
        env=os.environ | {"PYTHONPATH": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), LONGEST_SECONDS)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # what it has started ends with its parent
            await process.wait()
    assert report.exists(), output.decode()
    rows = json.loads(report.read_text())
    assert rows, output.decode()
    (row,) = rows
    assert process.returncode == 1, f"nothing turned red: {output.decode()}"
    found: dict[str, Any] = row
    return found


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_without_a_guard_a_fault_turns_red(verdicts: dict[str, dict[str, Any] | BaseException], guard: Guard) -> None:
    row = verdicts[guard.name]
    if isinstance(row, BaseException):
        raise row
    assert guard.turns_red in row["broken"], row
