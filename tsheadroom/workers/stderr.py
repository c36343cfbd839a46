"""A child's stderr on its way into the daemon's log: whole lines, bounded in length and number."""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)

LINE_BYTES = 2000
"""Enough for the last line of a traceback; a library that dumps its data is cut."""

LINES_A_WINDOW = 50
"""A crash's traceback fits; a child that prints in a loop does not fill the disk."""

WINDOW_SECONDS = 10.0


class StderrLog:
    """Logs what one child writes to stderr and remembers the last line: it often is the reason."""

    def __init__(self, name: str) -> None:
        self.last = ""
        # Until the child is ready its last line is the reason that is reported if it fails, and
        # retries would repeat the rest for ever.
        self.level = logging.DEBUG
        self._name = name
        self._partial = b""
        self._window = time.monotonic()
        self._lines = 0

    def feed(self, data: bytes) -> None:
        """Log the lines that end in `data`; the rest waits for its end."""
        *lines, rest = (self._partial + data).split(b"\n")
        for line in lines:
            self._line(line)
        # Of a line without an end only what would be logged is kept.
        self._partial = rest[:LINE_BYTES]

    def end(self) -> None:
        """Log what was left without a line's end. May be called more than once."""
        if self._partial:
            self._line(self._partial)
            self._partial = b""

    def _line(self, line: bytes) -> None:
        text = line[:LINE_BYTES].decode("utf-8", "replace").strip()
        if not text:
            return
        self.last = text
        now = time.monotonic()
        if now - self._window > WINDOW_SECONDS:
            if self._lines > LINES_A_WINDOW:
                more = self._lines - LINES_A_WINDOW
                log.info("%s stderr: %d more lines not logged", self._name, more)
            self._window, self._lines = now, 0
        self._lines += 1
        if self._lines <= LINES_A_WINDOW:
            log.log(self.level, "%s stderr: %s", self._name, text)
