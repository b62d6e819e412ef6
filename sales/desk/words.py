"""A sale's settings as people read them: in the audit log, in messages and in warnings."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from sales.money import format_minor
from sales.published import SaleSettings

LABELS = {
    "sku": "SKU",
    "name": "Name",
    "description": "Description",
    "image_url": "Picture",
    "price_minor": "Price",
    "currency": "Currency",
    "stock": "Stock",
    "limit_per_shopper": "Limit per shopper",
    "opens_at": "Opens",
    "closes_at": "Closes",
    "guests_allowed": "Guests allowed",
    "published": "Published",
    "paused": "Paused",
}
EXCERPT = 200


def field(settings: SaleSettings, name: str) -> str:
    """One setting in words: `€129.00`, `23 Nov 2026, 14:00 UTC`, `yes`."""
    value = asdict(settings)[name]
    if name == "price_minor":
        return format_minor(value, settings.currency)
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return excerpt(value) if value else "nothing"


def excerpt(text: str) -> str:
    """`text` on one line and no longer than a log can bear."""
    text = " ".join(text.split())
    return text if len(text) <= EXCERPT else f"{text[: EXCERPT - 1]}…"


def moment(at: datetime) -> str:
    """`23 Nov 2026, 14:00 UTC`; seconds only where there are some."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b} {at.year:04d}, {at:%H:%M:%S}".removesuffix(":00") + " UTC"


def duration(length: timedelta) -> str:
    """The two largest parts, rounded down: `2 d 3 h`, `1 h 5 min`, `2 h`, `40 s`."""
    left, parts = max(int(length.total_seconds()), 0), []
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def units(count: int) -> str:
    """`1 unit`, `1,200 units`."""
    return f"{count:,} unit" if count == 1 else f"{count:,} units"
