from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SalesConfig(AppConfig):
    """What is on offer, and how much of it is left."""

    name = "sales"
    verbose_name = "Sales"

    def ready(self) -> None:
        """Have the roles in place after each migration, as Django does with its permissions."""
        post_migrate.connect(_ensure_roles, sender=self)


def _ensure_roles(**_: Any) -> None:
    from sales.desk import roles

    roles.ensure()
