"""The ledger's indexes: without them nothing is sold."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from pymongo import IndexModel

from flashdrop.loops import PerLoop
from flashdrop.mongo_client import Document, PyMongoError, mongo
from flashdrop.supervised import Loop
from orders import documents, ledger
from sales import catalogue
from sales.board import board
from sales.doubts import Doubt

LOOK_SECONDS = 1.0
FIRST_WAIT_SECONDS = 2.0
log = logging.getLogger(__name__)


# What an index may not differ in: each of these changes what it refuses.
DECIDES = ("unique", "partialFilterExpression", "sparse", "collation", "expireAfterSeconds")


async def ensure_indexes() -> None:
    """Create what is missing, in both collections. For people: over a ledger that has lost orders it hides the loss.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be reached, or what it holds breaks an index.
    """
    await catalogue.ensure_indexes()
    await ledger.ensure_indexes()


async def unguarded() -> str | None:
    """What the ledger lacks that makes overselling impossible, in words; None when every unique index is in place.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be asked.
    """
    orders, sales = await ledger.indexes(), await catalogue.indexes()
    wrong = [*_wrong("orders", documents.INDEXES, orders), *_wrong("sales", catalogue.INDEXES, sales)]
    return f"the ledger has lost what keeps it from selling twice: {'; '.join(wrong)}" if wrong else None


def _wrong(name: str, wanted: Sequence[IndexModel], there: list[Document]) -> list[str]:
    """Each unique index that is missing or refuses something else; under whatever name."""
    found = []
    for model in (model.document for model in wanted if model.document.get("unique")):
        same = [index for index in there if keys_of(index) == keys_of(model)]
        if not any(not differences(model, index) for index in same):
            found.append(f"{name}.{model['name']} {'is not as it should be' if same else 'is missing'}")
    return found


def differences(wanted: dict[str, Any], found: Document) -> list[str]:
    """In what an index differs from the one that is wanted, in words."""
    told = []
    if keys_of(wanted) != keys_of(found):
        told.append(f"its keys are {_shown(found)}, not {_shown(wanted)}")
    for option in DECIDES:
        if (wanted.get(option) or None) != (found.get(option) or None):
            told.append(f"{option} is {found.get(option, 'not set')}, not {wanted.get(option, 'unset')}")
    return told


def keys_of(index: dict[str, Any]) -> list[tuple[str, Any]]:
    """Its fields, each with its direction."""
    return [(field, int(way) if isinstance(way, float) else way) for field, way in index["key"].items()]


def _shown(index: dict[str, Any]) -> str:
    return "(" + ", ".join(f"{field} {way}" for field, way in keys_of(index)) + ")"


async def prepare() -> str | None:
    """Create the indexes of a new ledger, and say what is wrong with one that isn't.

    A unique index that is missing beside sales or orders was lost, perhaps with orders: only a person may put it back.

    Raises:
        pymongo.errors.PyMongoError: the ledger can't be reached.
    """
    problem = await unguarded()
    if problem is not None and (await ledger.holds_orders() or await catalogue.holds_sales()):
        return f"{problem}. Restore the ledger, or see `manage.py doctor`"
    await ensure_indexes()
    return None


class Unguarded(PyMongoError):
    """No order may be written: the ledger would take one twice."""


class IndexGuard:
    """Looks at the indexes all the time, and closes the board while one is missing; `is_ready` says how it stands.

    A ledger that can't be asked leaves it as it was: orders wait for it then.
    """

    def __init__(self) -> None:
        mongo()  # made first, so that it is closed last
        self.is_ready = False
        self._first = asyncio.Event()
        self._loop = Loop("index_guard", self._look)

    async def _look(self) -> None:
        try:
            # Made once; what is lost afterwards is not put back behind anybody's back.
            self._note(await unguarded() if self._first.is_set() else await prepare())
        except PyMongoError as error:
            log.warning("the ledger can't be asked for its indexes: %s", str(error)[:200])
        await asyncio.sleep(LOOK_SECONDS)

    def _note(self, problem: str | None) -> None:
        self.is_ready = problem is None
        self._first.set()
        board().doubts.note(Doubt.INDEXES, problem)

    async def wait(self) -> bool:
        """Whether the indexes are in place, after waiting a moment for the first look."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._first.wait(), FIRST_WAIT_SECONDS)
        return self.is_ready

    async def stop(self) -> None:
        await self._loop.stop()


index_guard: PerLoop[IndexGuard] = PerLoop(IndexGuard, IndexGuard.stop)


async def indexes_ready() -> bool:
    """Whether orders may be written."""
    guard = index_guard()
    return guard.is_ready or await guard.wait()
