"""Reads the node's own log lines from a pipe, and logs them at debug level.

The pipe is always read, also when nobody wants the lines: when it is full, lines are lost.
"""

from __future__ import annotations

import asyncio
import logging
import os

log = logging.getLogger(__name__)

_CHUNK = 64 << 10

# tsnet marks the lines that only its developers need.
_NOISE = ("[v2]", "[v3]")

# Bytes; a line that does not end is cut here, so that memory is bounded.
_LONGEST_LINE = 16 << 10


class LogPipe:
    """A pipe whose writing end goes to the library."""

    def __init__(self) -> None:
        self._reads, self._writes = os.pipe()
        os.set_blocking(self._reads, False)
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reads, self._readable)

    def hand_over(self) -> int:
        """Return the writing end. It is the library's from now on, which closes it."""
        descriptor, self._writes = self._writes, -1
        return descriptor

    def close(self) -> None:
        """Read what is left and stop."""
        if self._reads >= 0:
            self._readable()
        if self._reads >= 0:
            self._end()

    def _readable(self) -> None:
        try:
            chunk = os.read(self._reads, _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            self._end()
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[:_LONGEST_LINE]
        if log.isEnabledFor(logging.DEBUG):
            for line in lines:
                text = line.decode(errors="replace").strip()
                if text and not text.startswith(_NOISE):
                    log.debug("%s", text)

    def _end(self) -> None:
        self._loop.remove_reader(self._reads)
        os.close(self._reads)
        self._reads = -1
        if self._writes >= 0:
            os.close(self._writes)
            self._writes = -1
