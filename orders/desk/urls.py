"""The desk's pages about orders, below the admin's address."""

from django.urls import URLPattern, path

from orders.desk import check, live, preview, rehearsal

urlpatterns: list[URLPattern] = [
    path("sales/<sale_id>/live/", live.live, name="live"),
    path("sales/<sale_id>/live/data", live.live_data, name="live_data"),
    path("sales/<sale_id>/preview/", preview.preview, name="preview"),
    path("sales/<sale_id>/preview/page/", preview.preview_page, name="preview_page"),
    path("sales/<sale_id>/check/", check.check, name="check"),
    path("sales/<sale_id>/check/lines/", check.lines, name="check_lines"),
    path("sales/<sale_id>/rehearsal/", rehearsal.rehearsal, name="rehearsal"),
    path("sales/<sale_id>/rehearsal/progress/", rehearsal.progress, name="rehearsal_progress"),
]
