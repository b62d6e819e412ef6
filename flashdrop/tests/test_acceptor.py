"""Connections are taken in bulk, whatever else the loop is doing, and none is lost when there is no room."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from conftest import eventually
from flashdrop import acceptor
from flashdrop.acceptor import Acceptor


class Greeter(asyncio.Protocol):
    """Says hello to whoever connects."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


@pytest.fixture
async def listener() -> AsyncIterator[socket.socket]:
    sock = socket.create_server(("127.0.0.1", 0), backlog=512)
    yield sock
    sock.close()


async def greeting(listener: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def test_all_that_wait_are_taken(listener: socket.socket) -> None:
    count = acceptor.AT_ONCE + 20
    async with AsyncExitStack() as stack:
        waiting = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(listener.getsockname()))
            sock.settimeout(5)
            waiting.append(sock)
        taking = Acceptor(listener, Greeter)
        try:
            greetings = await asyncio.gather(*(asyncio.to_thread(sock.recv, 16) for sock in waiting))
        finally:
            await taking.close()
    assert greetings == [b"hello"] * count


async def test_once_closed_it_lets_nobody_in_and_the_listener_stays_open(listener: socket.socket) -> None:
    taking = Acceptor(listener, Greeter)
    assert await greeting(listener) == b"hello"
    await taking.close()
    await taking.close()
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(socket.create_connection, listener.getsockname(), 0.2)
    assert listener.fileno() >= 0


async def greeted_although_it_closes(listener: socket.socket, taking: Acceptor | None) -> int:
    """How many of those who wait for a process that is about to close hear from it."""
    loop = asyncio.get_running_loop()
    if taking is not None:
        loop.remove_reader(taking._listener)  # busy with something else until it is told to close
    count = acceptor.AT_ONCE + 20
    waiting = [socket.create_connection(listener.getsockname(), 5) for _ in range(count)]
    if taking is not None:
        await taking.close()
    listener.close()
    heard = 0
    for sock in waiting:
        try:
            heard += await asyncio.to_thread(sock.recv, 16) == b"hello"
        except ConnectionResetError:
            continue
        finally:
            sock.close()
    return heard


async def test_all_that_wait_when_it_closes_are_taken(listener: socket.socket) -> None:
    taking = Acceptor(listener, Greeter)
    assert await greeted_although_it_closes(listener, taking) == acceptor.AT_ONCE + 20


async def test_the_canary_that_just_closes_resets_them(listener: socket.socket) -> None:
    assert await greeted_although_it_closes(listener, None) == 0


async def test_without_file_descriptors_it_tries_again_and_says_so(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acceptor, "PAUSE_SECONDS", 0.05)
    refusals = 3
    real = socket.socket.accept

    def accept(self: socket.socket) -> Any:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return real(self)

    monkeypatch.setattr(socket.socket, "accept", accept)
    taking = Acceptor(listener, Greeter)
    try:
        assert await greeting(listener) == b"hello"
    finally:
        await taking.close()
    assert [record.getMessage() for record in caplog.records] == ["can't accept connections: Too many open files"] * 3


async def test_a_protocol_that_cannot_be_made_costs_only_its_own_connection(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    made = 0

    def make() -> asyncio.Protocol:
        nonlocal made
        made += 1
        if made == 1:
            raise RuntimeError("not this one")
        return Greeter()

    taking = Acceptor(listener, make)
    try:
        assert await greeting(listener) == b""
        assert await greeting(listener) == b"hello"
    finally:
        await taking.close()

    async def logged() -> bool:
        return any("could not be taken: not this one" in record.getMessage() for record in caplog.records)

    await eventually(logged)
