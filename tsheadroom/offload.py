"""Does small work on the event loop and large work in a thread. Only this file decides which.

A thread costs some 0.1 ms and two switches of the interpreter. Work on the event loop makes every
other caller wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# To take a body of this size apart takes less than 10 ms, and so does compressing an answer.
LARGE_BYTES = 1 << 20


def is_large(size: int) -> bool:
    """True if work on so many bytes belongs in a thread."""
    return size >= LARGE_BYTES


async def offload(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the result of `work`, done here if `size` is small, and in a thread if it is large.

    `size` is the number of bytes that are taken apart. Work that takes longer for each byte counts
    its bytes several times.
    """
    if is_large(size):
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)
