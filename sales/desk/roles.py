"""Who may do what at the desk: three roles, kept as Django groups, so that accounts are given them in the admin."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission

from sales.permissions import (
    ADD,
    CANCEL_ORDERS,
    CHANGE,
    CONTROL,
    EXPORT_ORDERS,
    FULFIL_ORDERS,
    REHEARSE,
    VIEW,
    VIEW_ORDERS,
)  # fmt: skip

ROLES: dict[str, frozenset[str]] = {
    # Sees how sales do; no shopper's name.
    "viewer": frozenset({VIEW}),
    # Plans and runs sales, and looks after their orders.
    "merchandiser": frozenset(
        {VIEW, ADD, CHANGE, CONTROL, REHEARSE, VIEW_ORDERS, FULFIL_ORDERS, CANCEL_ORDERS, EXPORT_ORDERS}
    ),
    # Steps in while a sale runs; plans none.
    "operator": frozenset({VIEW, CONTROL, REHEARSE, VIEW_ORDERS, CANCEL_ORDERS}),
}


def ensure() -> None:
    """Make sure that each role's group is there and has at least its permissions. Safe to repeat; after migrations.

    What an administrator has given a group besides stays.
    """
    for name, codenames in ROLES.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*Permission.objects.filter(content_type__app_label="sales", codename__in=codenames))
