"""Fetching what somebody else's address holds, without becoming a way into our own network.

Only https, only addresses of the public internet, resolved here and connected to as resolved, so that a name can't
point elsewhere in between; redirects are judged alike. Everything together is bounded in time and size.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from time import monotonic
from urllib.parse import urljoin, urlsplit

SECONDS = 2.0
MAX_BYTES = 2_000_000
MAX_REDIRECTS = 3
CHUNK = 65_536
HTTPS_PORT = 443
# What the registries give out for IPv6 (RFC 4291): not fec0::/10, which Python takes for global, nor IPv4 in disguise.
GIVEN_OUT = ipaddress.IPv6Network("2000::/3")
# Special uses within it, and of IPv4, that some versions of Python take for global: protocols' own (Teredo among them),
# documentation, relays of 6to4.
NOT_OF_THE_PUBLIC = [
    ipaddress.ip_network(network) for network in ("2001::/23", "3fff::/20", "192.0.0.0/24", "192.88.99.0/24")
]
REDIRECTS = {301, 302, 303, 307, 308}
Judge = Callable[[str], bool]


class NotFetched(Exception):
    """It can't be had; the text says why, for people."""


class NotPublic(NotFetched):
    """The address is inside a network, not on the public internet: it was not asked."""


class TooLarge(NotFetched):
    """There is more than may be fetched."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was there. `content_type` is without parameters, in small letters."""

    content_type: str
    size: int


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet's, whatever form it is written in.

    Of IPv6 only what is given out for the public internet counts: all else is somebody's own, a way around, or unused.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is not None:
            return is_public(str(inner))
        if ip not in GIVEN_OUT:
            return False
    if any(ip in network for network in NOT_OF_THE_PUBLIC if network.version == ip.version):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def fetch(url: str, judge: Judge = is_public, context: ssl.SSLContext | None = None) -> Fetched:
    """GET `url` and count its bytes. `judge` says which addresses may be asked.

    Raises:
        NotFetched: with the reason.
    """
    answers: queue.SimpleQueue[Fetched | NotFetched] = queue.SimpleQueue()
    open_sockets: list[socket.socket] = []
    deadline = monotonic() + SECONDS

    def work() -> None:
        try:
            answers.put(_follow(url, judge, context or ssl.create_default_context(), deadline, open_sockets))
        except NotFetched as error:
            answers.put(error)
        except TimeoutError:  # the socket's own clock, a moment before ours
            answers.put(_too_late())
        except ssl.SSLError as error:
            answers.put(NotFetched(f"its certificate or encryption is not in order ({error.reason or error})"))
        except (OSError, HTTPException, ValueError) as error:
            answers.put(NotFetched(f"it can't be reached ({str(error) or type(error).__name__})"))

    # A thread, since neither resolving a name nor a server that sends one byte a second can be bounded otherwise.
    threading.Thread(target=work, name="fetch", daemon=True).start()
    try:
        found = answers.get(timeout=SECONDS)
    except queue.Empty:
        for one in open_sockets:
            one.close()
        raise _too_late() from None
    if isinstance(found, NotFetched):
        raise found
    return found


def _too_late() -> NotFetched:
    return NotFetched(f"it did not answer within {SECONDS:.0f} s")


def _follow(
    url: str, judge: Judge, context: ssl.SSLContext, deadline: float, open_sockets: list[socket.socket]
) -> Fetched:
    for _ in range(MAX_REDIRECTS + 1):
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise NotFetched("it leads to an address that is not https://")
        connection = _Pinned(
            parts.hostname, parts.port or HTTPS_PORT, judge, context, deadline=deadline, open_sockets=open_sockets
        )
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers={"Accept": "image/*", "User-Agent": "flashdrop"})
            response = connection.getresponse()
            if response.status in REDIRECTS:
                url = urljoin(url, response.headers.get("Location", ""))
                continue
            if response.status != 200:
                raise NotFetched(f"its server answers {response.status}")
            content_type = response.headers.get_content_type()
            return Fetched(content_type, _count(response))
        finally:
            connection.close()
    raise NotFetched(f"it leads on more than {MAX_REDIRECTS} times")


def _count(response: HTTPResponse) -> int:
    size = 0
    while chunk := response.read(CHUNK):
        size += len(chunk)
        if size > MAX_BYTES:
            raise TooLarge(f"it is larger than {MAX_BYTES / 1_000_000:.0f} MB")
    return size


class _Pinned(HTTPSConnection):
    """Connects to the address that was judged, and checks the certificate for the name."""

    def __init__(
        self,
        host: str,
        port: int,
        judge: Judge,
        context: ssl.SSLContext,
        *,
        deadline: float,
        open_sockets: list[socket.socket],
    ) -> None:
        super().__init__(host, port, context=context)
        self._judge = judge
        self._tls = context
        self._deadline = deadline
        self._open_sockets = open_sockets

    def connect(self) -> None:
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise NotFetched(f"nobody knows the name {self.host}") from error
        addresses = [str(one[4][0]) for one in found]
        # One that is not public is enough: the name's owner could mean that one next time.
        if not all(map(self._judge, addresses)):
            raise NotPublic(f"{self.host} is an address inside a network")
        plain = socket.create_connection((addresses[0], self.port), max(0.05, self._deadline - monotonic()))
        self._open_sockets.append(plain)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        self._open_sockets.append(self.sock)
