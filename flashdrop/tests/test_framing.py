"""Where one request ends and the next begins: the wire, llhttp and nginx read the same bytes in the same way.

Odd bytes may be refused by one and taken by another; but as long as both go on, they see the same requests with the
same bodies. Were it otherwise, a stranger could hide a request in the body of another.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httptools
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flashdrop.lean import Receive, Route, Scope, Send, read_body
from flashdrop.tests.behind_nginx import Front, front
from flashdrop.tests.raw_http import NotingHandler, Served, dial, serving

Seen = list[tuple[str, str, bytes]]
SEED, GENERATED, AT_ONCE = 24, 240, 24
# Who has not heard the end of the row by then waits for the rest of a body.
QUIET_SECONDS = 0.4


class Recorder(NotingHandler):
    """Notes what requests it gets, by the first part of their paths."""

    def __init__(self) -> None:
        super().__init__(self._never)
        self.seen: defaultdict[str, Seen] = defaultdict(list)

    async def _never(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    def route(self, path: str) -> Route | None:
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive)
        self.seen[scope["path"].split("/")[1]].append((scope["method"], scope["path"], body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@dataclass
class Reading:
    """What llhttp reads, by itself: nothing of the wire's, and no leniency."""

    seen: Seen = field(default_factory=list)
    _url: bytes = b""
    _body: bytes = b""

    def read(self, data: bytes) -> Seen:
        self._parser = httptools.HttpRequestParser(self)
        with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._parser.feed_data(data)
        return self.seen

    def on_message_begin(self) -> None:
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        path = httptools.parse_url(self._url).path or b""
        self.seen.append((self._parser.get_method().decode(), path.decode(), self._body))


@pytest.fixture(scope="module")
async def recorded() -> AsyncIterator[tuple[Served, Recorder]]:
    recorder = Recorder()
    async with serving(handler=recorder) as served:
        yield served, recorder


@pytest.fixture(scope="module")
def nginx(recorded: tuple[Served, Recorder], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    with front(tmp_path_factory.mktemp("front"), [recorded[0].port]) as made:
        yield made  # type: ignore[misc]


async def say(port: int, data: bytes, cuts: list[int]) -> None:
    """Send it in pieces, and wait for the end or for quiet."""
    line = await dial(port)
    try:
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            line.write(data[start:end])
            await asyncio.sleep(0.005)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while await asyncio.wait_for(line.reader.read(65536), QUIET_SECONDS):
                pass
    finally:
        line.reset()


Row = tuple[list[str], bytes]
CHUNKED = ["Transfer-Encoding: chunked"]
HIDDEN = b"GET /%b/hidden HTTP/1.1\r\nHost: testserver\r\n\r\n"
# Headers after the first two lines, and a body; `#` in it is the name of the case.
FIXED: dict[str, Row] = {
    "a length": (["Content-Length: 3"], b"abc"),
    "a length twice": (["Content-Length: 3", "Content-Length: 3"], b"abc"),
    "two lengths": (["Content-Length: 3", "Content-Length: 6"], b"abcdef"),
    "two lengths, other way": (["Content-Length: 6", "Content-Length: 3"], b"abcdef"),
    "two in one": (["Content-Length: 3, 3"], b"abc"),
    "a plus": (["Content-Length: +3"], b"abc"),
    "a minus": (["Content-Length: -3"], b"abc"),
    "hex": (["Content-Length: 0x3"], b"abc"),
    "an underscore": (["Content-Length: 1_0"], b"abcdefghij"),
    "a space inside": (["Content-Length: 1 0"], b"abcdefghij"),
    "an empty length": (["Content-Length:"], b""),
    "beyond 64 bits": (["Content-Length: 18446744073709551619"], b"abc"),
    "zeros": (["Content-Length: 0003"], b"abc"),
    "a space before the colon": (["Content-Length : 3"], b"abc"),
    "a tab": (["Content-Length:\t3"], b"abc"),
    "folded": (["Content-Length:", " 3"], b"abc"),
    "folded into another": (["X-Fold: a", " Content-Length: 3"], b"abc"),
    "a length behind a bare line feed": (["X-Bare: a\nContent-Length: 3"], b"abc"),
    "a length behind a bare return": (["X-Bare: a\rContent-Length: 3"], b"abc"),
    "a null": (["X-Null: a\0b", "Content-Length: 3"], b"abc"),
    "chunks": (CHUNKED, b"3\r\nabc\r\n0\r\n\r\n"),
    "chunks, capitals": (["TRANSFER-ENCODING: CHUNKED"], b"3\r\nabc\r\n0\r\n\r\n"),
    "chunks twice": ([*CHUNKED, *CHUNKED], b"3\r\nabc\r\n0\r\n\r\n"),
    "chunks and a length": ([*CHUNKED, "Content-Length: 3"], b"3\r\nabc\r\n0\r\n\r\n"),
    "a length and chunks": (["Content-Length: 3", *CHUNKED], b"3\r\nabc\r\n0\r\n\r\n"),
    "a length of zero and chunks": (["Content-Length: 0", *CHUNKED], b"3\r\nabc\r\n0\r\n\r\n"),
    "identity": (["Transfer-Encoding: identity", "Content-Length: 3"], b"abc"),
    "chunked, identity": (["Transfer-Encoding: chunked, identity"], b"3\r\nabc\r\n0\r\n\r\n"),
    "identity, chunked": (["Transfer-Encoding: identity, chunked"], b"3\r\nabc\r\n0\r\n\r\n"),
    "gzip, chunked": (["Transfer-Encoding: gzip, chunked"], b"3\r\nabc\r\n0\r\n\r\n"),
    "xchunked": (["Transfer-Encoding: xchunked"], b"3\r\nabc\r\n0\r\n\r\n"),
    "chunked;q=1": (["Transfer-Encoding: chunked;q=1"], b"3\r\nabc\r\n0\r\n\r\n"),
    "quoted": (['Transfer-Encoding: "chunked"'], b"3\r\nabc\r\n0\r\n\r\n"),
    "a vertical tab": (["Transfer-Encoding: \x0bchunked"], b"3\r\nabc\r\n0\r\n\r\n"),
    "chunked with a space before the colon": (["Transfer-Encoding : chunked"], b"3\r\nabc\r\n0\r\n\r\n"),
    "an underscore for the dash": (["Transfer_Encoding: chunked", "Content-Length: 3"], b"abc"),
    "a folded coding": (["Transfer-Encoding:", " chunked"], b"3\r\nabc\r\n0\r\n\r\n"),
    "an extension": (CHUNKED, b"3;a=b\r\nabc\r\n0;c\r\n\r\n"),
    "a quoted extension": (CHUNKED, b'3;a="\r\nabc\r\n0\r\n\r\n'),
    "a line feed in an extension": (CHUNKED, b"3;\nabc\r\n0\r\n\r\n"),
    "a return in an extension": (CHUNKED, b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    "a space behind the size": (CHUNKED, b"3 \r\nabc\r\n0\r\n\r\n"),
    "a bare line feed behind the size": (CHUNKED, b"3\nabc\r\n0\r\n\r\n"),
    "bare line feeds": (CHUNKED, b"3\nabc\n0\n\n"),
    "nothing behind the chunk": (CHUNKED, b"3\r\nabc0\r\n\r\n"),
    "a size with a plus": (CHUNKED, b"+3\r\nabc\r\n0\r\n\r\n"),
    "a size in hex": (CHUNKED, b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a size beyond 64 bits": (CHUNKED, b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "a size of many zeros": (CHUNKED, b"0000000000000003\r\nabc\r\n0\r\n\r\n"),
    "an empty size": (CHUNKED, b"\r\nabc\r\n0\r\n\r\n"),
    "trailers": (CHUNKED, b"3\r\nabc\r\n0\r\nX-After: b\r\nContent-Length: 99\r\n\r\n"),
    "a hidden request": (["Content-Length: 0"], HIDDEN),
    "a hidden request in a body": ([f"Content-Length: {len(HIDDEN) + 10}"], HIDDEN + b"x" * 20),
    "an offer": (["Connection: Upgrade", "Upgrade: h2c", "Content-Length: 3"], b"abc"),
    "an offer and chunks": (["Connection: Upgrade", "Upgrade: h2c", *CHUNKED], b"3\r\nabc\r\n0\r\n\r\n"),
    "an offer with a hidden request": (["Connection: Upgrade", "Upgrade: h2c", "Content-Length: 46"], HIDDEN),
    "expects to go on": (["Expect: 100-continue", "Content-Length: 3"], b"abc"),
    "closes": (["Connection: close", "Content-Length: 3"], b"abc"),
}  # fmt: skip
# What the wire must not take for a request at all: who stands in front may have read it otherwise (RFC 9112, 5.1, 6.3).
REFUSED = {
    *("two lengths", "two lengths, other way", "two in one", "a plus", "a minus", "hex", "an underscore"),
    *("a space inside", "beyond 64 bits", "a space before the colon", "a null", "chunks and a length"),
    *("a length and chunks", "a length of zero and chunks", "chunked, identity", "xchunked", "quoted"),
    *("chunked with a space before the colon", "a length behind a bare return", "a bare line feed behind the size"),
    *("bare line feeds", "nothing behind the chunk", "a size with a plus", "a size in hex", "a size beyond 64 bits"),
    *("an empty size", "a line feed in an extension", "chunked;q=1", "a vertical tab"),
}


@dataclass
class Case:
    """Bytes, where they are cut, and the name by which their requests are found again."""

    name: str
    data: bytes
    cuts: list[int]


def case(name: str, row: Row, chance: random.Random, target: str = "", method: str = "POST") -> Case:
    """The request, and another behind it that ends the connection."""
    headers, body = row
    head = [f"{method} {target or f'/{name}/first'} HTTP/1.1", "Host: testserver", *headers]
    data = "\r\n".join(head).encode("latin1") + b"\r\n\r\n" + body.replace(b"%b", name.encode())
    data += f"GET /{name}/last HTTP/1.1\r\nHost: testserver\r\nConnection: close\r\n\r\n".encode()
    return Case(name, data, sorted(chance.sample(range(1, len(data)), chance.choice([0, 0, 1, 2, 3]))))


def generated() -> list[Case]:
    """Rows of the above mixed with each other: the same ones in every run."""
    chance = random.Random(SEED)
    headers = [line for lines, _ in FIXED.values() for line in lines]
    bodies = [body for _, body in FIXED.values()]
    cases = []
    for number in range(GENERATED):
        name = f"g{number}"
        lines = chance.sample(headers, chance.choice([1, 1, 2, 3]))
        method = chance.choice(["POST", "POST", "GET", "PUT", "HEAD", "DELETE"])
        target = chance.choice(["", "", f"http://testserver/{name}/absolute", f"/{name}/first?a=b"])
        mixed = case(name, (lines, chance.choice(bodies)), chance, target, method)
        if chance.random() < 0.3:  # and one byte is another
            at = chance.randrange(len(mixed.data))
            odd = chance.choice([b"\n", b"\r", b" ", b"\t", b"\0", b"0", b":", b";", b"\xff"])
            mixed.data = mixed.data[:at] + odd + mixed.data[at + 1 :]
        cases.append(mixed)
    return cases


def without_offer(data: bytes) -> bytes:
    """What is left when the offer to upgrade is ignored."""
    return data.replace(b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"").replace(b"Upgrade: h2c\r\n", b"")


async def compare(recorded: tuple[Served, Recorder], nginx: Front, cases: list[Case]) -> dict[str, Seen]:
    """All of them, at the wire, in llhttp alone and through nginx; what the wire saw."""
    served, recorder = recorded
    found: dict[str, list[Seen]] = {}
    for way, port in (("wire", served.port), ("nginx", nginx.port)):
        recorder.seen.clear()
        for start in range(0, len(cases), AT_ONCE):
            await asyncio.gather(*(say(port, one.data, one.cuts) for one in cases[start : start + AT_ONCE]))
        for one in cases:
            found.setdefault(one.name, []).append(recorder.seen.pop(one.name, []))
        assert not recorder.seen, f"{way}: requests that nobody sent: {dict(recorder.seen)}"
    wrong = []
    for one in cases:
        by_wire, by_nginx = found[one.name]
        by_llhttp = Reading().read(without_offer(one.data))
        if by_wire != by_llhttp:
            wrong.append(f"{one.name}: the wire saw {by_wire}, llhttp {by_llhttp}, in {one.data!r}")
        shorter = min(len(by_wire), len(by_nginx))
        if by_wire[:shorter] != by_nginx[:shorter]:
            wrong.append(f"{one.name}: the wire saw {by_wire}, nginx {by_nginx}, in {one.data!r}")
    assert not wrong, "\n".join(wrong)
    return {name: by_wire for name, (by_wire, _) in found.items()}


async def test_odd_framing_is_read_as_by_llhttp_and_nginx(recorded: tuple[Served, Recorder], nginx: Front) -> None:
    chance = random.Random(SEED)
    names = {f"f{number}": what for number, what in enumerate(FIXED)}
    found = await compare(recorded, nginx, [case(name, FIXED[what], chance) for name, what in names.items()])
    taken = {what for name, what in names.items() if found[name]}
    assert taken & REFUSED == set()
    assert {"a length", "chunks", "an offer", "an offer and chunks", "an offer with a hidden request"} <= taken


async def test_any_mixture_is_read_as_by_llhttp_and_nginx(recorded: tuple[Served, Recorder], nginx: Front) -> None:
    found = await compare(recorded, nginx, generated())
    # A comparison of nothing would prove nothing.
    assert sum(bool(seen) for seen in found.values()) > GENERATED / 10
    assert sum(not seen for seen in found.values()) > GENERATED / 10


async def test_the_canary_that_stops_reading_at_an_offer_is_seen(nginx: Front) -> None:
    """uvicorn's own protocol: the body of what offers to upgrade is its next request."""
    chance, recorder = random.Random(SEED), Recorder()
    cases = [case("f0", FIXED["an offer with a hidden request"], chance)]
    cases[0].cuts = [cases[0].data.index(b"\r\n\r\n") + 4]
    async with serving(HttpToolsProtocol, handler=recorder) as stock:
        with pytest.raises(AssertionError, match="hidden"):
            await compare((stock, recorder), nginx, cases)
