"""The listener on a socket pair, with this test in the library's place."""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tsheadroom.tailnet import listener as listener_module
from tsheadroom.tailnet.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PATIENCE = 60.0  # seconds until a test counts as hung


class Library:
    """Hands over connections as the native library does."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair()
        self.descriptor = theirs.detach()

    def connect(self, peer: bytes) -> socket.socket:
        """A connection's far end."""
        mine, given = socket.socketpair()
        rights = array.array("i", [given.fileno()])
        self.ours.sendmsg([peer], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        given.close()
        mine.settimeout(PATIENCE)
        return mine


async def say_remote(request: web.BaseRequest) -> web.Response:
    return web.Response(text=f"<{request.remote}>")


@pytest.fixture
async def server() -> AsyncIterator[web.Server]:
    async with contextlib.AsyncExitStack() as stack:
        server = web.Server(say_remote)
        stack.push_async_callback(server.shutdown, 1.0)
        yield server


@pytest.fixture
def library() -> Iterator[Library]:
    library = Library()
    yield library
    library.ours.close()


async def ask(connection: socket.socket) -> str:
    """What the server takes the peer of this connection for; "" when it hangs up."""

    def exchange() -> str:
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = connection.recv(4096).decode()
        except (BrokenPipeError, ConnectionResetError):
            return ""
        return answer.rpartition("\r\n\r\n")[2]

    return await asyncio.to_thread(exchange)


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        (b"100.64.0.7:41234", "<100.64.0.7>"),
        (b"100.64.0.7:41234\0", "<100.64.0.7>"),
        (b"[fd7a:115c:a1e0::1]:80", "<fd7a:115c:a1e0::1>"),
        # A library that names nobody, or nonsense, leaves a nobody: no address to look up.
        (b"x", "<>"),
        (b"\0", "<>"),
        (b"100.64.0.7", "<>"),
        (b"someone:80", "<>"),
        (b"100.64.0.7:http", "<>"),
        (b"\xff\xfe:80", "<>"),
    ],
)
async def test_the_message_names_the_peer(
    server: web.Server, library: Library, text: bytes, remote: str
) -> None:
    listener = Listener(library.descriptor, server, 10)
    with library.connect(text) as connection:
        assert await ask(connection) == remote
    listener.close()


async def test_connections_that_come_together_keep_their_own_peers(
    server: web.Server, library: Library
) -> None:
    connections = [library.connect(b"100.64.0.%d:1" % n) for n in range(200)]
    listener = Listener(library.descriptor, server, 1000)
    seen = [await ask(connection) for connection in connections]
    assert seen == [f"<100.64.0.{n}>" for n in range(200)]
    assert listener.connections == 200
    for connection in connections:
        connection.close()
    listener.close()


async def until(true: object, what: str) -> None:
    assert callable(true)
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 (the event is in another process)
            await asyncio.sleep(0.01)
    assert true(), what


async def test_a_full_house_refuses_at_once_and_has_room_again(
    server: web.Server, library: Library
) -> None:
    listener = Listener(library.descriptor, server, 2)
    inside = [library.connect(b"100.64.0.1:1") for _ in range(2)]
    assert [await ask(one) for one in inside] == ["<100.64.0.1>"] * 2
    with library.connect(b"100.64.0.1:1") as refused:
        assert await ask(refused) == ""
    assert listener.connections == 2
    inside[0].close()
    await until(lambda: listener.connections == 1, "the closed connection is given back")
    with library.connect(b"100.64.0.2:1") as connection:
        assert await ask(connection) == "<100.64.0.2>"
    inside[1].close()
    listener.close()


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    """The open ones go on; none is given, not even one that is free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_running_out_of_descriptors_is_survived(
    server: web.Server, library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(library.descriptor, server, 100)
    lost = library.connect(b"100.64.0.1:1")
    with caplog.at_level(logging.WARNING), no_more_descriptors():
        await until(lambda: "out of file descriptors" in caplog.text, "the shortage is said")
    assert await ask(lost) == ""  # its caller sees an end, not silence
    with library.connect(b"100.64.0.2:1") as connection:
        assert await ask(connection) == "<100.64.0.2>"
        assert listener.connections == 1
    lost.close()
    listener.close()


async def test_a_shortage_is_not_a_busy_loop(
    library: Library,
    server: web.Server,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_module, "_FIRST_PAUSE", 600.0)
    listener = Listener(library.descriptor, server, 100)
    waiting = [library.connect(b"100.64.0.1:1") for _ in range(20)]
    with no_more_descriptors():
        await until(lambda: "out of file descriptors" in caplog.text, "the shortage is said")
        for _ in range(100):
            await asyncio.sleep(0)
    # Each look costs a caller its connection: after the first the rest are left for later.
    assert listener._resume is not None
    listener._resume.cancel()
    listener._go_on()  # the pause is over
    answers = [await ask(one) for one in waiting]
    assert answers == ["", *["<100.64.0.1>"] * 19]
    for one in waiting:
        one.close()
    listener.close()


async def test_the_limit_stays_within_the_descriptors(
    library: Library, server: web.Server, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        listener = Listener(library.descriptor, server, 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert listener.limit == 64
    assert "fewer connections" in caplog.text
    listener.close()


async def test_the_librarys_end_closes_the_listener(
    library: Library, server: web.Server, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(library.descriptor, server, 10)
    library.ours.close()
    await until(lambda: "ended its listener" in caplog.text, "the end is said")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(library.descriptor)
    listener.close()


async def test_a_protocol_that_fails_does_not_stop_the_others(
    library: Library, server: web.Server, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def factory() -> asyncio.BaseProtocol:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("on purpose")
        protocol: asyncio.BaseProtocol = server()
        return protocol

    listener = Listener(library.descriptor, factory, 10)
    with library.connect(b"100.64.0.1:1") as first, library.connect(b"100.64.0.2:1") as second:
        assert await ask(first) == ""
        assert await ask(second) == "<100.64.0.2>"
    assert "on purpose" in caplog.text
    listener.close()
