"""What a child asks of the system: whom to die with, how much memory, which descriptors."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path

LINUX = sys.platform == "linux"

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

STATM_BYTES = 200
"""Seven numbers."""

CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITY_VERSION_3 = 0x20080522


def prctl(option: int, value: int, more: int = 0) -> None:
    """One prctl call; OSError where the system refuses it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(more), 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends (the daemon calls this)."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Be killed when `parent` ends; leave at once if it has ended already.

    Elsewhere than on Linux the end of stdin has to do.
    """
    if LINUX:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before the call above, which then says nothing.
    if parent and os.getppid() != parent:
        os._exit(0)


def hide() -> None:
    """Keep this process's memory and environment from other processes of the same user.

    /proc/PID/mem, environ, maps and fd are root's then, nobody but root traces it, and it leaves no
    core. /proc/PID/stat and statm stay readable, but not where /proc is mounted with hidepid.
    """
    if LINUX:
        prctl(PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class OwnMemory:
    """This process's resident memory, which the daemon cannot always read once it is hidden."""

    def __init__(self) -> None:
        # Kept open: a call costs 3 us, a sixth of what opening the file again would.
        self._statm = -1
        with contextlib.suppress(OSError):  # no /proc
            self._statm = os.open("/proc/self/statm", os.O_RDONLY)

    def resident(self) -> int:
        """In bytes; 0 where the system does not say."""
        if self._statm < 0:
            return 0
        return int(os.pread(self._statm, STATM_BYTES, 0).split()[1]) * resource.getpagesize()


def renounce_privileges() -> None:
    """Give up root's powers, where it has them, and every way to get some."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    number = CAPSET.get(platform.machine(), -1)  # -1 is no call at all
    # Of this process (0): effective, permitted and inheritable, twice 32 of them; none.
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    if ctypes.CDLL(None).syscall(ctypes.c_long(number), header, bytes(24)) != 0:
        raise OSError("capabilities cannot be given up")


def malloc_trim() -> Callable[[int], int] | None:
    """What gives free pages back to the system, called with 0; only glibc offers that.

    malloc keeps what was freed, by default, as far as something still in use lies behind it.
    """
    if not LINUX:
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim  # musl has none


def limit_memory(limit: int) -> None:
    """Let allocations fail beyond `limit` bytes of private memory.

    RLIMIT_DATA counts what is written to (heap and private mappings), not mapped files and
    libraries as RLIMIT_AS does: a model file does not eat the limit.
    """
    if LINUX and limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def take_stdio() -> tuple[int, int]:
    """Private descriptors of stdin and stdout; a print or a read of a library meets others.

    What a library prints goes to stderr, and it reads from nowhere.
    """
    reading, writing = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)
    return reading, writing


def reset_signals() -> None:
    """The handlers of a fresh process, after a fork of one that may have set its own."""
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    # ^C in a terminal is the daemon's to act on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)


def threads() -> int:
    """How many threads this process has; a fork keeps one of them only."""
    return sum(1 for _ in Path("/proc/self/task").iterdir()) if LINUX else 1
