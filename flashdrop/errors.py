"""The answers to what went wrong outside any view: the envelope under `/api/`, a page elsewhere."""

from __future__ import annotations

from functools import lru_cache

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_noop as _

from flashdrop import envelope
from flashdrop.languages import VARY, language_of, render, translated

API_PREFIX = "/api/"
# Of each status, message and language there is one.
ERROR_PAGES_KEPT = 512


def plain_error(
    request: HttpRequest,
    status: int,
    code: str,
    message: str,
    retry_after_seconds: int | None = None,
    **values: object,
) -> HttpResponse:
    """The answer with `status`: JSON for a program, a page in the viewer's language for a person.

    `message` is marked for translation where it is written; `values` fill its `%(name)s`.
    """
    if request.path.startswith(API_PREFIX):
        return envelope.error(message % values if values else message, code, status, retry_after_seconds)
    language = language_of(request)
    words = translated(message, language)
    response = HttpResponse(_page(status, words % values if values else words, language), status=status)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = VARY
    if retry_after_seconds is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    return response


@lru_cache(ERROR_PAGES_KEPT)
def _page(status: int, words: str, language: str) -> bytes:
    """Holds nothing of the request, so one rendering serves a stampede of them."""
    return render("error.html", {"status": status, "message": words}, language).encode()


def bad_host(request: HttpRequest) -> HttpResponse:
    return plain_error(request, 400, "BAD_REQUEST", _("This address is not one this shop answers to."))


def bad_request(request: HttpRequest) -> HttpResponse:
    return plain_error(request, 400, "BAD_REQUEST", _("This request can't be read."))


def payload_too_large(request: HttpRequest) -> HttpResponse:
    return plain_error(request, 413, "PAYLOAD_TOO_LARGE", _("The body is over 16 KiB."))


def form_too_large(request: HttpRequest) -> HttpResponse:
    message = _("That is more than this form takes at once. Go back, and send it in parts.")
    return plain_error(request, 413, "PAYLOAD_TOO_LARGE", message)


def server_error(request: HttpRequest) -> HttpResponse:
    return plain_error(
        request, 500, "INTERNAL_ERROR", _("Something broke on our side. It is not you; please try again.")
    )


def handler400(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return form_too_large(request) if isinstance(exception, RequestDataTooBig) else bad_request(request)


def handler403(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return plain_error(request, 403, "FORBIDDEN", _("You may not see this."))


def handler404(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return plain_error(request, 404, "NOT_FOUND", _("There is nothing at this address."))


def handler500(request: HttpRequest) -> HttpResponse:
    return server_error(request)
