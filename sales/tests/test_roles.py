"""The desk's roles: there after a migration, with exactly what each may do."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.test import RequestFactory

from sales.desk import roles
from sales.desk.page import desk_page

pytestmark = pytest.mark.django_db


def account(role: str | None, *, is_staff: bool = True) -> User:
    user = User.objects.create(username=f"{role}-{User.objects.count()}", is_staff=is_staff)
    if role:
        user.groups.add(Group.objects.get(name=role))
    return user


@pytest.mark.parametrize("role", roles.ROLES)
def test_each_role_may_do_what_it_lists_and_nothing_else_of_a_sale(role: str) -> None:
    user = account(role)
    every = set(Permission.objects.filter(content_type__app_label="sales").values_list("codename", flat=True))
    assert {codename for codename in every if user.has_perm(f"sales.{codename}")} == roles.ROLES[role]


def test_what_an_administrator_gave_a_role_besides_stays() -> None:
    extra = Permission.objects.get(codename="delete_sale")
    Group.objects.get(name="viewer").permissions.add(extra)
    roles.ensure()
    assert account("viewer").has_perm("sales.delete_sale")


@desk_page("desk:control")
def secret_page(request: object) -> HttpResponse:
    return HttpResponse("seen")


@pytest.mark.parametrize(
    ("role", "status"), [("merchandiser", 200), ("operator", 200), ("viewer", 403), (None, 403), ("visitor", 302)]
)
def test_a_page_of_the_desk_is_for_staff_with_its_permission(role: str | None, status: int) -> None:
    request = RequestFactory().get("/secret/")
    request.user = account("operator", is_staff=False) if role == "visitor" else account(role)
    try:
        found = secret_page(request).status_code
    except PermissionDenied:
        found = 403
    assert found == status
