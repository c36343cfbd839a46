"""How a call ends: counted once, printed once, and only an answer that was taken has arrived."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from aiohttp import web

from tests.turns.test_turns import Workers, conversation, shorten
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.settings import SettingsStore
from tsheadroom.telemetry.series import Metrics
from tsheadroom.turns import splice, turns
from tsheadroom.turns.turns import Turns
from tsheadroom.web import codings as encoding
from tsheadroom.web import hook as hook_module
from tsheadroom.web import pace
from tsheadroom.web.app import make_runner, tell_of_lost_connections
from tsheadroom.web.hook import Hook, HookOptions
from tsheadroom.web.room import Room
from tsheadroom.workers import Job, Reply

ALLOW = b'{"action":"allow"}\n'


class Site:
    """A hook on a port, with scripted workers."""

    def __init__(self, directory: Path, *, gzip: bool = False) -> None:
        self.ledger = Conversations(directory=None)
        self.ledger.open()
        self.metrics = Metrics()
        self.room = Room(64 << 20, 60.0)
        self.lines = io.StringIO()
        self.workers = Workers(shorten)
        self.turns = Turns(self.ledger, self.workers, deadline=60.0)
        self.hook = Hook(
            turns=self.turns,
            settings=SettingsStore(directory / "config.json"),
            metrics=self.metrics,
            room=self.room,
            options=HookOptions(self.lines, gzip, True, False),
        )
        self.port = 0

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/", self.hook.handle)
        runner = make_runner(app)
        await runner.setup()
        self.runner = runner
        tell_of_lost_connections(runner, self.hook.connection_lost)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        await web.SockSite(runner, listener).start()
        return runner

    def connections(self) -> int:
        """How many are open, as the server knows it."""
        assert self.runner.server is not None
        return len(self.runner.server.connections)

    async def connect(self) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        return sock

    async def ask(self, body: bytes) -> bytes:
        """The body of the answer to one call, on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head(body, b"Connection: close\r\nAccept-Encoding: gzip\r\n") + body)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:100]
        return answer.partition(b"\r\n\r\n")[2]

    async def quiet(self) -> None:
        """Wait until no call is under way."""
        async with asyncio.timeout(60):
            await self.hook.drained()

    def ended(self) -> tuple[float, float, float]:
        """Calls counted, lines printed, callers who hung up."""
        return (
            self.count("headroom_requests_total"),
            self.lines.getvalue().count("\n"),
            self.count("tsheadroom_events_total", event="caller_hung_up"),
        )

    def count(self, name: str, **labels: str) -> float:
        """The value of a series; 0 when nothing was counted yet."""
        return self.metrics.value(name, **labels) or 0


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    runner = await site.start()
    yield site
    await runner.cleanup()


def head(body: bytes, more: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n" % (len(body), more)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def left_while_a_worker_is_asked(
    site: Site, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> asyncio.Future[Reply]:
    """Let a caller hang up while its decision is being made. Returns the reply that is missing."""
    loop = asyncio.get_running_loop()
    replies: list[asyncio.Future[Reply]] = []

    def submit(job: Job) -> asyncio.Future[Reply]:
        replies.append(loop.create_future())
        return replies[-1]

    monkeypatch.setattr(site.workers, "submit", submit)
    sock = await site.connect()
    await loop.sock_sendall(sock, head(body) + body)
    async with asyncio.timeout(60):
        while not replies:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0)
    sock.close()
    await site.quiet()
    return replies[0]


def exchange(sock: socket.socket, call: bytes, read: int | None) -> bytes:
    """Ask, and read so many bytes of the answer, or all of it."""
    sock.sendall(call)
    answer = sock.recv(read or 4096)
    if read is None:
        top, _, rest = answer.partition(b"\r\n\r\n")
        (length,) = map(int, re.findall(rb"(?i)content-length: (\d+)", top))
        while len(rest) < length:
            rest += sock.recv(4096)
    return answer


async def test_a_caller_that_hangs_up_while_the_answer_is_written_is_counted(site: Site) -> None:
    loop = asyncio.get_running_loop()
    body = conversation(1, stop_sequences=["x" * 12_000_000])
    sock = await site.connect()
    await loop.sock_sendall(sock, head(body) + body)
    await loop.sock_recv(sock, 100)  # it has begun, and there is more than the kernel takes
    reset(sock)
    await site.quiet()
    assert site.ended() == (1, 1, 1)


async def test_a_caller_that_left_before_the_answer_did_not_get_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of its stream waits in the kernel, and the event loop has not looked yet."""
    loop = asyncio.get_running_loop()
    body = conversation(1)
    sock = await site.connect()

    def leaving(*given: Any, **more: Any) -> Any:
        sock.close()
        return splice.spliced(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(turns, "spliced", leaving)
        await loop.sock_sendall(sock, head(body) + body)
        await site.workers.asked(1)
        await site.quiet()
    assert site.ended() == (1, 1, 1)
    await site.ask(conversation(2))
    assert site.count("tsheadroom_events_total", event="turn_gap") == 1


@pytest.mark.parametrize(("read", "status"), [(40, "gap"), (None, "continued")])
async def test_an_answer_that_was_not_read_to_its_end_did_not_arrive(
    site: Site, read: int | None, status: str
) -> None:
    """The kernel had taken all of it, and tells of the rest that nobody read by a reset."""
    body = conversation(1)
    with socket.create_connection(("127.0.0.1", site.port)) as sock:
        answer = await asyncio.to_thread(exchange, sock, head(body) + body, read)
    assert answer
    async with asyncio.timeout(60):
        while site.connections():  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0)
    assert site.ended() == (1, 1, 0)
    await site.ask(conversation(2))
    assert site.count("tsheadroom_events_total", event=f"turn_{status}") == 1


async def test_a_call_whose_caller_left_has_the_figures_of_its_worker(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is recorded when its decision has ended, not when the caller hung up."""
    reply = await left_while_a_worker_is_asked(site, monkeypatch, conversation(1))
    assert site.ended() == (0, 0, 0)
    reply.set_result(Reply(slot=3, elapsed_ms=7.0, notes={"folds_off": 1}))
    await site.turns.close()
    assert site.ended() == (1, 1, 1)
    assert " worker_ms=7 slot=3 " in site.lines.getvalue()
    assert site.count("tsheadroom_events_total", event="folds_off") == 1


@pytest.mark.parametrize("fails", ["encode_gzip", "accepts_gzip"])
async def test_an_answer_that_cannot_be_coded_is_an_allow_and_a_lost_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    site = Site(tmp_path, gzip=True)
    runner = await site.start()

    def broken(*_: object) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(encoding, fails, broken)
        patch.setattr(hook_module, "MIN_GZIP", 1)
        assert await site.ask(conversation(1)) == ALLOW
    assert site.ended() == (1, 1, 0)
    assert site.lines.getvalue().endswith("-> allow(error)\n")
    assert site.count("headroom_requests_failed_total") == 1
    await site.ask(conversation(2))
    assert site.count("tsheadroom_events_total", event="turn_gap") == 1
    await runner.cleanup()


async def test_a_defect_after_the_decision_is_an_allow_and_a_lost_turn(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a defect of ours")

    with monkeypatch.context() as patch:
        patch.setattr(turns, "spliced", broken)
        assert await site.ask(conversation(1)) == ALLOW
    assert site.ended() == (1, 1, 0)
    await site.ask(conversation(2))
    assert site.count("tsheadroom_events_total", event="turn_gap") == 1


async def test_a_body_that_stands_still_is_allowed_and_its_room_comes_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "PATIENCE_SECONDS", 0.05)
    loop = asyncio.get_running_loop()
    sock = await site.connect()
    await loop.sock_sendall(sock, head(bytes(1000)) + bytes(999))
    answer = await loop.sock_recv(sock, 1000)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(ALLOW)
    await site.quiet()
    assert site.count("tsheadroom_requests_by_outcome", outcome="read_error") == 1
    assert site.room.taken == 0
    sock.close()


async def test_an_answer_that_nobody_reads_is_lost_and_its_room_comes_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    body = conversation(1, stop_sequences=["x" * 12_000_000])
    sock = await site.connect()
    await loop.sock_sendall(sock, head(body) + body)
    await loop.sock_recv(sock, 100)
    assert site.room.taken >= len(body)
    [share] = site.room.paced
    share.end()
    await site.quiet()
    assert site.ended() == (1, 1, 1)
    assert site.room.taken == 0
    sock.close()


async def test_a_large_answer_arrives_whole(site: Site) -> None:
    body = conversation(1, stop_sequences=["x" * 3_000_000])
    answer = json.loads(await site.ask(body))
    assert answer["action"] == "modify"
    assert answer["request_body"]["stop_sequences"] == ["x" * 3_000_000]
    await site.quiet()
    assert site.ended() == (1, 1, 0)


@pytest.mark.parametrize("coded", [False, True])
async def test_a_body_without_room_is_allowed_and_counted(site: Site, *, coded: bool) -> None:
    site.room.patience = 0.0
    others = site.room.share()
    assert others.try_take(site.room.large)
    body = conversation(1, stop_sequences=["x" * 12_000_000])
    more, sent = b"Connection: close\r\n", body
    if coded:
        more, sent = more + b"Content-Encoding: zstd\r\n", zstandard.compress(body)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(head(sent, more) + sent)
    answer = await reader.read()
    assert answer.endswith(ALLOW)
    writer.close()
    await site.quiet()
    assert site.count("tsheadroom_requests_by_outcome", outcome="no_room") == 1
    assert site.lines.getvalue().endswith("-> allow(no-room)\n")
    assert site.room.taken == others.held


async def test_a_body_that_waits_for_room_gets_its_answer(site: Site) -> None:
    others = site.room.share()
    assert others.try_take(site.room.large)
    others.settle()
    body = conversation(1, stop_sequences=["x" * 12_000_000])
    asking = asyncio.create_task(site.ask(body))
    async with asyncio.timeout(60):
        while not site.room.waiting:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.001)
    others.close()
    assert b'"modify"' in (await asking)[:100]


async def test_a_decision_that_goes_on_keeps_its_room(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller has left, and the body is still in memory."""
    body = conversation(1)
    reply = await left_while_a_worker_is_asked(site, monkeypatch, body)
    assert site.room.taken >= len(body)
    reply.set_result(Reply(slot=3))
    await site.turns.close()
    assert site.room.taken == 0
