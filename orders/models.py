"""The back office's table of what is being done to many orders. No shopper's request reads it."""

from __future__ import annotations

import secrets
from typing import ClassVar

from django.conf import settings
from django.db import models


def new_run_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_hex(16)


class BulkRun(models.Model):
    """A list of orders as somebody was shown it before they confirmed it: what is done is done to these and no others.

    It has begun once its number was typed, and keeps its reason from then on.
    """

    id = models.CharField(primary_key=True, max_length=32, default=new_run_id, editable=False)
    deed = models.CharField(max_length=16)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    order_ids = models.TextField(help_text="Separated by spaces, in the order in which they are done.")
    back = models.TextField(blank=True, help_text="Where the orders were picked.")
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    begun_at = models.DateTimeField(null=True)

    class Meta:
        # Nobody is given it by itself: who may do the deed may, to their own lists.
        default_permissions: ClassVar[tuple[str, ...]] = ()

    def __str__(self) -> str:
        return f"{self.deed} {len(self.order_ids.split())} orders"
