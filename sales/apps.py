from django.apps import AppConfig


class SalesConfig(AppConfig):
    """What is on offer, and how much of it is left."""

    name = "sales"
    verbose_name = "Sales"
