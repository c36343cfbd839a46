"""Writes the -v lines without ever making the event loop wait.

If stdout goes to a pager or to a log collector that has stopped reading, a plain write would wait,
and every request with it. A line that cannot be written at once is dropped and counted.
"""

from __future__ import annotations

import io
import logging
import os
import select
import time

log = logging.getLogger(__name__)

# The log says once in so many seconds that lines were dropped.
REPORT_EVERY_SECONDS = 60.0


class LineOutput(io.TextIOWrapper):
    """A text stream for whole lines under 4 KiB, which a pipe takes whole or not at all."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(io.FileIO(descriptor, "wb", closefd=False))
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._dropped = 0
        self._reported = -REPORT_EVERY_SECONDS

    def write(self, text: str) -> int:
        """Write the line, or drop it and count that. Raises nothing."""
        try:
            if any(event & select.POLLOUT for _, event in self._poll.poll(0)):
                os.write(self._descriptor, text.encode("utf-8", "backslashreplace"))
            else:
                self._drop("it is not read fast enough")
        except OSError as error:  # the reader has gone; that is no reason for a request to fail
            self._drop(error.strerror or str(error))
        return len(text)

    def flush(self) -> None:
        """Do nothing: no line is held back."""

    def _drop(self, reason: str) -> None:
        self._dropped += 1
        now = time.monotonic()
        if now - self._reported >= REPORT_EVERY_SECONDS:
            log.warning("stdout does not take lines reason=%s dropped=%d", reason, self._dropped)
            self._reported = now
