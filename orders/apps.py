from __future__ import annotations

from django.apps import AppConfig
from django.http import HttpRequest


class OrdersConfig(AppConfig):
    """What a shopper did: identity, orders, receipts."""

    name = "orders"
    verbose_name = "Orders"

    def ready(self) -> None:
        """Let the rate limiter count by shopper."""
        from flashdrop.ratelimit import identify_by
        from orders.identity import shopper_of

        def shopper_id(request: HttpRequest) -> str | None:
            shopper = shopper_of(request)
            return shopper.id if shopper else None

        identify_by(shopper_id)
