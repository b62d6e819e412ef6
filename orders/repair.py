"""Repair: what an audit found broken, made good where that is safe, by the same functions as the worker's.

No order in the ledger is ever deleted or edited: where the ledger itself breaks promise 1 or 2, a person must decide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from flashdrop.redis_client import redis
from orders.audit import Audit, Evidence, audit
from orders.rebuild import RebuildImpossible, rebuild
from orders.recovery import finish_pending
from orders.worker import GRACE_SECONDS
from sales import catalogue, publishing, stock
from sales.brakes import Keeper
from sales.published import PublishedSale

# One step can bring the next to light: a pending order that the ledger refuses stops the gate.
MAX_ROUNDS = 3
NAMED = 5


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, in words, and how. Doing it twice is harmless."""

    what: str
    do: Callable[[PublishedSale], Awaitable[object]]


def plan(found: Audit) -> list[Step]:
    """What would be done about `found`, in this order; nothing when there is nothing that is safe and useful."""
    evidence, steps = found.evidence, []
    reasons = [] if _is_unguarded(evidence) else _reasons_to_rebuild(found)
    if evidence.overdue and not _is_unguarded(evidence):
        named = ", ".join(list(evidence.overdue)[:NAMED])
        more = ", ..." if len(evidence.overdue) > NAMED else ""
        what = f"finish {len(evidence.overdue)} pending orders older than {GRACE_SECONDS:.0f} s: {named}{more}"
        steps.append(Step(what, _finish_overdue))
    if reasons:
        steps.append(Step(f"rebuild the gate: {'; '.join(reasons)}", rebuild))
    elif evidence.levels.loaded and evidence.levels.version < found.sale.version:
        what = f"put version {found.sale.version} in force at the gate, which has {evidence.levels.version}"
        steps.append(Step(what, publishing.put_in_force))
    available = _available(found, is_gate_believed=not reasons)
    has_figures = reasons or evidence.levels.loaded or found.sale.archived_at is not None
    if available != found.sale.available and has_figures:
        steps.append(Step(f"correct sales.available from {found.sale.available} to {available}", _note_available))
    return steps


async def repair(sale: PublishedSale) -> list[str]:
    """Do what `plan` says until it says nothing more, a few times at most. Returns a line for each step.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store is away; what was done stays done.
    """
    told: list[str] = []
    for _ in range(MAX_ROUNDS):
        found = await audit(sale)
        steps = plan(found)
        if not steps:
            break
        if found.evidence.unguarded is not None:
            return [*told, f"not done: {found.evidence.unguarded}; see `manage.py doctor`"]
        await Keeper().look_at_ledger()
        for step in steps:
            current = await catalogue.get(sale.id) or sale
            try:
                await step.do(current)
            except RebuildImpossible as error:
                told.append(f"not done: {step.what} ({error})")
                break
            told.append(f"done: {step.what}")
    return told


def _is_unguarded(evidence: Evidence) -> bool:
    """Whether the unique indexes can't be in place: then no order may be written, and a rebuild may write some."""
    taken: set[tuple[str, int]] = set()
    for shopper_id, _, _, slots in evidence.sold.values():
        mine = {(shopper_id, slot) for slot in slots}
        if taken & mine:
            return True
        taken |= mine
    return bool(evidence.double)


def _reasons_to_rebuild(found: Audit) -> list[str]:
    evidence, levels = found.evidence, found.evidence.levels
    if not levels.loaded:
        return ["it is not loaded"] if found.sale.archived_at is None or evidence.pending else []
    forgotten = f"it has forgotten {len(evidence.forgotten) or evidence.drift.forgotten} orders or units"
    stranded = f"it strands {len(evidence.stranded) or evidence.drift.stranded} orders or units"
    return [
        reason
        for holds, reason in (
            (levels.epoch != found.sale.epoch, f"it has epoch {levels.epoch}, the ledger {found.sale.epoch}"),
            (levels.run_id != evidence.run_id, "its server was started again since it was loaded"),
            (bool(evidence.forgotten or evidence.drift.forgotten), forgotten),
            (bool(evidence.stranded or evidence.drift.stranded), stranded),
        )
        if holds
    ]


def _available(found: Audit, *, is_gate_believed: bool) -> int:
    if is_gate_believed and found.evidence.levels.loaded:
        return found.evidence.levels.available
    sold = {unit for _, _, units, _ in found.evidence.sold.values() for unit in units}
    return max(0, found.sale.stock - len(sold) - found.evidence.open_units)


async def _finish_overdue(sale: PublishedSale) -> None:
    now, _ = await stock.levels(redis(), [])
    await finish_pending(sale, before=now - timedelta(seconds=GRACE_SECONDS))


async def _note_available(sale: PublishedSale) -> None:
    """The gate's figure, which may have changed since the plan was made; a gate that is not loaded says nothing."""
    _, (levels,) = await stock.levels(redis(), [sale.id])
    if levels.loaded:
        await catalogue.set_available(sale.id, levels.available)
