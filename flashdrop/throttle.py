"""What django-axes asks of us when somebody guesses at passwords of the admin: who it is, and what to answer."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from flashdrop.config import config
from flashdrop.errors import plain_error
from flashdrop.headers import client_address
from flashdrop.proxies import network_of

log = logging.getLogger(__name__)


def login_address(request: HttpRequest) -> str | None:
    """What tries are counted by, believed as far as `TRUSTED_PROXY_COUNT` says; None where there is no address."""
    return network_of(client_address(request, config.trusted_proxy_count))


def locked_out(request: HttpRequest, *args: Any) -> HttpResponse:
    """The answer to a try during the pause."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    log.warning("admin login locked", extra={"address": login_address(request), "pause_seconds": seconds})
    return plain_error(
        request,
        429,
        "TOO_MANY_REQUESTS",
        f"Too many wrong passwords for this user name from your network. Please try again in {seconds // 60} minutes, "
        "or ask whoever operates this shop to lift the pause. Other people can still sign in.",
        seconds,
    )
