"""A purchase rehearsed at the gate: the shop's own scripts, on a sale that no ledger knows and that is gone at once."""

from __future__ import annotations

import contextlib
import secrets
from datetime import UTC, datetime, timedelta

from redis.exceptions import NoPermissionError, ResponseError

from flashdrop.primaries import Primary
from flashdrop.redis_client import Gate, RedisError
from orders.doctor.finding import Notes
from sales import stock
from sales.gate import Verdict, Wish
from sales.keys import sale_keys
from sales.published import PublishedSale

# Should this process die half-way, nothing is left for long.
LEFT_SECONDS = 30
TRIES = 1000
WHY = (
    ("NOREPLICAS", "bring its replicas back, or lower `min-replicas-to-write`"),
    ("OOM", "`CONFIG SET maxmemory <more>`"),
    ("command not allowed when used memory", "`CONFIG SET maxmemory <more>`"),
    ("MISCONF", "free the disk of the server's `dir`"),
    ("READONLY", "point REDIS_URL at the primary"),
)
# How servers since 7.0 say that a script calls what its user may not.
DENIED = ("permission", "can't run this command", "can't access", "ACL failure")
ALLOW = "`ACL SETUSER <the shop's user> on ~flashdrop:* +@all -@dangerous +info`"


async def check(primary: Primary, notes: Notes) -> None:
    """Publish a sale, reserve, confirm and release its unit, and remove it; note what the server refused.

    Raises:
        redis.exceptions.RedisError: the server stopped answering.
    """
    name = "scripts"
    try:
        verdict = await _rehearse(primary.client, _sale_at(primary))
    except ResponseError as error:
        text = str(error)
        return notes.at_risk(
            name, f"a rehearsed purchase is refused: {text}; so is every real one (promise 8)", _advice(error)
        )
    if verdict is not Verdict.GRANTED:
        return notes.at_risk(
            name,
            f"a rehearsed purchase was answered {verdict.name}, not GRANTED: something else removes the gate's keys, "
            "or the clock of this host or of the server is far off (promise 7)",
            "see the clocks and maxmemory-policy here; let no other program write keys that begin with flashdrop:",
        )
    return notes.ok(name, "a rehearsed purchase was reserved, confirmed and released")


async def _rehearse(client: Gate, sale: PublishedSale) -> Verdict:
    keys = sale_keys(sale.id)
    try:
        await stock.publish(client, sale, create=True)
        (answer,) = await stock.reserve(client, sale.id, sale.epoch, [Wish("o-1", "shopper", 1, False, "")])
        for key in keys:
            await client.expire(key, LEFT_SECONDS)
        if answer.reservation is not None:
            await stock.confirm(client, sale.id, [answer.reservation.entry_id])
        await stock.release(client, sale.id, [("shopper", "o-1")])
    finally:
        with contextlib.suppress(RedisError):
            await client.delete(*keys)
    return answer.verdict


def _sale_at(primary: Primary) -> PublishedSale:
    """A sale with an id that is served by `primary`, open for days either way, whatever the clocks say."""
    ids = (f"doctor-{secrets.token_hex(8)}" for _ in range(TRIES))
    sale_id = next((one for one in ids if primary.serves(sale_keys(one).sale)), "doctor")
    now = datetime.now(UTC)
    return PublishedSale(
        id=sale_id,
        sku=sale_id,
        name="Rehearsal",
        description="",
        image_url="",
        price_minor=1,
        currency="EUR",
        stock=1,
        limit_per_shopper=1,
        opens_at=now - timedelta(days=3650),
        closes_at=now + timedelta(days=3650),
        guests_allowed=False,
        paused=False,
        published=True,
        version=1,
        epoch=1,
        available=1,
        highest_stock=1,
        highest_limit=1,
    )


def _advice(error: ResponseError) -> str:
    if isinstance(error, NoPermissionError) or any(word in str(error) for word in DENIED):
        return ALLOW
    found = next((advice for word, advice in WHY if word in str(error)), None)
    return found or "let the shop's user run scripts: EVALSHA, SCRIPT LOAD and what lua/*.lua call"
