"""Whose word is believed about who a client is: that of our own proxies, known by the address they connect from.

The headers below say what only a proxy can know. From anybody else they are dropped at the door, before a view, a
middleware or a log line can read them; what follows a body never gets that far (flashdrop/wire_limits.py).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from flashdrop.config import config

RawHeaders = list[tuple[bytes, bytes]]
# The client's address, whether it came by TLS, and, with TRUST_USER_ID_HEADER, who is shopping.
PROXY_FIELDS = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-user-id"})
PEERS_REMEMBERED = 4096


@lru_cache(PEERS_REMEMBERED)
def is_trusted(peer: str | None) -> bool:
    """Whether a connection from this address is one of our proxies' (`TRUSTED_PROXIES`); a socket file's has none."""
    try:
        address = ip_address(peer or "")
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return any(address in network for network in config.trusted_proxies)


def believed(headers: RawHeaders, peer: str | None) -> RawHeaders:
    """The headers without those that only a proxy of ours may send, unless it was one."""
    if is_trusted(peer):
        return headers
    return [header for header in headers if header[0] not in PROXY_FIELDS]
