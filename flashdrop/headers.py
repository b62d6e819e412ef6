"""Response headers that both doors add, and what a request's headers say about where it came from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from flashdrop.config import config

# The one list of them: Django's own middleware (flashdrop/settings.py) takes its values from here.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' https: data:; connect-src 'self'; script-src 'self'; style-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
# Past the proxy, and so never by TLS: container health checks, probes, Prometheus.
ASKED_FROM_INSIDE = ("/healthz", "/readyz", "/metrics")
if config.https_only and config.hsts_seconds:
    SECURITY_HEADERS["Strict-Transport-Security"] = f"max-age={config.hsts_seconds}"


class SecurityHeadersMiddleware:
    """Adds `SECURITY_HEADERS` to what the stock handler answers; the lean handler adds the same by itself."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._async(request)
        response = self.get_response(request)
        assert isinstance(response, HttpResponseBase)
        return add_security_headers(response)

    async def _async(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        assert not isinstance(response, HttpResponseBase)
        return add_security_headers(await response)


def add_security_headers(response: HttpResponseBase) -> HttpResponseBase:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def must_become_https(headers: Container[tuple[bytes, bytes]], path: str) -> bool:
    """Whether the stock door has to judge if this request came by TLS, and to send it there if not.

    For the fast doors, which let pass only what the proxy says plainly.
    """
    return config.https_only and (b"x-forwarded-proto", b"https") not in headers and path not in ASKED_FROM_INSIDE


def is_same_origin(request: HttpRequest) -> bool:
    """Whether a state-changing request may be believed to come from our own pages, or from no browser at all.

    A browser says where a request comes from in `Sec-Fetch-Site`, older ones in `Origin` or `Referer`. What carries
    none of the three is not a page of another site acting behind its visitor's back.
    """
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        return fetch_site in ("same-origin", "none")
    for name in ("Origin", "Referer"):
        source = request.headers.get(name)
        if source is not None:
            return _authority(source) == request.headers.get("Host", "").lower()
    return True


def header_text(value: str) -> str:
    """A header's value as the sender meant it: Django hands it over as Latin-1, most senders write UTF-8."""
    try:
        return value.encode("latin1").decode("utf-8")
    except UnicodeError:
        return value


def _authority(url: str) -> str | None:
    try:
        return urlsplit(url).netloc.lower() or None
    except ValueError:
        return None


def client_address(request: HttpRequest, trusted_proxy_count: int) -> str:
    """The client's address: the peer's, or the entry that the outermost of our own proxies wrote.

    With N trusted proxies the N-th entry of `X-Forwarded-For` from the right is the first one a client can't forge.
    """
    if trusted_proxy_count:
        hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
        if len(hops) >= trusted_proxy_count:
            return hops[-trusted_proxy_count]
    scope = getattr(request, "scope", None)
    peer = scope.get("client") if scope else None
    return str(peer[0]) if peer else str(request.META.get("REMOTE_ADDR", "unknown"))
