"""The desk's pages about sales, below the admin's address."""

from django.urls import URLPattern, path

from sales.desk.control import control

urlpatterns: list[URLPattern] = [
    path("sales/<sale_id>/control/", control, name="control"),
]
