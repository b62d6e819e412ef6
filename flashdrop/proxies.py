"""Whose word is believed about who a client is: that of our own proxies, known by the address they connect from.

The headers below say what only a proxy can know. From anybody else they are dropped at the door, before a view, a
middleware or a log line can read them; what follows a body never gets that far (flashdrop/wire_limits.py).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

from flashdrop.config import config

RawHeaders = list[tuple[bytes, bytes]]
# The client's address, whether it came by TLS, and, with TRUST_USER_ID_HEADER, who is shopping.
PROXY_FIELDS = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-user-id"})
PEERS_REMEMBERED = 4096
# What one household or office gets: whoever has one address of it has all of them.
IPV6_PREFIX = 64


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


def client_address(headers: RawHeaders, peer: str | None) -> str:
    """The client's address: the peer's, or the entry that the outermost of our own proxies wrote.

    For what is no Django request yet; `flashdrop.headers.client_address` is for those.
    """
    count = config.trusted_proxy_count
    if count and is_trusted(peer):
        forwarded = ",".join(value.decode("latin1") for name, value in headers if name == b"x-forwarded-for")
        hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
        if len(hops) >= count:
            return hops[-count]
    return peer or "unknown"


def network_of(address: str) -> str | None:
    """What an address is counted as; None for what is no address.

    Of an IPv6 address it is the network, since its owner can take another address each time.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        network = IPv6Network((found.packed, IPV6_PREFIX), strict=False).network_address
        return str(found.ipv4_mapped or network)
    return str(found)
