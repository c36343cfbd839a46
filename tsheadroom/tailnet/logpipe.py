"""Reads the node's own log lines from a pipe, and logs them at debug level.

The pipe is always read, also when nobody wants the lines: when it is full, lines are lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from itertools import groupby

from tsheadroom.lines import LINE_BYTES, PrintedLines

log = logging.getLogger(__name__)

_CHUNK = 64 << 10

# tsnet marks the lines that only its developers need.
_NOISE = ("[v2]", "[v3]")

# The library's own mark for a line that operators need; it has seen to it that these are few.
_FOR_OPERATORS = b"[operator] "

# Chunks that are read at the end: what the pipe holds, and not what a flood adds meanwhile.
_LAST_CHUNKS = 32


class LogPipe:
    """A pipe whose writing end goes to the library."""

    def __init__(self) -> None:
        self._reads, self._writes = os.pipe()
        os.set_blocking(self._reads, False)
        self._rest = b""
        self._lines = PrintedLines()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reads, self._readable)

    def hand_over(self) -> int:
        """Return the writing end. It is the library's from now on, which closes it."""
        descriptor, self._writes = self._writes, -1
        return descriptor

    def close(self) -> None:
        """Read what is left and stop."""
        for _ in range(_LAST_CHUNKS):
            if self._reads < 0 or not self._readable():
                break
        if self._reads >= 0:
            self._end()

    def _readable(self) -> bool:
        """Read a chunk. Returns True if there was one."""
        try:
            chunk = os.read(self._reads, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._end()
            return False
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[:LINE_BYTES]
        for wanted, group in groupby(lines, key=lambda line: line.startswith(_FOR_OPERATORS)):
            if wanted:
                self._tell_operators(group)
            elif log.isEnabledFor(logging.DEBUG):
                self._tell_left_out(self._lines.left_out())
                self._log(self._lines.feed(b"\n".join([*group, b""])))
        return True

    def _tell_operators(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            text = line.removeprefix(_FOR_OPERATORS)[:LINE_BYTES]
            log.warning("%s", text.decode(errors="replace").strip())

    def _log(self, lines: list[str]) -> None:
        for text in lines:
            if not text.startswith(_NOISE):
                log.debug("%s", text)

    def _tell_left_out(self, more: int | None) -> None:
        if more:
            log.debug("%d more lines of the node not logged", more)

    def _end(self) -> None:
        self._log(self._lines.feed(self._rest + b"\n"))
        self._tell_left_out(self._lines.left_out(at_end=True))
        self._loop.remove_reader(self._reads)
        os.close(self._reads)
        self._reads = -1
        if self._writes >= 0:
            os.close(self._writes)
            self._writes = -1
