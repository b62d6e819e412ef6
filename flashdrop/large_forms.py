"""Large forms are for those who are signed in: everybody else is sent to do so before a byte of them is parsed.

Django reads a form to check its token before it asks who sent it, so that without this anybody could have the back
office parse as much as its largest form may hold.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

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
            login = reverse("admin:login")
            is_login = request.path == login
            return form_too_large(request) if is_login else _sign_in(request, login)
        return self.get_response(request)


def _sign_in(request: HttpRequest, login: str) -> HttpResponseBase:
    # As Django's admin does; its module can't be loaded before the settings are.
    from django.contrib.auth.views import redirect_to_login

    return redirect_to_login(request.get_full_path(), login)


def _may_be_large(request: HttpRequest) -> bool:
    size = request.headers.get("Content-Length", "")
    if not size:
        return "Transfer-Encoding" in request.headers
    return not size.isdecimal() or int(size) > LARGEST_OF_STRANGERS
