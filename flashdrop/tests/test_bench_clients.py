"""The benchmarks' own protocols: what comes in pieces, together, long, or unasked is read as it was meant."""

from __future__ import annotations

import asyncio
import itertools
from typing import cast

import pytest

from flashdrop.bench.clients import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Answers,
    Connection,
    Frames,
    Refused,
    Socket,
    Unexpected,
    client_frame,
    request,
)

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
SOLD_OUT = b"HTTP/1.1 409 Conflict\r\nContent-Length: 8\r\nRetry-After: 2\r\n\r\nsold out"
UNCHANGED = b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsol\r\n1\r\nd\r\n0\r\n\r\n"
LAST = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def server_frame(opcode: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 1 << 16:
        return bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big") + payload


def unmasked(frame: bytes) -> tuple[int, bytes]:
    assert frame[1] & 0x80
    mask, body = frame[2:6], frame[6:]
    assert len(body) == frame[1] & 0x7F
    return frame[0] & 0x0F, bytes(byte ^ key for byte, key in zip(body, itertools.cycle(mask), strict=False))


def on_a_wire() -> tuple[Socket, Wire, list[bytes]]:
    texts: list[bytes] = []
    socket, wire = Socket(b"hello", lambda _, at, text: texts.append(text)), Wire()
    socket.connection_made(cast(asyncio.Transport, wire))
    assert wire.written == [b"hello"]
    wire.written.clear()
    return socket, wire, texts


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_a_frame_of_any_length(length: int) -> None:
    assert Frames().feed(server_frame(TEXT, b"x" * length)) == [(TEXT, b"x" * length)]


def test_frames_cut_anywhere_and_joined() -> None:
    expected = [(TEXT, b"a" * 300), (PING, b"1234"), (TEXT, b"b")]
    stream = b"".join(server_frame(*frame) for frame in expected)
    assert Frames().feed(stream) == expected
    for cut in range(len(stream)):
        frames = Frames()
        assert frames.feed(stream[:cut]) + frames.feed(stream[cut:]) == expected
    frames = Frames()
    assert [found for byte in stream for found in frames.feed(bytes((byte,)))] == expected


@pytest.mark.parametrize("frame", [b"\x01\x01a", client_frame(TEXT, b"a")], ids=["fragment", "masked"])
def test_what_the_shop_never_sends_is_an_error(frame: bytes) -> None:
    with pytest.raises(Unexpected):
        Frames().feed(frame)


async def test_a_banner_that_comes_with_the_handshake() -> None:
    socket, _, texts = on_a_wire()
    stream = UPGRADED + server_frame(TEXT, b"banner")
    socket.data_received(stream[:20])
    assert not socket.is_open
    socket.data_received(stream[20:])
    await socket.opened
    assert socket.is_open
    assert texts == [b"banner"]


async def test_a_ping_is_answered_with_its_payload_masked() -> None:
    socket, wire, texts = on_a_wire()
    socket.data_received(UPGRADED + server_frame(PING, b"1234"))
    assert [unmasked(frame) for frame in wire.written] == [(PONG, b"1234")]
    assert texts == []


async def test_a_farewell_is_answered() -> None:
    socket, wire, _ = on_a_wire()
    socket.data_received(UPGRADED + server_frame(CLOSE, b"\x03\xf5later"))
    assert [unmasked(frame) for frame in wire.written] == [(CLOSE, b"\x03\xf5")]
    assert wire.is_closed
    socket.connection_lost(None)
    assert not socket.is_open


@pytest.mark.parametrize("says", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b""])
async def test_a_refused_socket(says: bytes) -> None:
    socket, _, _ = on_a_wire()
    socket.data_received(says)
    socket.connection_lost(None)
    with pytest.raises(Refused, match="403" if says else "closed"):
        await socket.opened


def test_answers_cut_anywhere_and_joined() -> None:
    stream = SOLD_OUT + UNCHANGED + IN_CHUNKS
    expected = [(409, b"sold out"), (304, b""), (200, b"sold")]
    for cut in range(len(stream)):
        answers = Answers()
        found = answers.feed(stream[:cut]) + answers.feed(stream[cut:])
        assert [(answer.status, answer.body) for answer in found] == expected
        assert found[0].headers["retry-after"] == "2"
        assert "retry-after" not in found[1].headers


def test_an_answer_may_be_the_last_on_its_connection() -> None:
    answers = Answers()
    answers.feed(SOLD_OUT)
    assert answers.keeps_alive
    answers.feed(LAST)
    assert not answers.keeps_alive


async def test_a_connection_that_breaks_says_so() -> None:
    connection, wire = Connection(), Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    asked = asyncio.create_task(connection.ask(request("POST", 80, "/buy", {"Cookie": "a=b"}, b"quantity=1")))
    await asyncio.sleep(0)
    head, _, body = wire.written[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /buy HTTP/1.1\r\nHost: 127.0.0.1:80\r\nOrigin: http://127.0.0.1:80\r\n")
    assert b"Content-Length: 10" in head
    assert body == b"quantity=1"
    connection.data_received(SOLD_OUT)
    assert (await asked).status == 409
    assert connection.is_open
    asked = asyncio.create_task(connection.ask(b"again"))
    await asyncio.sleep(0)
    connection.connection_lost(None)
    with pytest.raises(ConnectionResetError):
        await asked
