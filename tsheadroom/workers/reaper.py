"""Watches child processes end, waits for them, and clears their process groups away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

POLL_SECONDS = 0.05
"""Between two looks, where the system has no pidfd, and at what a killed group leaves behind."""

GROUP_TRIES = 100
"""Five seconds: a killed process that is still there then hangs in the kernel."""


def describe(code: int) -> str:
    """An exit code as a person reads it; a negative one is a signal's number."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


class Reaper:
    """Waits for one child of this process, the leader of its own process group.

    `on_end` is called once with the exit code, as `os.waitstatus_to_exitcode` gives it; 0 if the
    process was no child of this one. All calls happen on the event loop.
    """

    def __init__(self, pid: int, on_end: Callable[[int], None]) -> None:
        self._pid = pid
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._over = False
        self._pidfd = -1
        # A pid stays ours until we wait for it, so neither this nor a kill can hit a stranger.
        with contextlib.suppress(OSError, AttributeError):
            self._pidfd = os.pidfd_open(pid)
        if self._pidfd >= 0:
            self._loop.add_reader(self._pidfd, self._look)
        else:
            self._loop.call_soon(self._poll)

    def kill(self) -> None:
        """SIGKILL to the group, and to the child if it has no group of its own yet."""
        if self._over:
            return
        for send in (os.killpg, os.kill):
            # PermissionError: some systems say so of a group of zombies.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(self._pid, signal.SIGKILL)

    def _poll(self) -> None:
        self._look()
        if not self._over:
            self._loop.call_later(POLL_SECONDS, self._poll)

    def _look(self) -> None:
        """If the child has ended, kill its group before its pid is given free, and wait for it."""
        try:
            ended = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            self._end(0)  # not ours: it found so itself, and left
            return
        if ended is None:
            return
        self.kill()
        _, status = os.waitpid(self._pid, 0)
        self._end(os.waitstatus_to_exitcode(status))
        self._reap_group(GROUP_TRIES)

    def _end(self, code: int) -> None:
        self._over = True
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self._on_end(code)

    def _reap_group(self, tries: int) -> None:
        """Wait for the group's other processes, which came to us as orphans."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _ = os.waitpid(-self._pid, os.WNOHANG)
                if pid:
                    continue
                if tries and not self._loop.is_closed():
                    self._loop.call_later(POLL_SECONDS, self._reap_group, tries - 1)
                return
