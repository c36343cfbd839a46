"""Which way workers are started: by fork where that is possible, by exec elsewhere."""

from __future__ import annotations

import logging

from .forking import CannotForkError, ForkLauncher
from .launch import ExecLauncher, Launcher, WorkerProgram
from .worker import Spawned

log = logging.getLogger(__name__)


class BestLauncher:
    """Forks until it learns that it cannot (another system, threads in the warm process)."""

    def __init__(self, child: WorkerProgram, *, fork: bool) -> None:
        self._child = child
        # A command of its own is started as it is: only the real child knows how to fork.
        self._launcher = self._forking() if fork and not child.command else ExecLauncher(child)

    @property
    def spawner_pid(self) -> int:
        """The process that workers are forked from; 0 where there is none."""
        return self._launcher.pid if isinstance(self._launcher, ForkLauncher) else 0

    async def launch(self) -> Spawned:
        launcher = self._launcher
        try:
            return await launcher.launch()
        except CannotForkError as error:
            if self._launcher is launcher:  # the first slot to learn it tells the log
                self._use_exec(error)
            return await self._launcher.launch()

    async def close(self, grace: float) -> None:
        await self._launcher.close(grace)

    def _forking(self) -> Launcher:
        try:
            return ForkLauncher(self._child)
        except CannotForkError as error:
            log.info("workers are started one by one reason=%s", error)
            return ExecLauncher(self._child)

    def _use_exec(self, error: CannotForkError) -> None:
        log.info("workers are started one by one reason=%s", error)
        self._launcher = ExecLauncher(self._child)
