"""The desk's pages about orders, below the admin's address."""

from django.urls import URLPattern, path

from orders.desk import live

urlpatterns: list[URLPattern] = [
    path("sales/<sale_id>/live/", live.live, name="live"),
    path("sales/<sale_id>/live/data", live.live_data, name="live_data"),
]
