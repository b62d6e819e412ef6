"""Order documents as any version has written them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from conftest import shopper
from orders.documents import from_document
from orders.identity import may_see
from orders.ledger_desk import OrderState, record_of
from orders.order import OrderStatus

AT = datetime(2026, 11, 28, tzinfo=UTC)
LEAST: dict[str, Any] = {
    "_id": "a",
    "sale": "b",
    "shopper": "c",
    "units": [4],
    "slots": [1],
    "price_minor": 100,
    "currency": "EUR",
    "reserved_at": AT,
}


def test_an_order_is_read_by_what_it_holds() -> None:
    order = from_document(LEAST)
    assert (order.status, order.units, order.quantity, order.created_at) == (OrderStatus.COMPLETED, (4,), 1, AT)


def test_nobodys_browser_may_read_an_order_that_names_none() -> None:
    someone = shopper()
    order = from_document(LEAST | {"shopper": someone.id})
    assert not may_see(someone, order)
    assert not may_see(replace(someone, session_id=""), order)


@pytest.mark.parametrize(
    ("units", "status", "state"),
    [([4], OrderStatus.COMPLETED, OrderState.OPEN), ([], OrderStatus.CANCELLED, OrderState.CANCELLED)],
)
def test_a_status_of_another_version_means_what_the_order_holds(
    units: list[int], status: OrderStatus, state: OrderState
) -> None:
    document = LEAST | {"status": "of-the-next-version", "units": units}
    assert from_document(document).status is status
    assert record_of(document).state is state


def test_events_may_say_more_or_less() -> None:
    record = record_of(LEAST | {"events": [{"at": AT, "what": "moved", "mood": "good"}]})
    assert [(event.what, event.by) for event in record.events] == [("moved", "")]
