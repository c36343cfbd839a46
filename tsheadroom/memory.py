"""How much memory there is, giving it back after bursts, and when Python looks for garbage.

A full collection looks at every object that may be part of a cycle, and nothing else runs until it
is through: 30 ms for what the imports alone leave behind, and as much again for a body of some
thousand tool outputs, in the middle of which Python likes to begin one. So what is there at the
start is left out for good, and full collections come when few objects are alive.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tsheadroom.child.system import malloc_trim

QUIET_S = 0.25
_QUIET = 0.05  # of a processor: no more than this, and hardly a call came
# CPU seconds since memory was last given back. To do so takes milliseconds, and to get it again as
# many: at most a few percent of what was done meanwhile.
_WORTH_S = 0.2
_AT_LAST_S = 20.0  # where no moment is quiet
# What is kept free until then. Without it, glibc may give the pages of a body back after each call,
# and the kernel clears and maps them anew for the next: a tenth of a call of 600 KB. What is larger
# than a few bodies together is given back at once.
KEPT_BYTES = 8 << 20
_MAPPED_BYTES = 4 << 20  # a block of this size is mapped by itself, and given back when it is freed
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
COLLECT_EVERY_S = 10.0
_ALIVE = 20_000  # objects: a collection that may wait does, if it had to look at more
_PATIENCE = 6  # and so often at most
_NEVER = 1 << 30  # more young collections than there will be


def settle() -> None:
    """Keep collections short from now on. What is alive now is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], _NEVER)


async def collect_for_ever() -> None:
    """Do the full collections that `settle` takes from Python."""
    waited = 0
    while True:
        await asyncio.sleep(COLLECT_EVERY_S)
        waited += 1
        if waited >= _PATIENCE or len(gc.get_objects(generation=2)) < _ALIVE:
            gc.collect()
            waited = 0


async def trim_for_ever() -> None:
    """Give free pages back to the system when it is quiet. Only glibc offers a way to do that."""
    keep_pages()
    trim = malloc_trim()
    trimmed = time.process_time()
    while trim is not None:
        before = time.process_time()
        await asyncio.sleep(QUIET_S)
        now = time.process_time()
        worth = _WORTH_S if now - before <= _QUIET * QUIET_S else _AT_LAST_S
        if now - trimmed >= worth:
            await asyncio.to_thread(trim, 0)  # ctypes lets go of the interpreter meanwhile
            trimmed = time.process_time()


def keep_pages() -> None:
    """Have glibc keep KEPT_BYTES for the next call, instead of giving them back after each one.

    Another C library is left as it is.
    """
    if malloc_trim() is None:
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
    libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


def memory_limit(root: Path = Path("/")) -> int:
    """The memory that this process may have, in bytes: its control group's, or the machine's.

    `root` is where proc and sys are. https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    """The limits of the process's groups and of all groups above them, in cgroup v2 and v1."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # not Linux
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        top = mounts / "memory" if controllers else mounts
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        inner = top / group.lstrip("/")
        # In a container its own group is the top, whatever the group is called outside.
        for folder in {inner, *inner.parents, top}:
            try:
                yield int((folder / name).read_text())
            except (OSError, ValueError):
                continue  # no limit: "max", or no such file
