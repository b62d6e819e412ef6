"""The desk's pages about orders, below the admin's address."""

from django.urls import URLPattern, path

from orders.desk import preview

urlpatterns: list[URLPattern] = [
    path("sales/<sale_id>/preview/", preview.preview, name="preview"),
    path("sales/<sale_id>/preview/page/", preview.preview_page, name="preview_page"),
]
