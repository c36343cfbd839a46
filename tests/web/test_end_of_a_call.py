"""How a call ends: counted once, printed once, and only an answer that was taken has arrived."""

from __future__ import annotations

import asyncio
import io
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.turns.test_turns import Workers, conversation, shorten
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.settings import SettingsStore
from tsheadroom.telemetry.series import Metrics
from tsheadroom.turns import splice, turns
from tsheadroom.turns.turns import Turns
from tsheadroom.web import codings as encoding
from tsheadroom.web import hook as hook_module
from tsheadroom.web.app import make_runner
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
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        await web.SockSite(runner, listener).start()
        return runner

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


async def test_a_call_whose_caller_left_has_the_figures_of_its_worker(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is recorded when its decision has ended, not when the caller hung up."""
    loop = asyncio.get_running_loop()
    replies: list[asyncio.Future[Reply]] = []

    def submit(job: Job) -> asyncio.Future[Reply]:
        replies.append(loop.create_future())
        return replies[-1]

    monkeypatch.setattr(site.workers, "submit", submit)
    body = conversation(1)
    sock = await site.connect()
    await loop.sock_sendall(sock, head(body) + body)
    async with asyncio.timeout(60):
        while not replies:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0)
    sock.close()
    await site.quiet()
    assert site.ended() == (0, 0, 0)
    replies[0].set_result(Reply(slot=3, elapsed_ms=7.0, notes={"folds_off": 1}))
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
