"""The daemon's end of a fork server: a warm process that forks workers on request (Linux).

The daemon cannot fork itself: threads of Go and of its own live in it, and a fork keeps their locks
without the threads. `child/forkserver.py` is the other end, and says how a worker comes to be.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket

import msgspec

from .errors import SpawnFailed
from .launch import Pipes, WorkerProgram, start
from .messages import Ready, decode_ready
from .pipes import PipeReader
from .reaper import Reaper, describe
from .stderr import StderrLog
from .worker import READY_SECONDS, Spawned, first_of

log = logging.getLogger(__name__)

PACKET = 4096
"""Bytes of one message; a socket of packets cuts what is longer. A ready message has a hundred."""

FORK_SECONDS = 10.0
"""A fork takes some ten milliseconds; a fork server that needs longer is stuck."""


class Forked(msgspec.Struct):
    """The fork server's answer to request number `fork`: a worker's pid, or why there is none."""

    fork: int
    pid: int = 0
    error: str = ""


_decode_forked = msgspec.json.Decoder(Forked).decode


class ForkServer:
    """One fork server process, from its start to its end. Never restarted.

    `ready` has its first message, `gone` the reason of its end, once everything of it is closed.
    """

    def __init__(self, program: WorkerProgram) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[Ready] = self._loop.create_future()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        self._forks: dict[int, asyncio.Future[int]] = {}
        self._unwanted: set[asyncio.Future[None]] = set()  # done when such a worker has ended
        self._number = 0
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        errors, their_errors = os.pipe()
        try:
            argv = program.argv(fork_server=True)
            self.pid = start(argv, theirs.fileno(), their_errors, their_errors)
        except BaseException:
            self._sock.close()
            os.close(errors)
            raise
        finally:
            theirs.close()
            os.close(their_errors)
        self._sock.setblocking(False)
        self._loop.add_reader(self._sock, self._receive)
        self._stderr = StderrLog(f"fork server pid={self.pid}")
        self._errors = PipeReader(errors, self._stderr.feed, self._stderr.end)
        self._reaper = Reaper(self.pid, self._ended)

    async def wait_ready(self) -> Ready:
        """Its first message, which may say that it cannot fork.

        Raises SpawnFailed with the reason when none came within READY_SECONDS.
        """
        await first_of(self.ready, self.gone, timeout=READY_SECONDS)
        if self.ready.done():
            return self.ready.result()
        if self.gone.done():
            raise SpawnFailed(self.gone.result())
        self.kill()
        raise SpawnFailed(f"the fork server was not ready within {READY_SECONDS:g} s")

    async def fork(self) -> Spawned:
        """A new worker, not yet ready. Raises SpawnFailed when none came within FORK_SECONDS."""
        if self.gone.done():
            raise SpawnFailed(f"the fork server has gone: {self.gone.result()}")
        pipes = Pipes()
        try:
            pid = await self._request_fork(pipes)
        except BaseException:
            # A worker that was forked all the same finds its stdin closed, and ends.
            pipes.close_own_ends()
            raise
        return Spawned(pid, pipes.stdin, pipes.stdout, pipes.stderr)

    def kill(self) -> None:
        """End it now. The workers that it has forked live on."""
        self._reaper.kill()

    async def stop(self, grace: float) -> None:
        """Let it end by itself, by ending its requests; kill it after `grace` seconds.

        What it still answers is read: a worker that it has just forked is a child of this process,
        and would stay a zombie if nobody knew its pid.
        """
        with contextlib.suppress(OSError):  # it has gone already
            self._sock.shutdown(socket.SHUT_WR)
        _, running = await asyncio.wait([self.gone], timeout=grace)
        if running:
            self.kill()
            await asyncio.wait([self.gone], timeout=READY_SECONDS)
        if self._unwanted:
            await asyncio.wait(self._unwanted, timeout=READY_SECONDS)

    async def _request_fork(self, pipes: Pipes) -> int:
        self._number += 1
        number = self._number
        answer: asyncio.Future[int] = self._loop.create_future()
        self._forks[number] = answer
        try:
            fds = [pipes.child_stdin, pipes.child_stdout, pipes.child_stderr]
            socket.send_fds(self._sock, [b'{"fork":%d}' % number], fds)
        except OSError as error:
            del self._forks[number]
            raise SpawnFailed(f"the fork server does not take requests: {error}") from error
        finally:
            pipes.close_child_ends()
        try:
            async with asyncio.timeout(FORK_SECONDS):
                return await answer
        except TimeoutError as error:
            self.kill()
            raise SpawnFailed(f"the fork server did not fork within {FORK_SECONDS:g} s") from error
        finally:
            self._forks.pop(number, None)

    def _receive(self) -> bool:
        """Read one message from the socket; True if there may be more."""
        try:
            packet = self._sock.recv(PACKET)
        except BlockingIOError:
            return False
        except OSError:
            packet = b""
        if not packet:
            self._close_socket()
            self._reaper.kill()
            return False
        try:
            if self.ready.done():
                self._take_forked(_decode_forked(packet))
            else:
                self.ready.set_result(decode_ready(packet))
                self._stderr.level = logging.INFO
        except msgspec.DecodeError as error:
            log.warning("fork server sent something else than JSON; replaced error=%s", error)
            self._reaper.kill()
        return True

    def _take_forked(self, forked: Forked) -> None:
        answer = self._forks.pop(forked.fork, None)
        if answer is None or answer.done():
            if forked.pid:
                self._end_unwanted(forked.pid)
            return
        if forked.error:
            answer.set_exception(SpawnFailed(f"the fork server cannot fork: {forked.error}"))
        else:
            answer.set_result(forked.pid)

    def _end_unwanted(self, pid: int) -> None:
        """End a worker that came too late for who asked for it."""
        ended: asyncio.Future[None] = self._loop.create_future()
        self._unwanted.add(ended)
        ended.add_done_callback(self._unwanted.discard)
        Reaper(pid, lambda code: ended.set_result(None)).kill()

    def _close_socket(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _ended(self, code: int) -> None:
        self._errors.drain()
        self._stderr.end()
        while self._sock.fileno() >= 0 and self._receive():
            pass
        self._close_socket()
        self._errors.close()
        reason = self._stderr.last or describe(code)
        for answer in self._forks.values():
            if not answer.done():
                answer.set_exception(SpawnFailed(f"the fork server has gone: {reason}"))
        self._forks.clear()
        self.gone.set_result(reason)
