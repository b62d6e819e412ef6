"""The back office's table of sales: what merchandisers edit. No shopper's request reads it."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from sales.permissions import OWN_PERMISSIONS
from sales.published import SaleSettings

MAX_STOCK = 10_000_000
MAX_LIMIT_PER_SHOPPER = 100
MAX_PRICE_MINOR = 1_000_000_000
# What a sale can be planned for. Times out of it that are stored already must not stop anybody from pausing that sale.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
OUT_OF_RANGE = "Choose a time in the years 2000 to 2099."


def new_sale_id() -> str:
    """An id that no other sale has, in this back office or an earlier one over the same ledger."""
    return secrets.token_hex(6)


class Sale(models.Model):
    """One product, a number of units, a window. Shoppers see it once it is published (`sales/backoffice.py`)."""

    id = models.CharField(primary_key=True, max_length=12, default=new_sale_id, editable=False)
    sku = models.CharField(
        "SKU",
        max_length=64,
        unique=True,
        help_text=(
            "The last part of the sale's address, as in /sales/bolt-01/. "
            "Small letters, digits and hyphens. Fixed once published."
        ),
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9-]*\Z", "Use small letters, digits and hyphens only.")],
        error_messages={"unique": "Another sale already has this SKU. Choose a different one."},
    )
    name = models.CharField(max_length=120)
    description = models.TextField(max_length=4000, blank=True)
    image_url = models.CharField(
        "picture",
        max_length=500,
        blank=True,
        help_text="An https:// address, or a path on this site such as /static/img/demo.svg.",
        validators=[
            RegexValidator(
                # No backslash: browsers take it for a slash, so that `/\host` is another site's address.
                r"^(https://[^\s\"'<>\\]+|/[^/\s\"'<>\\][^\s\"'<>\\]*)\Z",
                "Give an https:// address or a path that starts with /.",
            )
        ],
    )
    price_minor = models.BigIntegerField(
        "price",
        help_text="In the smallest unit of the currency: 12900 is 129.00 EUR.",
        validators=[
            MinValueValidator(0, "The price can't be below zero."),
            MaxValueValidator(MAX_PRICE_MINOR, "That price is higher than this shop can sell for."),
        ],
    )
    currency = models.CharField(
        max_length=3,
        default="EUR",
        help_text="Three letters, such as EUR, USD or JPY.",
        validators=[RegexValidator(r"^[A-Z]{3}\Z", "Use the three capital letters of the currency, such as EUR.")],
    )
    stock = models.PositiveIntegerField(
        "stock (units)",
        validators=[
            MinValueValidator(1, "A sale needs at least one unit."),
            MaxValueValidator(MAX_STOCK, f"A sale has at most {MAX_STOCK:,} units."),
        ],
    )
    limit_per_shopper = models.PositiveIntegerField(
        "limit per shopper (units)",
        default=1,
        validators=[
            MinValueValidator(1, "Each shopper must be able to buy at least one unit."),
            MaxValueValidator(MAX_LIMIT_PER_SHOPPER, f"The limit is at most {MAX_LIMIT_PER_SHOPPER}."),
        ],
    )
    opens_at = models.DateTimeField("opens (UTC)")
    closes_at = models.DateTimeField("closes (UTC)")
    guests_allowed = models.BooleanField(
        default=False,
        help_text="Guests give no name, so the limit per shopper only holds per browser.",
    )
    published = models.BooleanField(default=False, help_text="Shoppers can see it, and buy while the window is open.")
    paused = models.BooleanField(default=False, help_text="Stops selling at once, until you take this off again.")
    version = models.PositiveIntegerField(
        default=0, editable=False, help_text="The ledger's version of these settings; 0 while it has none."
    )
    saved_version = models.PositiveBigIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="Rises with each save; the ledger takes no older one after a newer one.",
    )
    needs_publishing = models.BooleanField(
        default=False, editable=False, help_text="Edited here, and not known to be in the ledger yet."
    )
    knows_brake = models.CharField(
        max_length=40,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The newest brake that these settings know of: it is part of `paused`, or was released.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-opens_at"]
        permissions = OWN_PERMISSIONS

    def __str__(self) -> str:
        return f"{self.name} ({self.sku})"

    def clean(self) -> None:
        """Rules that need more than one field.

        Raises:
            ValidationError: with a message for each field that is wrong.
        """
        found: dict[str, Any] = {
            name: OUT_OF_RANGE
            for name in ("opens_at", "closes_at")
            if (at := getattr(self, name)) is not None and not EARLIEST <= at < LATEST
        }
        if found:
            raise ValidationError(found)
        if self.opens_at and self.closes_at and self.closes_at <= self.opens_at:
            found["closes_at"] = "The sale would close before it opens. Choose a later closing time."
        elif self.closes_at and self.published and self._window_changed() and self.closes_at <= timezone.now():
            found["closes_at"] = (
                "This window is already over, so nobody could buy. Choose a closing time in the future."
            )
        if found:
            raise ValidationError(found)

    def _window_changed(self) -> bool:
        before = type(self).objects.filter(pk=self.pk).values("opens_at", "closes_at", "published").first()
        return before is None or before != {
            "opens_at": self.opens_at,
            "closes_at": self.closes_at,
            "published": self.published,
        }

    def settings(self) -> SaleSettings:
        """What publishing takes."""
        return SaleSettings(
            id=self.id,
            sku=self.sku,
            name=self.name,
            description=self.description,
            image_url=self.image_url,
            price_minor=self.price_minor,
            currency=self.currency,
            stock=self.stock,
            limit_per_shopper=self.limit_per_shopper,
            opens_at=self.opens_at,
            closes_at=self.closes_at,
            guests_allowed=self.guests_allowed,
            paused=self.paused,
            published=self.published,
        )
