"""Enters a network namespace that has a loopback device and nothing else.

So no client can reach its vendor, whatever it tries: neither a model nor telemetry nor an update.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import sys
from pathlib import Path

from scripts.lab.clients.errors import ClientsFailed

_MARK = "CLIENTS_ISOLATED"  # so that a namespace that is none does not loop
# From <linux/sockios.h> and <linux/if.h>; a request is a device's name and its flags.
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
_REQUEST = struct.Struct("16sh14x")


def enter() -> None:
    """Go on in such a namespace, in place of this process. Raises ClientsFailed."""
    if _MARK in os.environ:
        if _devices() != ["lo"]:
            raise ClientsFailed("the network namespace has more than a loopback device")
        _loopback_up()
        return
    unshare = shutil.which("unshare")
    if unshare is None:
        raise ClientsFailed("unshare is missing; it comes with util-linux, on Linux only")
    words = [unshare, "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    _check(words)
    os.environ[_MARK] = "1"
    sys.stdout.flush()
    os.execv(unshare, [*words, sys.executable, *sys.argv])


def _check(words: list[str]) -> None:
    """Find out whether a namespace can be had, while there is still somebody who can say so."""
    pid = os.posix_spawn(words[0], [*words, "true"], os.environ)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise ClientsFailed("no network namespace can be made here; run it as root")


def _devices() -> list[str]:
    # Not /sys, which shows the devices of the namespace that it was mounted in.
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return [line.partition(":")[0].strip() for line in lines]


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = _REQUEST.pack(b"lo", 0)
        _, flags = _REQUEST.unpack(fcntl.ioctl(any_socket, _GET_FLAGS, asked))
        fcntl.ioctl(any_socket, _SET_FLAGS, _REQUEST.pack(b"lo", flags | _UP))
