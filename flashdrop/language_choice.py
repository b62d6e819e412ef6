"""The viewer's choice of a language: a cookie, set by a plain form at the foot of every page."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.translation import gettext_noop as _

from flashdrop.api import page
from flashdrop.errors import plain_error
from flashdrop.headers import is_same_origin
from flashdrop.languages import COOKIE, PARAMETER, supported

COOKIE_MAX_AGE_SECONDS = 365 * 24 * 3600


@page("POST")
async def choose_language(request: HttpRequest) -> HttpResponseBase:
    """Remember a language and go back to where it was chosen."""
    if not is_same_origin(request):
        return plain_error(request, 403, "CROSS_SITE", _("This request came from another site."))
    language = supported(request.POST.get(PARAMETER, ""))
    if language is None:
        return plain_error(request, 400, "VALIDATION_ERROR", _("This shop does not speak that language."))
    response: HttpResponse = HttpResponseRedirect(_came_from(request), status=303)
    response.headers["Cache-Control"] = "private, no-store"
    # Not signed: nothing hangs on it.
    response.set_cookie(
        COOKIE, language, max_age=COOKIE_MAX_AGE_SECONDS, samesite="Lax", httponly=True, secure=request.is_secure()
    )
    return response


def _came_from(request: HttpRequest) -> str:
    """The page of ours that the form stood on, without the language it was asked in; the front page where none is told.

    The form says so itself where its page sends no referrer. A path alone: whoever wrote it, it leads nowhere else.
    """
    told = request.POST.get("next", "")
    try:
        source = urlsplit(told or request.headers.get("Referer", ""))
    except ValueError:
        return "/"
    is_ours = source.netloc.lower() == ("" if told else request.headers.get("Host", "").lower())
    if not is_ours or not source.path.startswith("/"):
        return "/"
    query = urlencode([(name, value) for name, value in parse_qsl(source.query) if name != PARAMETER])
    # Two slashes at the start would name another host.
    return "/" + source.path.lstrip("/\\") + (f"?{query}" if query else "")
