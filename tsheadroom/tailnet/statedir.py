"""The state directory: names of the files in it, and a lock that keeps a second daemon out.

Two daemons with the same node key would take connections from each other.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from tsheadroom.errors import TsheadroomError
from tsheadroom.files import FileRefused, open_directory, open_regular

if TYPE_CHECKING:
    from pathlib import Path

# The daemon serves its pages on this socket, for `tsheadroom status` and health checks.
SOCKET_NAME = "tsheadroom.sock"

_LOCK_NAME = "tsheadroom.lock"
_LONGEST_PID = 32  # bytes read back from the lock file


class StateUnusable(TsheadroomError):
    """The state directory cannot be used, or another daemon uses it."""


class StateDirectory:
    """A directory that only this process uses, until close() or until the process ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def open(self) -> None:
        """Create the directory, readable by its owner only, and lock it. Raises StateUnusable.

        The path may be a link, as systemd's DynamicUser makes it: what it leads to must be ours or
        root's. If others may write there, that is taken from them. No file in it may be a link.
        """
        try:
            lock = self._open_lock()
        except FileRefused as error:
            raise StateUnusable(f"the state directory cannot be used: {error}") from None
        except OSError as error:
            raise StateUnusable(
                f"cannot write to the state directory {self.path} ({error.strerror});"
                " give a writable one with --state-dir"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(lock, _LONGEST_PID).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise StateUnusable(
                f"the state directory {self.path} is in use by another tsheadroom (pid {owner});"
                " stop that one, or give this one a --state-dir of its own"
            ) from None
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def _open_lock(self) -> int:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = open_directory(self.path)
        try:
            return open_regular(_LOCK_NAME, os.O_RDWR | os.O_CREAT, directory=directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        """Release the lock. Its file stays: the next daemon may have opened it already."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
