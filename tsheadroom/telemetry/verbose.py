"""Writes the -v lines without ever holding up the event loop.

Somebody pipes stdout into a pager, or a log collector stalls: a plain write would then block, and
with it every request. A line that cannot be written at once is dropped and counted.
"""

from __future__ import annotations

import io
import logging
import os
import select
import time

log = logging.getLogger(__name__)

# Lines that nobody takes are reported once in so many seconds.
REPORT_EVERY_SECONDS = 60.0


class LineOutput(io.TextIOWrapper):
    """A text stream on a descriptor, for whole lines of less than a pipe's atomic 4 KiB."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(io.FileIO(descriptor, "wb", closefd=False))
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._dropped = 0
        self._reported = -REPORT_EVERY_SECONDS

    def write(self, text: str) -> int:
        """Write, or drop and count; raises nothing."""
        try:
            if any(event & select.POLLOUT for _, event in self._poll.poll(0)):
                os.write(self._descriptor, text.encode("utf-8", "backslashreplace"))
            else:
                self._drop("it is not read fast enough")
        except OSError as error:  # the reader has gone: the lines are its loss, not the callers'
            self._drop(error.strerror or str(error))
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def _drop(self, reason: str) -> None:
        self._dropped += 1
        now = time.monotonic()
        if now - self._reported >= REPORT_EVERY_SECONDS:
            log.warning("stdout does not take lines reason=%s dropped=%d", reason, self._dropped)
            self._reported = now
