"""What django-axes asks of us when somebody guesses at passwords of the admin: who it is, and what to answer."""

from __future__ import annotations

import logging
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from flashdrop.config import config
from flashdrop.errors import plain_error
from flashdrop.headers import client_address

# What one household or office gets: whoever has one address of it has all of them.
IPV6_PREFIX = 64
log = logging.getLogger(__name__)


def login_address(request: HttpRequest) -> str | None:
    """The address that tries are counted by, believed as far as `TRUSTED_PROXY_COUNT` says; None where there is none.

    Of an IPv6 address it is the network, since its owner can take another address for each try.
    """
    try:
        address = ip_address(client_address(request, config.trusted_proxy_count))
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or IPv6Network((address.packed, IPV6_PREFIX), strict=False).network_address)
    return str(address)


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
