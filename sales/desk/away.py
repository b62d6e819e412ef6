"""What the back office says when its own database is away: nobody can sign in then, and a sale can still be stopped."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

TEXT = """The back office's database can't be used right now, so nothing can be shown or saved here.
The shop goes on selling; it does not need it.

To stop a sale now, on any host of the shop:

    manage.py pause_sale SKU      (or --all)

It needs Redis alone, and holds until somebody resumes the sale here.
"""
log = logging.getLogger(__name__)


class DatabaseAway(MiddlewareMixin):
    """Answers 503 with what can be done, instead of an error page for shoppers."""

    async_capable = False

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, (OperationalError, InterfaceError)):
            return None
        if not request.path.startswith(f"/{settings.ADMIN_PATH}"):
            return None
        log.error("the back office's database can't be reached: %s", exception)
        response = HttpResponse(TEXT, status=503, content_type="text/plain; charset=utf-8")
        response.headers["Cache-Control"] = "no-store"
        return response
