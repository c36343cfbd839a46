"""The fork server: a warm process that forks workers for the daemon, so that they share its memory.

One packet a request on a socket, the worker's three pipe ends with it by SCM_RIGHTS; the answer
names its pid. A worker is a grandchild whose parent ends at once, so that the daemon, a subreaper,
becomes its parent: it can wait for it, and the fork server can be replaced without losing a worker.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
from typing import Any

from tsheadroom.child import system

PACKET = 4096
PIPES = 3
"""stdin, stdout and stderr of the worker-to-be."""

GO = b"1"


def serve_forks(control: int, version: str, arguments: dict[str, Any]) -> tuple[int, int] | None:
    """Fork on request until the daemon closes the socket `control`; then return None.

    In each forked worker it returns, too: the descriptors that its protocol reads and writes.
    """
    sock = socket.socket(fileno=control)
    count = system.threads()
    ready = {"ready": count == 1, "headroom_version": version}
    if count != 1:
        ready["reason"] = f"{count} threads"  # their locks would stay taken in a fork
    _send(sock, ready)
    while True:
        packet, fds, _, _ = socket.recv_fds(sock, PACKET, PIPES)
        if not packet:
            return None
        request = json.loads(packet)
        if len(fds) != PIPES:
            _send(sock, {"fork": request["fork"], "error": "descriptors are missing"})
        elif _fork(sock, fds, request["fork"]):
            return _become_worker(sock, fds, arguments)
        for fd in fds:
            os.close(fd)


def _fork(sock: socket.socket, fds: list[int], number: int) -> bool:
    """Fork a worker and report it; True in the worker itself, once the daemon is its parent."""
    go_read, go_write = os.pipe()
    pid_read, pid_write = os.pipe()
    try:
        middle = os.fork()
    except OSError as error:
        _close(go_read, go_write, pid_read, pid_write)
        _send(sock, {"fork": number, "error": str(error)})
        return False
    if middle == 0:
        _leave_the_middle(pid_write)
        _close(go_write, pid_read, pid_write)
        _wait_for_go(go_read)
        return True
    _close(go_read, pid_write)
    pid = int(os.read(pid_read, 32) or b"0")
    # When the wait returns, the worker has its new parent.
    os.waitpid(middle, 0)
    if pid:
        _send(sock, {"fork": number, "pid": pid})
        with contextlib.suppress(BrokenPipeError):  # a worker killed this early is the daemon's
            os.write(go_write, GO)
    else:
        _send(sock, {"fork": number, "error": "the fork failed"})
    _close(go_write, pid_read)
    return False


def _leave_the_middle(pid_write: int) -> None:
    """Fork once more: the process between tells the worker's pid and ends; the worker returns."""
    try:
        pid = os.fork()
    except OSError:
        os._exit(1)
    if pid:
        os.write(pid_write, str(pid).encode())
        os._exit(0)


def _wait_for_go(go_read: int) -> None:
    """Block until the fork server has reported this worker; leave if it died before that.

    Until then the worker is of the fork server's process group, and is killed with it.
    """
    if os.read(go_read, 1) != GO:
        os._exit(0)
    os.close(go_read)


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def _become_worker(
    sock: socket.socket, fds: list[int], arguments: dict[str, Any]
) -> tuple[int, int]:
    """A process of its own: group, stdio, parent, signals."""
    os.setpgid(0, 0)
    sock.close()
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
        os.close(fd)
    system.die_with_parent(arguments.get("parent", 0))
    system.reset_signals()
    gc.enable()
    return system.take_stdio()


def _send(sock: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the next read says so
        sock.send(json.dumps(message).encode())
