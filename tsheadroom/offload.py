"""Does small work on the event loop and large work in a thread. Only this file decides which.

A thread costs some 0.05 ms and two switches of the interpreter. Work on the event loop makes every
other caller wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# To take a body of this size apart takes less than 10 ms.
LARGE_BYTES = 1 << 20
# Work on a body of this size may take seconds, so it must not stand in the way of the rest.
HUGE_BYTES = 16 << 20

# Each kind of work has threads of its own. Most of it holds the interpreter's lock, and each thread
# that runs makes the event loop wait for that: so there are few.
_LARGE = ThreadPoolExecutor(2, thread_name_prefix="large")
_HUGE = ThreadPoolExecutor(1, thread_name_prefix="huge")
_DECODING = ThreadPoolExecutor(2, thread_name_prefix="decode")


def is_large(size: int) -> bool:
    """True if work on so many bytes belongs in a thread."""
    return size >= LARGE_BYTES


def is_huge(size: int) -> bool:
    """True if work on so many bytes may take seconds. It is done one at a time."""
    return size >= HUGE_BYTES


async def offload(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the result of `work`, done here if `size` is small, and in a thread if it is large.

    `size` is the number of bytes that are taken apart. Work that takes longer for each byte counts
    its bytes several times.
    """
    if not is_large(size):
        return work(*args, **kwargs)
    threads = _HUGE if is_huge(size) else _LARGE
    return await asyncio.get_running_loop().run_in_executor(threads, partial(work, *args, **kwargs))


async def offload_decoding(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As offload(), for a step of decoding a body. It takes milliseconds and not the lock."""
    if not is_large(size):
        return work(*args, **kwargs)
    call = partial(work, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_DECODING, call)
