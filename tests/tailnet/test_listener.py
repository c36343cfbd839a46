"""The listener on a socket pair, with this test in the library's place."""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import os
import resource
import socket
import time
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tsheadroom.tailnet import listener as listener_module
from tsheadroom.tailnet.listener import Listener, TailnetSocket

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
    for one in inside:
        one.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n")  # and a rest that does not come
    await until(lambda: not silent(listener), "the halves are read")
    with library.connect(b"100.64.0.1:1") as refused:
        assert await ask(refused) == ""
    assert listener.connections == 2
    inside[0].close()
    await until(lambda: listener.connections == 1, "the closed connection is given back")
    with library.connect(b"100.64.0.2:1") as connection:
        assert await ask(connection) == "<100.64.0.2>"
    inside[1].close()
    listener.close()


def sockets(listener: Listener) -> list[TailnetSocket]:
    return [sock for peer in listener._open.values() for sock in peer]


def silent(listener: Listener) -> int:
    """How many connections could make room now, or a moment later."""
    late = time.monotonic() + 60.0
    return sum(sock.silent_since(late) is not None for sock in sockets(listener))


async def ended(connection: socket.socket) -> bool:
    """Whether the other side has hung up; it says nothing by itself."""
    connection.setblocking(False)
    try:
        return await asyncio.get_running_loop().sock_recv(connection, 1) == b""
    except ConnectionResetError:
        return True


async def test_silent_connections_make_room(server: web.Server, library: Library) -> None:
    listener = Listener(library.descriptor, server, 4)
    mute = [library.connect(b"100.64.0.1:%d" % n) for n in range(4)]
    await until(lambda: silent(listener) == 4, "they are served")
    with library.connect(b"100.64.0.2:1") as connection:
        assert await ask(connection) == "<100.64.0.2>"
        assert await ended(mute[0])  # the longest silent one
        assert listener.connections == 4
        assert [await ask(one) for one in mute[1:]] == ["<100.64.0.1>"] * 3
    for one in mute:
        one.close()
    listener.close()


async def test_the_peer_with_most_silent_connections_makes_room(
    server: web.Server, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "_SILENT_AFTER", 0.0)
    listener = Listener(library.descriptor, server, 4)
    kept = library.connect(b"100.64.0.1:1")
    assert await ask(kept) == "<100.64.0.1>"  # silent for longer than what follows
    mute = [library.connect(b"100.64.0.2:%d" % n) for n in range(3)]
    await until(lambda: silent(listener) == 4, "they are served")
    more = [library.connect(b"100.64.0.2:%d" % n) for n in range(20)]
    assert all([await ended(one) for one in (*mute, *more[:17])])
    assert await ask(kept) == "<100.64.0.1>"
    for one in (kept, *mute, *more):
        one.close()
    listener.close()


async def test_an_answer_that_is_waited_for_is_not_silence(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "_SILENT_AFTER", 30.0)
    answer = asyncio.Event()

    async def answered(request: web.BaseRequest) -> web.Response:
        await answer.wait()
        return await say_remote(request)

    server = web.Server(answered)
    listener = Listener(library.descriptor, server, 1)
    with library.connect(b"100.64.0.1:1") as first:
        asked = asyncio.create_task(ask(first))
        await until(lambda: sockets(listener) and not silent(listener), "the request is read")
        with library.connect(b"100.64.0.1:2") as second:
            assert await ask(second) == ""
        answer.set()
        assert await asked == "<100.64.0.1>"
        # Its answer may go on for a moment, so there is still no room...
        with library.connect(b"100.64.0.1:3") as third:
            assert await ask(third) == ""
        assert silent(listener) == 1  # ...but there will be.
    listener.close()
    await server.shutdown(1.0)


async def test_what_has_arrived_is_not_silence(server: web.Server, library: Library) -> None:
    listener = Listener(library.descriptor, server, 1)
    with library.connect(b"100.64.0.1:1") as connection:
        await until(lambda: silent(listener) == 1, "it is served")
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")  # the loop has not seen it
        assert not listener._make_room(strangers=False)
        assert (await asyncio.to_thread(connection.recv, 4096)).endswith(b"<100.64.0.1>")
    listener.close()


async def test_strangers_share_a_quarter(server: web.Server, library: Library) -> None:
    callers: list[str] = []
    asked: list[str] = []

    async def trusted(address: str) -> bool:
        asked.append(address)
        return address.startswith(("100.64.0.1:", "[fd7a::1]:"))

    listener = Listener(library.descriptor, server, 16, trusted=trusted, on_caller=callers.append)
    half = b"POST / HTTP/1.1\r\nHost: x\r\n"
    strangers = [library.connect(b"100.64.0.2:1"), library.connect(b"x")]
    strangers += [library.connect(b"100.64.0.3:%d" % n) for n in range(2)]
    for one in strangers:
        one.sendall(half)
    await until(lambda: len(sockets(listener)) == 4 and not silent(listener), "all are read")
    with library.connect(b"100.64.0.4:1") as refused:
        assert await ask(refused) == ""
    trusted_ones = [library.connect(b"100.64.0.1:%d" % n) for n in range(11)]
    trusted_ones.append(library.connect(b"[fd7a::1]:1"))
    answers = [await ask(one) for one in trusted_ones]
    assert answers == ["<100.64.0.1>"] * 11 + ["<fd7a::1>"]
    assert listener.connections == 16
    assert "[fd7a::1]:1" in asked
    assert set(callers) == {"100.64.0.1", "100.64.0.2", "100.64.0.3", "fd7a::1"}
    strangers[0].close()
    await until(lambda: listener.connections == 15, "a stranger has gone")
    with library.connect(b"100.64.0.4:1") as next_one:
        assert await ask(next_one) == "<100.64.0.4>"
    for one in (*strangers, *trusted_ones):
        one.close()
    listener.close()


async def test_silent_strangers_make_room_for_strangers_only_among_themselves(
    server: web.Server, library: Library
) -> None:
    async def trusted(address: str) -> bool:
        return address.startswith("100.64.0.1:")

    listener = Listener(library.descriptor, server, 4, trusted=trusted)
    kept = [library.connect(b"100.64.0.1:%d" % n) for n in range(2)]
    stranger = library.connect(b"100.64.0.2:1")
    await until(lambda: silent(listener) == 3, "they are served")
    with library.connect(b"100.64.0.3:1") as connection:
        assert await ask(connection) == "<100.64.0.3>"
        assert await ended(stranger)
    assert [await ask(one) for one in kept] == ["<100.64.0.1>"] * 2
    for one in (*kept, stranger):
        one.close()
    listener.close()


async def test_a_lookup_that_fails_costs_one_connection_and_one_line(
    server: web.Server, library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    async def trusted(address: str) -> bool:
        raise RuntimeError("on purpose")

    listener = Listener(library.descriptor, server, 4, trusted=trusted)
    for _ in range(20):
        with library.connect(b"100.64.0.1:1") as connection:
            assert await ask(connection) == ""
    assert caplog.text.count("could not be served") == 1
    assert listener.connections == 0
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
