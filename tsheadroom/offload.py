"""Small work on the event loop, large work in a thread: the one place that decides which.

A thread costs some 0.1 ms and two switches of the interpreter; work on the loop holds up every
other caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Taking a body of this size apart takes less than 10 ms, and so does coding an answer of it.
LARGE_BYTES = 1 << 20


def is_large(size: int) -> bool:
    """True if work on so many bytes does not belong on the event loop."""
    return size >= LARGE_BYTES


async def offload(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `work`, done here for small sizes and in a thread for large ones.

    `size` is in bytes of a body that is taken apart; dearer work counts its bytes several times.
    """
    if is_large(size):
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)
