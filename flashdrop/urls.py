"""The one URLconf. Both doors resolve by it; views marked `@hot` are answered at the lean one."""

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django_prometheus.exports import ExportToDjangoView

import orders.desk.urls
import orders.urls
import sales.desk.urls
import sales.urls
from flashdrop import metrics
from flashdrop.language_choice import choose_language
from flashdrop.sampling import sales_on_show, sample
from flashdrop.socket_door import nowhere
from flashdrop.static import static_file
from sales import health
from sales.board import current_board


async def export_metrics(request: HttpRequest) -> HttpResponse:
    """`/metrics`: what all processes of this host have published."""
    sample()
    metrics.publish()  # on the loop's thread, like the noting
    response: HttpResponse = await sync_to_async(ExportToDjangoView)(request)
    response.content += sales_on_show(await current_board())
    return response


api_urlpatterns = [*sales.urls.api_urlpatterns, *orders.urls.api_urlpatterns]

desk_urlpatterns = [*sales.desk.urls.urlpatterns, *orders.desk.urls.urlpatterns]

urlpatterns = [
    *sales.urls.urlpatterns,
    *orders.urls.urlpatterns,
    path("language", choose_language, name="language"),
    path("api/", include(api_urlpatterns)),
    path("api/v1/", include(api_urlpatterns)),
    # While developing, WhiteNoise finds files that nobody has collected yet.
    *([] if settings.DEBUG else [path("static/<path:path>", static_file)]),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", export_metrics),
    path(f"{settings.ADMIN_PATH}desk/", include((desk_urlpatterns, "desk"))),
    path(settings.ADMIN_PATH, admin.site.urls),
]

websocket_urlpatterns = [*sales.urls.websocket_urlpatterns, re_path("", nowhere)]  # type: ignore[arg-type]

handler400 = "flashdrop.errors.handler400"
handler403 = "flashdrop.errors.handler403"
handler404 = "flashdrop.errors.handler404"
handler500 = "flashdrop.errors.handler500"
