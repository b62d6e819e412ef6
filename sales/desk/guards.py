"""What has to be said, and answered, before a change is made to a sale: the same at every door to it.

Control asks about one deed at a time; the form of the settings may hold several. Both say what will happen in the same
words, and ask for the same reasons. A command asks as well (`manage.py publish_sale`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from copy import copy
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from sales.desk import advice, consequences, controls, words
from sales.desk.controls import Action, Ask
from sales.desk.standing import Standing
from sales.models import Sale
from sales.published import SaleSettings


@dataclass(frozen=True, slots=True)
class Question:
    """`consequences` is what will happen, `warnings` what may be a slip.

    `key` is the same for the same question about the same change: an answer to it is no answer to another one.
    """

    consequences: tuple[str, ...]
    warnings: tuple[str, ...]
    needs_reason: bool
    key: str


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that a change of the settings does: an action of Control's with its values, or another `field`."""

    name: str
    ask: Ask | None = None
    values: dict[str, Any] | None = None


def deeds(before: Sale, after: SaleSettings, now: datetime) -> list[Deed]:
    """What saving `after` does to a sale that shoppers know of. Nothing for a draft, and for what is over."""
    if not before.version and not before.published:
        return []
    if before.published != after.published:
        action = Action.SHOW_AGAIN if after.published else Action.WITHDRAW
        return [Deed(action, Ask(action), {"published": after.published})]
    if not before.published or now >= max(before.closes_at, after.closes_at):
        return []
    found = []
    if before.paused != after.paused:
        action = Action.PAUSE if after.paused else Action.RESUME
        found.append(Deed(action, Ask(action), {"paused": after.paused}))
    if before.stock != after.stock:
        ask = Ask(Action.SET_STOCK, units=after.stock)
        found.append(Deed(Action.SET_STOCK, ask, {"stock": after.stock}))
    if before.closes_at != after.closes_at:
        ask = Ask(Action.END_AT, at=after.closes_at)
        found.append(Deed(Action.END_AT, ask, {"closes_at": after.closes_at}))
    others = ("price_minor", "limit_per_shopper", "opens_at", "guests_allowed")
    found += [Deed(name) for name in others if getattr(before, name) != getattr(after, name)]
    return found


def question(before: Sale, after: Sale, look: Callable[[], Standing]) -> Question | None:
    """What to ask before `before` becomes `after`; None when nothing needs an answer.

    `look` asks the stores how the sale stands; only where shoppers would notice.
    """
    now, settings = timezone.now(), after.settings()
    done = deeds(before, settings, now)
    if not done:
        return _asked(before.settings(), settings, [], advice.unanswered(after, now, before.settings()), False)
    standing = look()
    now = standing.now
    is_running = before.published and before.opens_at <= now < before.closes_at
    said: list[str] = []
    for deed in done:
        if deed.ask is not None and deed.values is not None:
            subject = copy(after)  # what else is changed with it counts already
            for name in deed.values:
                setattr(subject, name, getattr(before, name))
            said += consequences.consequences(subject, deed.ask.action, deed.values, standing)
        else:
            said += _setting(before.settings(), settings, deed.name, is_running)
    if any(deed.ask is None for deed in done):
        said += consequences.stores_away(standing)
    needs_reason = any(controls.needs_reason(before, deed.ask) if deed.ask is not None else is_running for deed in done)
    warnings = advice.unanswered(after, now, before.settings())
    return _asked(before.settings(), settings, said, warnings, needs_reason)


def question_for_new(sale: Sale, now: datetime) -> Question | None:
    """What to ask before `sale` is added; None when nothing needs an answer."""
    return _asked(None, sale.settings(), [], advice.unanswered(sale, now, None), False)


def _asked(
    before: SaleSettings | None,
    after: SaleSettings,
    said: list[str],
    warnings: list[advice.Warning],
    needs_reason: bool,
) -> Question | None:
    if not said and not warnings:
        return None
    settled = [asdict(before) if before else None, {**asdict(after), "id": ""}]
    about = [settled, [warning.key for warning in warnings], needs_reason]
    key = hashlib.sha256(json.dumps(about, default=str, sort_keys=True).encode()).hexdigest()[:32]
    # Several deeds may have the same thing to say, such as which store is away.
    return Question(tuple(dict.fromkeys(said)), tuple(warning.text for warning in warnings), needs_reason, key)


def _setting(before: SaleSettings, after: SaleSettings, name: str, is_running: bool) -> list[str]:
    was, becomes = words.field(before, name), words.field(after, name)
    at_once = "from the very next order on" if is_running else "from the opening on"
    if name == "price_minor":
        return [
            f"The price goes from {was} to {becomes}, {at_once}. Shoppers see it within a second.",
            "Orders that are placed already keep the price that they were placed at.",
        ]
    if name == "limit_per_shopper":
        return [
            f"One shopper may buy {becomes} instead of {was}, {at_once}.",
            "Those who have bought more already keep it.",
        ]
    if name == "guests_allowed":
        if after.guests_allowed:
            return [f"Guests may buy without a name, {at_once}."]
        return [f"Guests can't buy any more without giving a name, {at_once}. Their orders stand."]
    if is_running and after.opens_at > before.opens_at:
        return [f"The sale opens at {becomes} instead of {was}: until then nobody can buy. Orders stand."]
    return [f"The sale opens at {becomes} instead of {was}. Shoppers see the new time within a second."]
