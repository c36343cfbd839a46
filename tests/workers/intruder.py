"""A compression that was taken over: it does what its job's model names, and tells what came of it.

What it tries goes through libc, past everything that Python code could forbid.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH = 16
MS_PRIVATE = 1 << 18
CLONE_NEWUSER = 0x10000000


def libc(name: str, *arguments: Any) -> int:
    """One call of libc. Raises OSError where it fails."""
    result: int = getattr(LIBC, name)(*arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def connect(family: int, kind: int, address: bytes) -> None:
    libc("connect", libc("socket", family, kind, 0), address, len(address))


def inet(port: int) -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", port, b"\x7f\0\0\1")


def thread() -> None:
    started = threading.Thread(target=lambda: None)
    started.start()
    started.join()


def process() -> None:
    if not os.fork():
        os._exit(0)


def look_into(pid: int) -> None:
    local, remote = (struct.pack("=QQ", ctypes.addressof(ctypes.create_string_buffer(8)), 8),) * 2
    libc("process_vm_readv", pid, local, 1, remote, 1, 0)


def read_memory(pid: int) -> None:
    """The heap of a process, by the file that /proc has of it."""
    process = Path("/proc", str(pid))
    with (process / "maps").open() as maps, (process / "mem").open("rb", 0) as memory:
        heap = next(line for line in maps if "[heap]" in line)
        memory.seek(int(heap.split("-")[0], 16))
        memory.read(8)


def attempts(told: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """By name. `told` has the daemon's `pid`, a `sibling`'s, a `port`, a `unix` address, a `file`
    and a `folder`."""
    pid, sibling, file, folder = told["pid"], told["sibling"], Path(told["file"]), told["folder"]
    new = Path(folder, "new")
    unix = struct.pack("=H", socket.AF_UNIX) + told["unix"].encode() + b"\0"
    return {
        "a TCP connection": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, inet(told["port"])),
        "a UDP socket": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, inet(told["port"])),
        "a Unix connection": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, unix),
        "a pair of sockets": lambda: libc("socketpair", 1, 2, 0, (ctypes.c_int * 2)()),
        "a netlink socket": lambda: libc("socket", 16, 3, 0),
        "a shell": lambda: os.execv("/bin/sh", ["sh", "-c", "exit 9"]),
        "a shell beside it": lambda: os.posix_spawn("/bin/sh", ["sh", "-c", "exit 9"], {}),
        "a process": process,
        "a session": os.setsid,
        "reading the state directory": lambda: os.open(file, os.O_RDONLY),
        "listing it": lambda: list(Path(folder).iterdir()),
        "reading /etc/passwd": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "the same by another root": lambda: Path(f"/proc/self/root{file}").read_bytes(),
        "writing the state directory": lambda: os.open(file, os.O_WRONLY),
        "emptying a file there": lambda: libc("truncate", bytes(file), ctypes.c_long(0)),
        "making a file there": lambda: os.open(new, os.O_CREAT | os.O_RDWR),
        "making one in /tmp": lambda: os.open("/tmp", os.O_TMPFILE | os.O_RDWR),
        "deleting a file": file.unlink,
        "moving a file": lambda: file.rename(new),
        "linking to a file": lambda: new.hardlink_to(file),
        "changing a file's mode": lambda: file.chmod(0o777),
        "tracing the daemon": lambda: libc("ptrace", PTRACE_ATTACH, pid, 0, 0),
        "reading the daemon's memory": lambda: look_into(pid),
        "the same by /proc": lambda: read_memory(pid),
        "the daemon's environment": lambda: Path(f"/proc/{pid}/environ").read_bytes(),
        "the daemon's descriptors": lambda: list(Path(f"/proc/{pid}/fd").iterdir()),
        "a sibling's memory": lambda: read_memory(sibling),
        "killing the daemon": lambda: os.kill(pid, 0),
        "killing a sibling": lambda: os.kill(sibling, 0),
        "killing its group": lambda: os.killpg(os.getpgid(pid), 0),
        "killing it through a descriptor": lambda: os.pidfd_open(pid),
        "the daemon's limits": lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE),
        "the daemon's priority": lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
        "memory beyond its limit": lambda: bytearray(told["memory"] * 2),
        "more memory": lambda: resource.setrlimit(resource.RLIMIT_DATA, (-1, -1)),
        "a core": lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20)),
        "outliving the daemon": lambda: libc("prctl", 1, 0, 0, 0, 0),
        "memory for all to see": lambda: libc("prctl", 4, 1, 0, 0, 0),
        "a namespace": lambda: libc("unshare", CLONE_NEWUSER),
        "a mount": lambda: libc("mount", b"none", b"/", None, MS_PRIVATE, None),
    }


def tell(told: dict[str, Any]) -> dict[str, str]:
    """What came of each attempt: "done", or the name of the error."""
    outcome = {}
    for name, attempt in attempts(told).items():
        try:
            attempt()
            outcome[name] = "done"
        except (OSError, MemoryError, ValueError) as error:
            outcome[name] = type(error).__name__
    return outcome


@dataclass
class Result:
    notes: dict[str, Any]
    forms: list[dict[str, Any]] = field(default_factory=list)
    convicted: list[int] = field(default_factory=list)


class Intruder:
    """A conversation in which it acts."""

    def __init__(self) -> None:
        self.length = self.size = 0

    def context(self, item: dict[str, Any]) -> None:
        self.length += 1

    def compress(
        self, items: list[dict[str, Any]], model: str, config: dict[str, Any], watch: object
    ) -> Result:
        self.length += len(items)
        if model == "core":
            os.kill(os.getpid(), signal.SIGSEGV)
        thread()  # this one has to go
        fds = list(Path("/proc/self/fd").iterdir())  # that of this listing has gone after it
        links = [str(fd.readlink()) for fd in fds if fd.exists()]
        return Result(
            {
                "outcome": tell(config),
                "environment": dict(os.environ),
                "descriptors": sorted(links),
            }
        )


class Compressor:
    headroom_version = "0.0-intruder"
    lacks = ""
    worn = False

    def __init__(self, options: dict[str, Any]) -> None:
        pass

    def warm_up(self) -> None:
        pass

    def conversation(self) -> Intruder:
        return Intruder()
