"""Says in one line that descriptors are out, where asyncio has a traceback for each attempt."""

from __future__ import annotations

import errno
import logging
import time
from typing import TYPE_CHECKING, Any

from tsheadroom.seldom import Seldom

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

log = logging.getLogger(__name__)

# The shortages for which asyncio rests and tries again.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def say_briefly(
    loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic
) -> None:
    """Set the loop's handler for errors. It handles a shortage, and leaves all else as it is.

    While descriptors are out, asyncio tries to accept as often in a row as the backlog is long, and
    reports each failure.
    """
    seldom = Seldom(clock)

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if "socket" not in context or not _is_shortage(error):
            loop.default_exception_handler(context)
            return
        if seldom.count(""):
            log.warning("connections to this machine's own sockets must wait err=%s", error)

    loop.set_exception_handler(handle)


def _is_shortage(error: object) -> bool:
    return isinstance(error, OSError) and error.errno in _SHORTAGES
