"""The one module that builds Redis keys.

All keys of a sale share the hash tag `{<sale id>}`, so that a cluster keeps them on one shard and one script may touch
them together.
"""

from __future__ import annotations

from typing import NamedTuple


class SaleKeys(NamedTuple):
    """The keys of one sale's gate."""

    sale: str
    """hash: live settings (`epoch`, `version`, `stock`, `limit`, ...) and the counters `next` and `issued`."""
    shoppers: str
    """hash: shopper id to that shopper's reservations, `<order id> <units> <slots> <stream id>` joined by `;`."""
    returned: str
    """sorted set: units below `next` that are free again; the score is the unit."""
    pending: str
    """stream: reservations whose order is not known to be in the ledger; the write-ahead log."""


def sale_keys(sale_id: str) -> SaleKeys:
    """The keys of the sale `sale_id`."""
    tag = f"flashdrop:{{{sale_id}}}"
    return SaleKeys(f"{tag}:sale", f"{tag}:shoppers", f"{tag}:returned", f"{tag}:pending")


def aside(keys: SaleKeys, epoch: int) -> tuple[str, str]:
    """Where a rebuild under `epoch` puts `shoppers` and `returned` together; expire by themselves."""
    return f"{keys.shoppers}:{epoch}", f"{keys.returned}:{epoch}"


def rebuilding_key(sale_id: str) -> str:
    """string: held by whoever rebuilds the sale's gate; expires by itself."""
    return f"{sale_keys(sale_id).sale}:rebuilding"


def told_key(sale_id: str, minute: int) -> str:
    """hash: what shoppers were told in one minute since the epoch, `<second of it>:<outcome>` to a count; expires."""
    return f"flashdrop:{{{sale_id}}}:told:{minute}"


def told_in_all_key(sale_id: str) -> str:
    """hash: what shoppers were told in the whole sale, outcome to a count; expires."""
    return f"flashdrop:{{{sale_id}}}:told"


def tried_key(sale_id: str) -> str:
    """HyperLogLog: ids of the shoppers who tried to buy; expires."""
    return f"flashdrop:{{{sale_id}}}:tried"


WHOLE_SHOP = "whole-shop"
"""Stands for a sale's id in `told_key` where no sale is known yet; no sale has it."""


def probe_key(sale_id: str) -> str:
    """string: written to learn whether the server of this sale takes writes; expires."""
    return f"flashdrop:{{{sale_id}}}:probe"


PUBLISHED_SALES = "flashdrop:sales"
"""hash: sale id to sku, of every sale that the ledger must have: what was ever published, and is not archived."""

GATE_NAME = "flashdrop:gate"
"""string: a name that the gate was given when its workers first saw it; with its data it has lost this too."""

WORKER_ALIVE = "flashdrop:worker:alive"
"""string: when a worker last looked at the gate, ms since the epoch, whatever the ledger does; expires by itself."""

WORKER_HEARTBEAT = "flashdrop:worker:heartbeat"
"""string: when a worker last completed a round, ms since the epoch; expires by itself."""

ENDED_SESSIONS = "flashdrop:sessions:ended"
"""stream: browser sessions that were signed out, `session` to the id; the newest, and gone a cookie's life after the
last."""

REHEARSAL_UNDER_WAY = "flashdrop:rehearsal"
"""string: the id of the rehearsal that runs now; one at a time. Expires by itself."""


def rehearsal_record(sale_id: str) -> str:
    """string: how the sale's last rehearsal goes or went, JSON; expires by itself."""
    return f"flashdrop:{{{sale_id}}}:rehearsal"
