"""The desk's pages about orders, below the admin's address."""

from django.urls import URLPattern, path

from orders.desk import check, export, live, preview, rehearsal, report

urlpatterns: list[URLPattern] = [
    path("sales/<sale_id>/live/", live.live, name="live"),
    path("sales/<sale_id>/live/data", live.live_data, name="live_data"),
    path("sales/<sale_id>/preview/", preview.preview, name="preview"),
    path("sales/<sale_id>/preview/page/", preview.preview_page, name="preview_page"),
    path("sales/<sale_id>/check/", check.check, name="check"),
    path("sales/<sale_id>/check/lines/", check.lines, name="check_lines"),
    path("sales/<sale_id>/rehearsal/", rehearsal.rehearsal, name="rehearsal"),
    path("sales/<sale_id>/rehearsal/progress/", rehearsal.progress, name="rehearsal_progress"),
    path("sales/<sale_id>/orders/export/", export.export, name="export"),
    path("sales/<sale_id>/report/", report.report, name="report"),
]
