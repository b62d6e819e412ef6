from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """What a shopper did: identity, orders, receipts."""

    name = "orders"
    verbose_name = "Orders"
