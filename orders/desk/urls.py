"""The desk's pages about orders, below the admin's address."""

from django.urls import URLPattern, path

from orders.desk import acting, bulk, check, detail, export, live, preview, rehearsal, report, search

urlpatterns: list[URLPattern] = [
    path("orders/", search.all_orders, name="orders"),
    path("sales/<sale_id>/orders/", search.sale_orders, name="sale_orders"),
    *(path(f"orders/many/{name}/", page, name=f"{name}_list") for name, page in bulk.PASTE.items()),
    *(path(f"orders/many/{name}/confirm/", page, name=f"{name}_confirm") for name, page in bulk.CONFIRM.items()),
    *(path(f"orders/many/{name}/run/", page, name=f"{name}_run") for name, page in bulk.RUN.items()),
    *(path(f"orders/many/{name}/refused/", page, name=f"{name}_refused") for name, page in bulk.REFUSED.items()),
    path("orders/<order_id>/", detail.order, name="order"),
    *(path(f"orders/<order_id>/{name}/", page, name=f"{name}_order") for name, page in acting.PAGES.items()),
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
