"""How a sale stands, in one word, for lists and headings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q

from flashdrop import loops
from flashdrop.mongo_client import within
from flashdrop.redis_client import RedisError, redis
from sales import stock
from sales.desk import words
from sales.gate import Levels
from sales.models import Sale

log = logging.getLogger(__name__)
# A list must not wait for a store that is away.
LEVELS_SECONDS = 1.5


class State(NamedTuple):
    """`key` names the badge's colour; `detail` says when it changes next, empty when it doesn't by itself."""

    key: str
    label: str
    detail: str
    changes_at: datetime | None = None


def state_of(sale: Sale, now: datetime, levels: Levels | None = None) -> State:
    """The state of the row; without `levels` nobody knows whether it is sold out, or stopped by a brake."""
    if levels is not None and levels.brake is not None and sale.published and now < sale.closes_at:
        return State("paused", "paused", "by the emergency brake")
    if sale.needs_publishing:
        return State("waiting", "waiting to be published", "shoppers see it as it was")
    if not sale.published:
        return State("withdrawn", "withdrawn", "") if sale.version else State("draft", "draft", "")
    if now >= sale.closes_at:
        return State("over", "over", "")
    if now < sale.opens_at:
        return State("scheduled", "scheduled", f"opens in {words.duration(sale.opens_at - now)}", sale.opens_at)
    closes = f"closes in {words.duration(sale.closes_at - now)}"
    is_paused = levels.is_stopped if levels is not None and levels.loaded else sale.paused
    if is_paused:
        return State("paused", "paused", closes, sale.closes_at)
    if levels is not None and levels.loaded and levels.available <= 0:
        return State("sold-out", "sold out", closes, sale.closes_at)
    return State("open", "open", closes, sale.closes_at)


def levels_of(sales: Sequence[Sale]) -> dict[str, Levels] | None:
    """What the gate has of each sale, by id, in one round trip for all; None when it can't be asked in time."""
    ids = [sale.pk for sale in sales if sale.version]
    if not ids:
        return {}
    try:
        _, found = loops.run(lambda: within(LEVELS_SECONDS, stock.levels(redis(), ids)))
    except (RedisError, TimeoutError) as error:
        log.warning("the gate can't be asked for the levels of %d sales: %s", len(ids), error)
        return None
    return dict(zip(ids, found, strict=True))


def when(name: str, now: datetime) -> Q:
    """The rows that one of the list's quick filters shows: running, upcoming, past, drafts, withdrawn."""
    shown = Q(published=True)
    return {
        "running": shown & Q(opens_at__lte=now, closes_at__gt=now),
        "upcoming": shown & Q(opens_at__gt=now),
        "past": shown & Q(closes_at__lte=now),
        "drafts": Q(published=False, version=0),
        "withdrawn": Q(published=False, version__gt=0),
    }[name]
