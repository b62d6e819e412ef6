"""The desk's pages about orders, below the admin's address."""

from django.urls import URLPattern, path

from orders.desk import export, live, report

urlpatterns: list[URLPattern] = [
    path("sales/<sale_id>/live/", live.live, name="live"),
    path("sales/<sale_id>/live/data", live.live_data, name="live_data"),
    path("sales/<sale_id>/orders/export/", export.export, name="export"),
    path("sales/<sale_id>/report/", report.report, name="report"),
]
