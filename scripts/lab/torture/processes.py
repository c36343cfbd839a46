"""What is done to processes: signals, and limits for a while."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator, Sequence


def send(pid: int | None, number: int) -> None:
    """Send a signal to a process, if it is still there."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextlib.contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes meanwhile."""
    for pid in pids:
        send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            send(pid, signal.SIGCONT)


@contextlib.contextmanager
def limited(pid: int, which: int, limit: int) -> Iterator[None]:
    """Give a process a smaller limit meanwhile."""
    usual = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (limit, usual[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, which, usual)
