"""The desk's pages about orders, below the admin's address."""

from django.urls import URLPattern, path

from orders.desk.export import export

urlpatterns: list[URLPattern] = [
    path("sales/<sale_id>/orders/export/", export, name="export"),
]
