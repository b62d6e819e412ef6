"""The answers to what went wrong outside any view: the envelope under `/api/`, a page elsewhere."""

from __future__ import annotations

from functools import lru_cache

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from flashdrop import envelope

API_PREFIX = "/api/"
ERROR_PAGES_KEPT = 128


def plain_error(
    path: str, status: int, code: str, message: str, retry_after_seconds: int | None = None
) -> HttpResponse:
    """The answer with `status`: JSON for a program, a page for a person."""
    if path.startswith(API_PREFIX):
        return envelope.error(message, code, status, retry_after_seconds)
    response = HttpResponse(_page(status, message), status=status)
    response.headers["Cache-Control"] = "no-store"
    if retry_after_seconds is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    return response


@lru_cache(ERROR_PAGES_KEPT)
def _page(status: int, message: str) -> bytes:
    """Holds nothing of the request, so one rendering serves a stampede of them."""
    return render_to_string("error.html", {"status": status, "message": message}).encode()


def bad_host(path: str) -> HttpResponse:
    return plain_error(path, 400, "BAD_REQUEST", "This address is not one this shop answers to.")


def bad_request(path: str) -> HttpResponse:
    return plain_error(path, 400, "BAD_REQUEST", "This request can't be read.")


def payload_too_large(path: str) -> HttpResponse:
    return plain_error(path, 413, "PAYLOAD_TOO_LARGE", "The body is over 16 KiB.")


def server_error(request: HttpRequest | None, path: str = "") -> HttpResponse:
    path = path or (request.path if request is not None else "")
    return plain_error(path, 500, "INTERNAL_ERROR", "Something broke on our side. It is not you; please try again.")


def handler400(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return payload_too_large(request.path) if isinstance(exception, RequestDataTooBig) else bad_request(request.path)


def handler403(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return plain_error(request.path, 403, "FORBIDDEN", "You may not see this.")


def handler404(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return plain_error(request.path, 404, "NOT_FOUND", "There is nothing at this address.")


def handler500(request: HttpRequest) -> HttpResponse:
    return server_error(request)
