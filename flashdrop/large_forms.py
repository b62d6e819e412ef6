"""Large forms are for those who are signed in: everybody else's are refused before a byte of them is parsed.

Django reads a form to check its token before it asks who sent it, so that without this anybody could have the back
office parse as much as its largest form may hold.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from flashdrop.errors import form_too_large

# Ten thousand lines of the longest names there are, in the widest letters, as a browser sends them.
LARGEST = 12 * 1024 * 1024
# A login, and whatever else somebody sends who is not signed in.
LARGEST_OF_STRANGERS = 64 * 1024


class LargeFormsMiddleware:
    """Behind `AuthenticationMiddleware`. Asks who it is only where the form is large, or does not say its size."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        is_back_office = request.path.startswith(f"/{settings.ADMIN_PATH}")
        if is_back_office and _may_be_large(request) and not request.user.is_authenticated:
            return form_too_large(request)
        return self.get_response(request)


def _may_be_large(request: HttpRequest) -> bool:
    size = request.headers.get("Content-Length", "")
    if not size:
        return "Transfer-Encoding" in request.headers
    return not size.isdecimal() or int(size) > LARGEST_OF_STRANGERS
