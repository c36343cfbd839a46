"""How much memory there is, and giving it back after a burst of large bodies."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

TRIM_EVERY_S = 60.0  # a burst is over by then, and the trim itself takes milliseconds


async def trim_for_ever() -> None:
    """Give free pages back to the system now and then. Only glibc offers a way to do that."""
    trim = _malloc_trim()
    while trim is not None:
        await asyncio.sleep(TRIM_EVERY_S)
        await asyncio.to_thread(trim, 0)  # ctypes lets go of the interpreter meanwhile


def _malloc_trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim  # musl has none


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
