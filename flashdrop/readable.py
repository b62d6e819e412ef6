"""Requests whose text no database can hold are refused at the door: PostgreSQL takes no NUL, in any value."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.request import QueryDict
from django.utils.deprecation import MiddlewareMixin

from flashdrop.errors import bad_request

NUL = "\0"


class RefuseNul(MiddlewareMixin):
    """400 for a NUL in the path, in a parameter of the address or of a form, or in a cookie (as an escape), before
    anything asks the database about it.
    """

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """What comes with the head, before sessions are looked for."""
        cookies = request.COOKIES.values()
        is_readable = (
            NUL not in request.path_info and not _in_any(request.GET) and not any(NUL in one for one in cookies)
        )
        return None if is_readable else bad_request(request)

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponse | None:
        """A form: once the other middlewares have had their say about its size, and before the view or its token."""
        if request.method != "POST":
            return None
        # Kept: a form in parts would be used up by being parsed, and a view may look at the body, too.
        _ = request.body
        return bad_request(request) if _in_any(request.POST) else None


def _in_any(given: QueryDict) -> bool:
    return any(NUL in name or any(NUL in value for value in values) for name, values in given.lists())
