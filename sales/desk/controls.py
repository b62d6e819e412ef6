"""Steering a sale while it runs: what each control does to it, and when it is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser

from sales import backoffice
from sales.desk import braking, journal, outcome, words
from sales.desk.outcome import Outcome
from sales.models import EARLIEST, LATEST, MAX_STOCK, OUT_OF_RANGE, Sale

# Tries to save over colleagues who do the same.
ROUNDS = 5
TWICE = "That is done already: the button was pressed twice."


class Action(StrEnum):
    """What can be done to a sale while it runs."""

    PAUSE = "pause"
    RESUME = "resume"
    CLOSE = "close"
    EXTEND = "extend"
    END_AT = "end-at"
    RAISE = "raise"
    LOWER = "lower"
    SET_STOCK = "set-stock"
    WITHDRAW = "withdraw"
    SHOW_AGAIN = "show-again"


NEEDS_REASON = frozenset({Action.CLOSE, Action.RAISE, Action.LOWER, Action.SET_STOCK, Action.WITHDRAW})
# Done to a sale that is over as well.
AFTER_THE_END = frozenset({Action.EXTEND, Action.END_AT, Action.WITHDRAW, Action.SHOW_AGAIN})
DONE = {
    Action.PAUSE: "Paused",
    Action.RESUME: "Resumed",
    Action.CLOSE: "Closed",
    Action.EXTEND: "End moved",
    Action.END_AT: "End moved",
    Action.RAISE: "Stock raised",
    Action.LOWER: "Stock lowered",
    Action.SET_STOCK: "Stock set",
    Action.WITHDRAW: "Withdrawn",
    Action.SHOW_AGAIN: "Shown again",
}


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants done.

    `units` for the stock (by how many, or to how many), `minutes` or `at` for the end. `seen` is the value that they
    had in front of them when they chose a new one outright, as `seen_now` writes it. `token` tells submissions apart.
    """

    action: Action
    units: int = 0
    minutes: int = 0
    at: datetime | None = None
    seen: str = ""
    reason: str = ""
    token: str = ""


class Refused(Exception):
    """Says in words why nothing was done, and what to do instead."""


class AlreadySo(Exception):
    """There was nothing to do."""


Taken = Callable[[], int]


def seen_now(sale: Sale, action: Action) -> str:
    """The value that `action` replaces; empty where it acts on whatever it finds."""
    if action is Action.SET_STOCK:
        return str(sale.stock)
    return sale.closes_at.isoformat() if action is Action.END_AT else ""


def needs_reason(sale: Sale, ask: Ask) -> bool:
    """Whether the log must say why: for what takes something away from shoppers, or changes what is on sale."""
    return ask.action in NEEDS_REASON or (
        ask.action is Action.END_AT and ask.at is not None and ask.at < sale.closes_at
    )


def plan(sale: Sale, ask: Ask, now: datetime, taken: Taken, *, is_stopped: bool | None = None) -> dict[str, Any]:
    """The settings that `ask` changes, with their new values. `taken` is asked only when the stock goes down.

    `is_stopped` is whether the gate refuses everybody, whatever was saved here; None when that isn't known.

    Raises:
        Refused: it can't be done to this sale now.
        AlreadySo: the sale is like that already.
        LedgerAway: by `taken`, when nobody can say.
    """
    action = ask.action
    if not sale.version and not sale.published:
        raise Refused("This sale is a draft that nobody sees. Publish it in Settings first.")
    if action is Action.SHOW_AGAIN:
        if sale.published:
            raise AlreadySo("The sale is on show already.")
        return {"published": True}
    if not sale.published:
        raise (AlreadySo if action is Action.WITHDRAW else Refused)("This sale is withdrawn: shoppers don't see it.")
    if action is Action.WITHDRAW:
        return {"published": False}
    if now >= sale.closes_at and action not in AFTER_THE_END:
        wording = AlreadySo if action is Action.CLOSE else Refused
        raise wording(f"This sale is over since {words.moment(sale.closes_at)}. Move its end first to go on selling.")
    if ask.seen and ask.seen != seen_now(sale, action):
        raise Refused(_somebody_was_quicker(sale))
    if action in (Action.PAUSE, Action.RESUME):
        wanted = action is Action.PAUSE
        if sale.paused is wanted and is_stopped is wanted:
            raise AlreadySo("The sale is paused already." if wanted else "The sale is not paused.")
        return {"paused": wanted}
    if action is Action.CLOSE:
        if now <= sale.opens_at:
            raise Refused("This sale has not opened yet. Withdraw it, or move its window in Settings.")
        return {"closes_at": now}
    if action in (Action.EXTEND, Action.END_AT):
        return {"closes_at": _new_end(sale, ask, now)}
    return {"stock": _new_stock(sale, ask, taken)}


def carry_out(sale: Sale, ask: Ask, user: AbstractBaseUser | AnonymousUser, now: datetime) -> Outcome:
    """Do it to the sale as it is now, write it down, and put it in force. Outside of any transaction.

    One submission is done once, however often it is sent. A pause begins at the gate, before anything is saved.

    Raises:
        Refused, AlreadySo: nothing was done.
        LedgerAway: nothing was done, because nobody can say how many units are taken.
    """
    brake, pulled = None, None
    if ask.action is Action.PAUSE:
        if journal.was_noted(sale, ask.token):
            raise AlreadySo(TWICE)
        plan(sale, ask, now, lambda: 0, is_stopped=braking.is_stopped(sale))
        pulled = braking.pull(sale, user.get_username())
        brake = pulled.brake if pulled else None
    elif ask.action is Action.RESUME:
        brake = braking.standing(sale)
    is_stopped = brake is not None if ask.action is Action.RESUME else False
    for _ in range(ROUNDS):
        sale = Sale.objects.get(pk=sale.pk)
        if journal.was_noted(sale, ask.token):
            raise AlreadySo(TWICE)
        before = sale.settings()
        # Before the row is locked: this may ask the stores.
        taken = partial(backoffice.units_taken, sale)
        for name, value in plan(sale, ask, now, taken, is_stopped=is_stopped).items():
            setattr(sale, name, value)
        with backoffice.unchanged(sale.pk, before) as is_unchanged:
            if is_unchanged and not journal.was_noted(sale, ask.token):
                backoffice.save(sale, released=brake)
                changes = journal.changes_between(before, sale.settings())
                journal.note(user, sale, DONE[ask.action], changes, ask.reason, token=ask.token)
                break
    else:
        raise Refused(_somebody_was_quicker(sale))
    found = outcome.publish(sale, user)
    return outcome.braked(found, pulled) if pulled else found


def _new_end(sale: Sale, ask: Ask, now: datetime) -> datetime:
    if ask.action is Action.EXTEND:
        begin = max(sale.closes_at, now)
        if begin >= LATEST:
            raise Refused(f"The sale ends at {words.moment(sale.closes_at)} already. Choose an end of your own.")
        return begin + timedelta(minutes=ask.minutes)
    if ask.at is None:
        raise Refused("Give the date and time at which the sale shall end.")
    if ask.at == sale.closes_at:
        raise AlreadySo("The sale ends then already.")
    if not EARLIEST <= ask.at < LATEST:
        raise Refused(OUT_OF_RANGE)
    if ask.at <= max(now, sale.opens_at):
        past = "already past" if ask.at <= now else "before the sale opens"
        raise Refused(f"{words.moment(ask.at)} is {past}. Choose a later end, or close the sale now.")
    return ask.at


def _new_stock(sale: Sale, ask: Ask, taken: Taken) -> int:
    by = {Action.RAISE: ask.units, Action.LOWER: -ask.units}
    wanted = sale.stock + by[ask.action] if ask.action in by else ask.units
    if wanted == sale.stock:
        raise AlreadySo(f"The stock is {sale.stock:,} already.")
    if wanted > MAX_STOCK:
        raise Refused(f"A sale has at most {MAX_STOCK:,} units.")
    if wanted < sale.stock:
        gone = taken()
        if wanted < gone:
            raise Refused(
                f"{words.units(gone)} {'is' if gone == 1 else 'are'} sold or reserved already, so the stock can't go "
                f"below {gone:,}. To stop selling, pause or close the sale."
            )
    if wanted < 1:
        raise Refused("A sale needs at least one unit. To stop selling, pause or close the sale.")
    return wanted


def _somebody_was_quicker(sale: Sale) -> str:
    said = "Somebody changed this sale while you were looking, so nothing was done."
    latest = journal.entries(sale, limit=1)
    if latest and latest[0].changes:
        changes = ", ".join(
            f"{change.field_label} from {change.before} to {change.after}" for change in latest[0].changes
        )
        said += f" {latest[0].by}: {changes}" + (f" (“{latest[0].reason}”)." if latest[0].reason else ".")
    return f"{said} Look at the figures below and decide again."
