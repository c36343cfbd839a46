"""The state directory: names of the files in it, and a lock that keeps a second daemon out.

Two daemons with the same node key would take connections from each other. A lock is on a file and
not on its name, so if somebody deletes the directory while the daemon runs, it is locked again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from typing import TYPE_CHECKING

from tsheadroom.errors import TsheadroomError
from tsheadroom.files import FileRefused, open_directory, open_regular

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

# The daemon serves its pages on this socket, for `tsheadroom status` and health checks.
SOCKET_NAME = "tsheadroom.sock"

_LOCK_NAME = "tsheadroom.lock"
_LOOK_S = 2.0  # between two looks whether the lock's file is still there
_LONGEST_PID = 32  # bytes read back from the lock file


class StateUnusable(TsheadroomError):
    """The state directory cannot be used, or another daemon uses it."""


class StateDirectory:
    """A directory that only this process uses, until close() or until the process ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        self._closed = threading.Event()
        self._changing = threading.Lock()  # of the lock's descriptor

    def open(self) -> None:
        """Create the directory, readable by its owner only, and lock it. Raises StateUnusable.

        The path may be a link, as systemd's DynamicUser makes it: what it leads to must be ours or
        root's. If others may write there, that is taken from them. No file in it may be a link.
        """
        self._lock = self._locked()
        self._closed.clear()
        threading.Thread(target=self._watch, name="state-directory", daemon=True).start()

    def _locked(self) -> int:
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
        _write_pid(lock)
        return lock

    def _open_lock(self) -> int:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = open_directory(self.path)
        try:
            return open_regular(_LOCK_NAME, os.O_RDWR | os.O_CREAT, directory=directory)
        finally:
            os.close(directory)

    def _watch(self) -> None:
        told = ""
        while not self._closed.wait(_LOOK_S):
            try:
                with self._changing:
                    self._lock_again()
            except StateUnusable as error:
                if str(error) != told:
                    log.error("the state directory was deleted or replaced err=%s", error)
                told = str(error)

    def _lock_again(self) -> None:
        """Lock the directory that is there now, if it is another one. Raises StateUnusable."""
        lock = self._lock
        if lock is None or self._holds(lock):
            return
        self._lock = self._locked()
        os.close(lock)
        log.error(
            "the state directory was deleted or replaced while it was in use; it is locked again,"
            " and what was in it is lost path=%s",
            self.path,
        )

    def _holds(self, lock: int) -> bool:
        """True unless the lock's name certainly leads to another file than the one locked."""
        try:
            named = (self.path / _LOCK_NAME).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return os.path.samestat(named, os.fstat(lock))

    def close(self) -> None:
        """Release the lock. Its file stays: the next daemon may have opened it already."""
        self._closed.set()
        with self._changing:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None


def _write_pid(lock: int) -> None:
    try:
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    except OSError:
        pass  # a full disk: the lock holds, and only its owner's name is missing
