"""A daemon that crashes leaves no core, even where its limits allow one: it is not dumpable.

Its workers die with it, and what was decided is there after the next start.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

ANY = resource.RLIM_INFINITY
GONE_SECONDS = 5.0


def attack(bench: Bench) -> Verdict:
    """Allow it a core and end it by SIGABRT; and a process that may leave one, to compare with."""
    target = bench.daemon()
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    children = target.children()
    dumped = _dumped(target.pid)
    target.stop()
    alive = _places.until(lambda: not any(map(_runs, children)), GONE_SECONDS) is None
    target.start()
    target.wait_ready()
    talk.turn()
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=bench.folder
    ) as usual:
        comparison = _dumped(usual.pid)
    for core in bench.folder.glob("core*"):
        core.unlink()
    figures = {"core": dumped, "core of another process": comparison, "workers left": alive}
    return Verdict(not dumped and not alive and not talk.broken, {**figures, **talk.figures()})


def _dumped(pid: int) -> bool:
    """Let a child of this process crash. True if the kernel has made a core of it."""
    with contextlib.suppress(PermissionError):  # only root may raise it above the hard limit
        resource.prlimit(pid, resource.RLIMIT_CORE, (ANY, ANY))
    os.kill(pid, signal.SIGABRT)
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return ended is not None and ended.si_code == os.CLD_DUMPED


def _runs(pid: int) -> bool:
    try:
        return _places.status_of(pid)["State"][0] not in "ZX"
    except OSError:
        return False
