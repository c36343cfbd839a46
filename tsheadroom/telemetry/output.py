"""Writes lines to stdout and stderr without ever making a request wait.

A pager, a log collector or a terminal that has stopped reading makes a plain write wait, and with
it whoever writes. So a thread of its own writes, from a queue that is bounded in bytes. What finds
no room there is dropped and counted.

A thread, because nothing else holds for every kind of descriptor. Non-blocking mode belongs to the
open file, which a shell or another service may share. A poll says nothing of the next write to a
terminal, a socket or a file on a stuck disk, and nothing of a pipe that others write to as well.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from typing import TextIO

log = logging.getLogger(__name__)

# Bytes, the newline included. A pipe takes that much whole or not at all, so that lines stay whole
# beside those of other writers.
LINE_BYTES = 4096

# Bytes that may wait for their reader: some thousand lines.
QUEUE_BYTES = 1 << 20

# Seconds that the end of the process waits for a reader of what is still queued.
FLUSH_SECONDS = 1.0

_RETRY_SECONDS = 0.01


class LineOutput:
    """Whole lines on their way to a descriptor, which stays the caller's. Any thread may write.

    `name` is what logs and metrics call it.
    """

    def __init__(self, descriptor: int, name: str, room: int = QUEUE_BYTES) -> None:
        """At most `room` bytes wait."""
        self.name = name
        self._descriptor = descriptor
        self._room = room
        self._lines: deque[bytes] = deque()
        self._waiting = 0  # bytes, those that are just being written included
        self._dropped = 0
        self._told = 0  # how many of these the log knows of
        self._broken = False
        self._torn = False  # a line was written in part
        self._closed = False
        # Its lock can be taken again by the thread that holds it: the garbage collector may run
        # code that logs at any allocation.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"{name}-writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many lines were dropped so far."""
        return self._dropped

    def write(self, text: str) -> None:
        """Queue a line, or drop it if there is no room. It is cut at LINE_BYTES."""
        line = _cut(text)
        with self._changed:
            if self._closed or self._waiting + len(line) > self._room:
                self._dropped += 1
                return
            self._lines.append(line)
            self._waiting += len(line)
            self._changed.notify_all()

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until all is written, for so many seconds at most. Returns True if it is."""
        if threading.current_thread() is self._thread:
            return False  # it would wait for itself
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, seconds)

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Flush, and take no more lines. The descriptor stays open."""
        self.flush(seconds)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (line := self._next()) is not None:
            reason = self._put(line)
            with self._changed:
                self._waiting -= len(line)
                self._dropped += reason is not None
                self._changed.notify_all()
            self._report(reason)

    def _next(self) -> bytes | None:
        """Wait for a line; None if there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closed)
            return self._lines.popleft() if self._lines else None

    def _put(self, line: bytes) -> str | None:
        """Write a line, however long that takes. Returns why it was not possible."""
        left = memoryview(b"\n" + line if self._torn else line)
        whole = len(left)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                # Another process has made what we share non-blocking.
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
                time.sleep(_RETRY_SECONDS)  # a poll may see room for less than a line
            except OSError as error:
                self._torn = self._torn or len(left) < whole
                return error.strerror or type(error).__name__
        self._torn = False
        return None

    def _report(self, reason: str | None) -> None:
        """Say that lines go nowhere, once, and how many were dropped when that is over."""
        if reason is not None:
            if not self._broken:
                self._broken = True
                log.warning("%s takes no lines; they are dropped reason=%s", self.name, reason)
            return
        self._broken = False
        with self._changed:
            lost = self._dropped - self._told
            if not lost or self._lines:
                return
            self._told = self._dropped
        # The log may have had the same reader, and be full still: this line would be dropped, too.
        for handler in logging.getLogger().handlers:
            handler.flush()
        log.warning("%d lines were dropped because %s was not read", lost, self.name)


def standard(stream: TextIO | None, name: str) -> LineOutput:
    """The output to one of the process's standard streams; to nowhere if it was closed."""
    return LineOutput(stream.fileno() if stream else os.open(os.devnull, os.O_WRONLY), name)


def _cut(text: str) -> bytes:
    """One line of at most LINE_BYTES, in UTF-8."""
    data = text.removesuffix("\n").replace("\n", " ").encode("utf-8", "backslashreplace")
    if len(data) >= LINE_BYTES:
        data = data[: LINE_BYTES - 1].decode("utf-8", "ignore").encode()
    return data + b"\n"
