"""What a merchandiser may not save, and the words in which they are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from sales.models import Sale

pytestmark = pytest.mark.django_db


def sale_of(**changes: Any) -> Sale:
    """A published sale that is open, not saved."""
    now = timezone.now()
    standard = {
        "sku": "lamp",
        "name": "Lamp",
        "price_minor": 12900,
        "stock": 10,
        "opens_at": now - timedelta(minutes=1),
        "closes_at": now + timedelta(hours=1),
        "published": True,
    }
    return Sale(**(standard | changes))


def complaints(sale: Sale) -> dict[str, list[str]]:
    """What is wrong with a sale, by field."""
    try:
        sale.full_clean()
    except ValidationError as error:
        return error.message_dict
    return {}


def test_a_sale_as_it_should_be_is_taken() -> None:
    assert complaints(sale_of()) == {}


@pytest.mark.parametrize("lasts", [timedelta(0), timedelta(minutes=-1)])
def test_a_sale_must_close_after_it_opens(lasts: timedelta) -> None:
    opens_at = timezone.now() + timedelta(hours=1)
    found = complaints(sale_of(opens_at=opens_at, closes_at=opens_at + lasts))
    assert found == {"closes_at": ["The sale would close before it opens. Choose a later closing time."]}


def past_window() -> dict[str, Any]:
    now = timezone.now()
    return {"opens_at": now - timedelta(hours=2), "closes_at": now - timedelta(hours=1)}


def test_a_window_that_is_over_is_not_published() -> None:
    found = complaints(sale_of(**past_window()))
    assert list(found) == ["closes_at"]
    assert "already over" in found["closes_at"][0]


def test_a_draft_may_have_any_window() -> None:
    assert complaints(sale_of(**past_window(), published=False)) == {}


def test_a_sale_that_has_ended_may_still_be_corrected() -> None:
    ended = sale_of(**past_window())
    ended.save()
    ended.description = "Sold in one minute."
    assert complaints(ended) == {}


def test_a_draft_with_a_window_that_is_over_is_not_published_later() -> None:
    draft = sale_of(**past_window(), published=False)
    draft.save()
    draft.published = True
    assert list(complaints(draft)) == ["closes_at"]


def test_a_missing_time_is_one_complaint_and_not_a_crash() -> None:
    assert list(complaints(sale_of(opens_at=None))) == ["opens_at"]


def test_a_second_sale_under_the_same_sku_is_refused() -> None:
    sale_of().save()
    assert complaints(sale_of()) == {"sku": ["Another sale already has this SKU. Choose a different one."]}


@pytest.mark.parametrize("sku", ["Lamp", "a b", "-lamp", "lampe/1", "lämp", "lamp\n", "../lamp"])
def test_a_sku_fits_into_an_address(sku: str) -> None:
    assert complaints(sale_of(sku=sku)) == {"sku": ["Use small letters, digits and hyphens only."]}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("price_minor", -1, "The price can't be below zero."),
        ("price_minor", 10**12, "That price is higher than this shop can sell for."),
        ("stock", 0, "A sale needs at least one unit."),
        ("stock", 10_000_001, "A sale has at most 10,000,000 units."),
        ("limit_per_shopper", 0, "Each shopper must be able to buy at least one unit."),
        ("limit_per_shopper", 101, "The limit is at most 100."),
        ("currency", "eur", "Use the three capital letters of the currency, such as EUR."),
        ("currency", "E1R", "Use the three capital letters of the currency, such as EUR."),
    ],
)
def test_a_figure_out_of_bounds_is_explained(field: str, value: object, message: str) -> None:
    assert complaints(sale_of(**{field: value})) == {field: [message]}


def test_a_gift_has_no_price() -> None:
    assert complaints(sale_of(price_minor=0)) == {}


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:image/svg+xml,<svg/>",
        "http://example.com/lamp.jpg",
        "//example.com/lamp.jpg",
        "/\\example.com/lamp.jpg",
        "/static\\..\\lamp.jpg",
        "https://example.com\\@10.0.0.1/lamp.jpg",
        "lamp.jpg",
        'https://example.com/"onerror="alert(1)',
        "https://example.com/a b.jpg",
        "/",
    ],
)
def test_a_picture_is_at_a_safe_address(address: str) -> None:
    found = complaints(sale_of(image_url=address))
    assert found == {"image_url": ["Give an https:// address or a path that starts with /."]}


@pytest.mark.parametrize("address", ["", "https://example.com/lamp.jpg?w=1200", "/static/img/demo.svg"])
def test_a_picture_may_be_elsewhere_here_or_missing(address: str) -> None:
    assert complaints(sale_of(image_url=address)) == {}


def test_every_setting_reaches_what_is_published() -> None:
    sale = sale_of(
        description="d", image_url="/a", currency="JPY", limit_per_shopper=3, guests_allowed=True, paused=True
    )
    settings = sale.settings()
    for name in settings.__slots__:
        assert getattr(settings, name) == getattr(sale, name), name


def test_two_sales_have_different_ids() -> None:
    assert sale_of().id != sale_of().id
