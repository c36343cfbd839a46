"""Gives back the memory that a burst of large bodies leaves with the allocator."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable

TRIM_EVERY_S = 60.0  # rarer than any burst lasts, and the trim itself takes milliseconds


async def trim_for_ever() -> None:
    """Now and then hand free pages back to the system; only glibc has a way to be asked."""
    trim = _malloc_trim()
    while trim is not None:
        await asyncio.sleep(TRIM_EVERY_S)
        await asyncio.to_thread(trim, 0)  # ctypes lets go of the interpreter meanwhile


def _malloc_trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim  # musl has none
