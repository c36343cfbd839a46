"""Raw non-blocking pipes on the event loop.

asyncio's pipe transports cost a task or several callbacks a message; a turn has a few milliseconds
in all, so a request is one writev and a reply one read and one callback here.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable

READ_SIZE = 64 * 1024
"""One read. Below malloc's mmap threshold, so that no page is mapped and unmapped a read."""

READS_A_WAKE = 16
"""1 MiB a callback: a 20 MB reply is taken in slices, other connections get their turn between."""

PIPE_SIZE = 1024 * 1024
"""What an unprivileged process may ask for; a usual request then goes in one write."""


def widen(fd: int) -> None:
    """Raise a pipe's capacity, as far as the system allows (Linux; elsewhere they grow)."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except (OSError, AttributeError):
        pass  # a smaller pipe only means more writes a request


class PipeReader:
    """Calls `on_data` with what arrives at a pipe's reading end, and `on_end` once, at its end.

    It owns the descriptor, and closes it at the end.
    """

    def __init__(
        self, fd: int, on_data: Callable[[bytes], None], on_end: Callable[[], None]
    ) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._on_data = on_data
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._readable)

    def close(self) -> None:
        """Read no more; `on_end` is not called."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def drain(self) -> None:
        """Hand over what a dead writer left in the pipe."""
        while self._fd >= 0 and self._readable():
            pass

    def _readable(self) -> bool:
        """Read a slice. Returns True if there may be more."""
        for _ in range(READS_A_WAKE):
            if self._fd < 0:  # closed by on_data
                return False
            try:
                data = os.read(self._fd, READ_SIZE)
            except BlockingIOError:
                return False
            except OSError:
                data = b""
            if not data:
                self.close()
                self._on_end()
                return False
            self._on_data(data)
            if len(data) < READ_SIZE:
                return False
        return True


class PipeWriter:
    """Writes buffers to a pipe, without copying them and without waiting for a slow reader.

    It owns the descriptor. What the pipe does not take at once stays here until it does.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        widen(fd)
        self._fd = fd
        self._left: list[memoryview] = []
        self._loop = asyncio.get_running_loop()

    def write(self, *buffers: bytes) -> None:
        """Send the buffers in order. A broken pipe is no error here: the child's end is noticed."""
        if self._fd < 0:
            return
        self._left += [memoryview(buffer) for buffer in buffers]
        if self._push() and self._left:
            self._loop.add_writer(self._fd, self._writable)

    def close(self) -> None:
        """Close the pipe; the reader sees its end. What was not written yet is dropped."""
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._left.clear()

    def _writable(self) -> None:
        if not self._push() or not self._left:
            self._loop.remove_writer(self._fd)

    def _push(self) -> bool:
        """Write what fits now; False when nobody will read the rest."""
        try:
            written = os.writev(self._fd, self._left)
        except BlockingIOError:
            return True
        except OSError:
            self._left.clear()
            return False
        while self._left and written >= len(self._left[0]):
            written -= len(self._left.pop(0))
        if self._left and written:
            self._left[0] = self._left[0][written:]
        return True
