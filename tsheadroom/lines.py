"""Lines that other programs print, on their way into the log: bounded in length and in number."""

from __future__ import annotations

import time
from collections.abc import Callable

LINE_BYTES = 1000
"""Enough for the last line of a traceback; a program that dumps its data is cut."""

LINES_A_WINDOW = 50
"""A crash's traceback fits; a program that prints in a loop does not fill the disk."""

WINDOW_SECONDS = 10.0


class PrintedLines:
    """Takes what a program printed apart into lines. `last` is the last one that held anything.

    However much comes at once, only so many lines are looked at as may be shown.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self.last = ""
        self._clock = clock
        self._partial = b""
        self._window = clock()
        self._shown = 0
        self._left_out = 0

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that end in `data` and may be shown; the rest waits for its end."""
        ended, newline, rest = data.rpartition(b"\n")
        if not newline:
            # Of a line without an end only what would be shown is kept.
            self._partial = (self._partial + data[:LINE_BYTES])[:LINE_BYTES]
            return []
        shown = self._ended(self._partial + ended)
        self._partial = rest[:LINE_BYTES]
        return shown

    def end(self) -> list[str]:
        """Return what was left without a line's end. May be called more than once."""
        partial, self._partial = self._partial, b""
        return self._ended(partial) if partial else []

    def left_out(self, *, at_end: bool = False) -> int | None:
        """How many lines were not shown in a window that is over; None while it is not.

        Each is told once. With `at_end`, the window is over now.
        """
        if not at_end and self._clock() - self._window <= WINDOW_SECONDS:
            return None
        told, self._left_out = self._left_out, 0
        self._window, self._shown = self._clock(), 0
        return told

    def _ended(self, data: bytes) -> list[str]:
        room = LINES_A_WINDOW - self._shown
        *lines, more = data.split(b"\n", room) if room > 0 else (data,)
        if len(lines) < room:  # all of it
            lines, more = [*lines, more], b""
        texts = [text for line in lines if (text := _text(line))]
        self._shown += len(texts)
        if more:
            self._left_out += more.count(b"\n") + 1
            self.last = _text(more.rstrip().rpartition(b"\n")[2]) or self.last
        elif texts:
            self.last = texts[-1]
        return texts


def _text(line: bytes) -> str:
    return line[:LINE_BYTES].decode("utf-8", "replace").strip()
