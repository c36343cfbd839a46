"""Starting workers by fork, so that they share memory, and by exec where that is not possible."""

from __future__ import annotations

import asyncio
import logging
import os
import time

from tsheadroom.child import system

from .forkserver import ForkServer
from .launch import ExecLauncher, Launcher, WorkerProgram, backoff
from .worker import Spawned

log = logging.getLogger(__name__)

STEADY_SECONDS = 10.0
"""A fork server that dies sooner after its start is a failed start: the next one comes later."""


class CannotForkError(Exception):
    """Forking is not possible here for good; start workers by exec."""


class ForkOrExecLauncher:
    """Forks workers until it learns that it cannot; from then on each is started by exec.

    It cannot on other systems than Linux, and not when the warm process has threads, as with a
    learned model. A `command` of its own is started by exec: only the real child knows how to fork.
    """

    def __init__(self, program: WorkerProgram, *, fork: bool) -> None:
        self._program = program
        self._launcher: Launcher
        if fork and not program.command:
            self._launcher = self._forking()
        else:
            self._launcher = ExecLauncher(program)

    @property
    def fork_server_pid(self) -> int:
        """The process that workers are forked from; 0 where there is none."""
        return self._launcher.pid if isinstance(self._launcher, ForkLauncher) else 0

    async def launch(self) -> Spawned:
        """A new worker, not yet ready. Raises SpawnFailed where none could be started."""
        launcher = self._launcher
        try:
            return await launcher.launch()
        except CannotForkError as error:
            if self._launcher is launcher:  # the first slot to learn it tells the log
                self._launcher = self._executing(error)
            return await self._launcher.launch()

    async def close(self, grace: float) -> None:
        """End the fork server, if there is one; by force after `grace` seconds."""
        await self._launcher.close(grace)

    def _forking(self) -> Launcher:
        try:
            return ForkLauncher(self._program)
        except CannotForkError as error:
            return self._executing(error)

    def _executing(self, error: CannotForkError) -> Launcher:
        log.info("workers are started one by one reason=%s", error)
        return ExecLauncher(self._program)


class ForkLauncher:
    """Keeps one fork server alive, and has workers forked by it.

    A worker is a child of this process, not of the fork server, so it outlives it.
    Raises CannotForkError where this system cannot do that.
    """

    def __init__(self, program: WorkerProgram) -> None:
        self._program = program
        self._server: ForkServer | None = None
        self._starting: asyncio.Task[ForkServer] | None = None
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
        """The fork server's pid; 0 while there is none."""
        return self._server.pid if self._server is not None else 0

    async def launch(self) -> Spawned:
        """A new worker, not yet ready. Raises SpawnFailed, or CannotForkError for good."""
        return await (await self._running()).fork()

    async def close(self, grace: float) -> None:
        """End the fork server; by force after `grace` seconds. None is started any more."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._server is not None:
            await self._server.stop(grace)

    async def _running(self) -> ForkServer:
        """The fork server, started if need be; all slots wait for the same start."""
        if self._server is not None and not self._server.gone.done():
            return self._server
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    async def _start(self) -> ForkServer:
        if self._failures:
            await asyncio.sleep(backoff(self._failures))
        self._failures += 1  # until it has lived for STEADY_SECONDS
        server = ForkServer(self._program)
        try:
            ready = await server.wait_ready()
            if not ready.ready:
                raise CannotForkError(f"the fork server has {ready.reason}")
        except BaseException:
            server.kill()
            await server.gone
            raise
        log.info("fork server ready pid=%d headroom=%s", server.pid, ready.headroom_version)
        return server

    def _started(self, task: asyncio.Task[ForkServer]) -> None:
        self._starting = None
        if task.cancelled() or task.exception() is not None:
            return  # every slot that waited has the exception
        self._server = task.result()
        self._since = time.monotonic()
        self._server.gone.add_done_callback(self._lost)

    def _lost(self, gone: asyncio.Future[str]) -> None:
        """Replace a dead fork server now, so that the next worker need not wait for a warm-up."""
        self._server = None
        if self._closed:
            return
        if time.monotonic() - self._since >= STEADY_SECONDS:
            self._failures = 0
        log.warning("fork server died; replaced reason=%s", gone.result())
        again = asyncio.ensure_future(self._running())
        # If that fails, the next launch tries again and tells its slot.
        again.add_done_callback(lambda task: task.cancelled() or task.exception())
