"""Gives memory back to the system that the allocator keeps after a burst of large bodies."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable

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
