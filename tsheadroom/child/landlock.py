"""Takes the file system away from a process, but for the files that it still has to read (Linux).

Landlock, from Linux 5.13 on: https://docs.kernel.org/userspace-api/landlock.html. A process under
it cannot look into processes outside either, and from 6.12 on not send them signals.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

# The numbers are the same on all machines.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
CREATE_RULESET_VERSION = 1
PATH_BENEATH = 1

READ_FILE, READ_DIR = 1 << 2, 1 << 3

FILES = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""What may be done with files (reading, writing, making, ...), and since which version of Landlock
that can be forbidden."""

TCP_SINCE, TCP = 4, 0b11  # bind, connect
OTHERS_SINCE, OTHERS = 6, 0b11  # abstract sockets, signals


def version() -> int:
    """The kernel's version of Landlock. Raises OSError where it has none, or it is off."""
    return _call(CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)


def restrict(readable: Iterable[str]) -> None:
    """Let this thread and all that it starts read what is in `readable`, and nothing else.

    A path that is not there is passed over. Listing names and looking at a file's size are not
    restricted. Raises OSError where the kernel does not know Landlock.
    """
    known = version()
    attributes = struct.pack(
        "=QQQ",
        sum(rights for since, rights in FILES if since <= known),
        TCP if known >= TCP_SINCE else 0,
        OTHERS if known >= OTHERS_SINCE else 0,
    )
    ruleset = _call(CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in readable:
            _allow(ruleset, path)
        _call(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        rule = struct.pack("=Qi", READ_FILE | READ_DIR if folder else READ_FILE, fd)
        _call(ADD_RULE, ruleset, PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)


def _call(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    spelled = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *spelled)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
