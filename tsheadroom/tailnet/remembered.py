"""What one start of the node leaves for the next: its UDP port, and who called last.

Peers go on sending to where they last reached a node. If it comes back on the same port and speaks
first, they find it within a second; otherwise some wait for longer than a hook's timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import socket
import stat
from typing import TYPE_CHECKING

import msgspec

from tsheadroom.tailnet.native import in_thread

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_FILE_NAME = "tailnet.json"
_LONGEST_FILE = 4096  # bytes

# More callers than this are not remembered: a gateway is one node, or a few.
_CALLERS = 16

# Seconds from a change until it is written. A burst of new callers is written once.
_WRITE_AFTER = 1.0

# Seconds that the end of the process waits for the last writing.
_LAST_WRITE = 1.0


class _Content(msgspec.Struct):
    port: int = 0
    callers: list[str] = []


class Remembered:
    """A small file in the state directory. It is written in the background: nothing waits for it.

    What cannot be read or written is only not remembered.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE_NAME
        self._callers: dict[str, None] = {}  # the last one called last
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self.port = 0  # 0: none is remembered

    @property
    def callers(self) -> list[str]:
        """IP addresses of the peers that called last, the last one first."""
        return list(reversed(self._callers))

    def load(self) -> None:
        """Read what the last start has left."""
        try:
            content = msgspec.json.decode(_read(self._path), type=_Content)
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            log.warning("who called last is not known any more path=%s err=%s", self._path, error)
            return
        self.port = content.port if 0 < content.port < 1 << 16 else 0
        for caller in content.callers[-_CALLERS:]:
            with contextlib.suppress(ValueError):
                self._callers[str(ipaddress.ip_address(caller))] = None

    def note_port(self, port: int) -> None:
        """Remember the node's UDP port."""
        if port != self.port:
            self.port = port
            self._write_soon()

    def note_caller(self, address: str) -> None:
        """Remember that the peer with this IP address called."""
        known = address in self._callers
        self._callers.pop(address, None)
        self._callers[address] = None
        if known:
            return  # only the order is new, and the next start greets all of them
        if len(self._callers) > _CALLERS:
            del self._callers[next(iter(self._callers))]
        self._write_soon()

    async def close(self) -> None:
        """Write what has not been written yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._write()
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=_LAST_WRITE)

    def _write_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WRITE_AFTER, self._write)

    def _write(self) -> None:
        self._timer = None
        if self._writing is not None and not self._writing.done():
            self._write_soon()  # on a slow disk one after the other
            return
        text = msgspec.json.encode(_Content(self.port, list(self._callers)))
        self._writing = asyncio.get_running_loop().create_task(self._write_text(text))

    async def _write_text(self, text: bytes) -> None:
        try:
            await in_thread(lambda: _replace(self._path, text))
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            log.warning("who called last cannot be written path=%s err=%s", self._path, error)


def free_port(*wanted: int) -> int:
    """The first of these UDP ports that is not taken (0 is none), else any that is free.

    Returns 0 if there is none: then the library has to choose by itself.
    """
    for port in (*filter(None, wanted), 0):
        with contextlib.suppress(OSError):
            return _bound(port)
    return 0


def _bound(port: int) -> int:
    """Take a UDP port on every address, and leave it again. Raises OSError if it is taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four:
        four.bind(("", port))
        port = int(four.getsockname()[1])
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
                six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                six.bind(("::", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:  # else this machine has no IPv6
                raise
    return port


def _read(path: Path) -> bytes:
    # Not through a link, and without waiting for a FIFO's writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
            raise ValueError("it is not a file of this user")
        text = os.read(descriptor, _LONGEST_FILE + 1)
    finally:
        os.close(descriptor)
    if len(text) > _LONGEST_FILE:
        raise ValueError("it is too long")
    return text


def _replace(path: Path, text: bytes) -> None:
    """Write the whole file, or leave the old one. Only what stands at the path is replaced."""
    fresh = path.with_name(f"{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(fresh, flags, 0o600)
    try:
        if os.write(descriptor, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)
    fresh.replace(path)
