"""Starting workers by fork from one warmed process, so that they share its memory (Linux).

The daemon cannot fork itself: other threads live in it. See child/spawner.py for the other end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time

import msgspec

from tsheadroom.child import system

from .errors import SpawnFailed
from .launch import Pipes, WorkerProgram, backoff, start
from .messages import Ready, decode_ready
from .pipes import PipeReader
from .reaper import Death, describe
from .stderr import StderrLog
from .worker import READY_SECONDS, Spawned, first_of

log = logging.getLogger(__name__)

PACKET = 4096

FORK_SECONDS = 10.0
"""A fork takes some ten milliseconds; a spawner that needs longer is stuck."""


STEADY_SECONDS = 10.0
"""A spawner that dies sooner after its start is a failed start: the next one comes later."""


class CannotForkError(Exception):
    """Forking is not possible here for good; start workers by exec."""


class Forked(msgspec.Struct):
    """The spawner's answer to one request."""

    fork: int
    pid: int = 0
    error: str = ""


_decode_forked = msgspec.json.Decoder(Forked).decode


class Spawner:
    """One spawner process."""

    def __init__(self, child: WorkerProgram) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[Ready] = self._loop.create_future()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        self._forks: dict[int, asyncio.Future[int]] = {}
        self._number = 0
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        errors, their_errors = os.pipe()
        try:
            pid = start(child.argv(spawner=True), theirs.fileno(), their_errors, their_errors)
        except BaseException:
            self._sock.close()
            os.close(errors)
            raise
        finally:
            theirs.close()
            os.close(their_errors)
        self.pid = pid
        self._sock.setblocking(False)
        self._loop.add_reader(self._sock, self._hear)
        self._stderr = StderrLog(f"spawner pid={pid}")
        self._errors = PipeReader(errors, self._stderr.feed, self._stderr.end)
        self._death = Death(pid, self._ended)

    async def wait_ready(self) -> Ready:
        """Its ready packet; SpawnFailed with the reason when none came."""
        await first_of(self.ready, self.gone, timeout=READY_SECONDS)
        if self.ready.done():
            return self.ready.result()
        if self.gone.done():
            raise SpawnFailed(self.gone.result())
        self.kill()
        raise SpawnFailed(f"the spawner was not ready within {READY_SECONDS:g} s")

    async def fork(self) -> Spawned:
        """A new worker, forked off."""
        if self.gone.done():
            raise SpawnFailed(f"the spawner has gone: {self.gone.result()}")
        pipes = Pipes()
        try:
            pid = await self._ask(pipes)
        except BaseException:
            # A worker that was forked all the same finds its stdin closed, and ends.
            pipes.close_own_ends()
            raise
        return Spawned(pid, pipes.stdin, pipes.stdout, pipes.stderr)

    def kill(self) -> None:
        self._death.kill()

    async def stop(self, grace: float) -> None:
        """Let it end by itself, by closing its socket; kill it after `grace` seconds."""
        self._close_socket()
        _, running = await asyncio.wait([self.gone], timeout=grace)
        if running:
            self.kill()
            await asyncio.wait([self.gone], timeout=READY_SECONDS)

    async def _ask(self, pipes: Pipes) -> int:
        self._number += 1
        number = self._number
        answer: asyncio.Future[int] = self._loop.create_future()
        self._forks[number] = answer
        try:
            fds = [pipes.child_stdin, pipes.child_stdout, pipes.child_stderr]
            socket.send_fds(self._sock, [b'{"fork":%d}' % number], fds)
        except OSError as error:
            del self._forks[number]
            raise SpawnFailed(f"the spawner does not take requests: {error}") from error
        finally:
            pipes.close_child_ends()
        try:
            async with asyncio.timeout(FORK_SECONDS):
                return await answer
        except TimeoutError as error:
            self.kill()
            raise SpawnFailed(f"the spawner did not fork within {FORK_SECONDS:g} s") from error
        finally:
            self._forks.pop(number, None)

    def _hear(self) -> None:
        try:
            packet = self._sock.recv(PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._close_socket()
            self._death.kill()
            return
        try:
            if self.ready.done():
                self._hear_fork(_decode_forked(packet))
            else:
                self.ready.set_result(decode_ready(packet))
                self._stderr.level = logging.INFO
        except msgspec.DecodeError as error:
            log.warning("spawner talks rubbish; replaced error=%s", error)
            self._death.kill()

    def _hear_fork(self, forked: Forked) -> None:
        answer = self._forks.pop(forked.fork, None)
        if answer is None or answer.done():
            if forked.pid:  # nobody waits for it any more: its stdin has ended, so will it
                Death(forked.pid, lambda code: None)
            return
        if forked.error:
            answer.set_exception(SpawnFailed(f"the spawner cannot fork: {forked.error}"))
        else:
            answer.set_result(forked.pid)

    def _close_socket(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _ended(self, code: int) -> None:
        self._errors.drain()
        self._stderr.end()
        self._close_socket()
        self._errors.close()
        reason = self._stderr.last or describe(code)
        for answer in self._forks.values():
            if not answer.done():
                answer.set_exception(SpawnFailed(f"the spawner has gone: {reason}"))
        self._forks.clear()
        self.gone.set_result(reason)


class ForkLauncher:
    """Keeps a spawner, and lets it fork. A spawner's death leaves its workers running."""

    def __init__(self, child: WorkerProgram) -> None:
        self._child = child
        self._spawner: Spawner | None = None
        self._starting: asyncio.Task[Spawner] | None = None
        self._failures = 0  # starts in a row that came to nothing
        self._since = 0.0
        self._closed = False
        if not system.LINUX or not hasattr(os, "pidfd_open"):
            raise CannotForkError("not Linux")
        try:
            system.adopt_orphans()
        except OSError as error:
            raise CannotForkError(f"this process cannot adopt the workers: {error}") from error

    @property
    def pid(self) -> int:
        """The spawner's pid; 0 while there is none."""
        return self._spawner.pid if self._spawner is not None else 0

    async def launch(self) -> Spawned:
        return await (await self._running()).fork()

    async def close(self, grace: float) -> None:
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._spawner is not None:
            await self._spawner.stop(grace)

    async def _running(self) -> Spawner:
        """The spawner, started if need be; all slots wait for the same start."""
        if self._spawner is not None and not self._spawner.gone.done():
            return self._spawner
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    async def _start(self) -> Spawner:
        if self._failures:
            await asyncio.sleep(backoff(self._failures))
        self._failures += 1  # until it has proven itself
        spawner = Spawner(self._child)
        try:
            ready = await spawner.wait_ready()
            if not ready.ready:
                raise CannotForkError(f"the spawner has {ready.reason}")
        except BaseException:
            spawner.kill()
            await spawner.gone
            raise
        log.info("spawner ready pid=%d headroom=%s", spawner.pid, ready.headroom_version)
        return spawner

    def _started(self, task: asyncio.Task[Spawner]) -> None:
        self._starting = None
        if task.cancelled() or task.exception() is not None:
            return  # every slot that waited has the exception
        self._spawner = task.result()
        self._since = time.monotonic()
        self._spawner.gone.add_done_callback(self._lost)

    def _lost(self, gone: asyncio.Future[str]) -> None:
        """Replace a dead spawner now, so that the next worker need not wait for its warm-up."""
        self._spawner = None
        if self._closed:
            return
        if time.monotonic() - self._since >= STEADY_SECONDS:
            self._failures = 0
        log.warning("spawner died; replaced reason=%s", gone.result())
        again = asyncio.ensure_future(self._running())
        # If that fails, the next launch tries again and tells its slot.
        again.add_done_callback(lambda task: task.cancelled() or task.exception())
