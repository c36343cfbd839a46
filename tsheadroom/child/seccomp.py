"""A filter of system calls, for a process that only thinks: no network, no programs, no writing.

The kernel runs it before each call: Linux's seccomp, the second mode, in classic BPF. See
https://docs.kernel.org/userspace-api/seccomp_filter.html

It names what is refused, not what is allowed. What a libc, Rust's standard library or ONNX's
threads call changes with every update, and a worker that dies of that is no safer than one that
lives without some call; what a compressor has no business with stays the same. Two things keep such
a list from growing holes: a call that is newer than the list does not exist, as on an older kernel,
which libcs are built for; and a call by another numbering (32 bits, x32) ends the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from tsheadroom.child import system

PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2

KILL = 0x80000000
ERRNO = 0x00050000
ALLOW = 0x7FFF0000

# What the filter reads of a call: `struct seccomp_data`. Arguments have 64 bits, the lower half
# first; those that are looked at here are ints in the kernel.
NUMBER, MACHINE, ARGUMENTS, ARGUMENT_BYTES = 0, 4, 16, 8

LOAD, EQUAL, AT_LEAST, ANY_BIT, ANSWER = 0x20, 0x15, 0x35, 0x45, 0x06

MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""How the kernel calls a machine, and which of the numbers below are its own."""

X32 = 0x40000000
"""Numbers from here on are those of x32, a second table of x86_64 that programs do not use."""

NEWEST = 449
"""futex_waitv, of Linux 5.16. Newer calls are answered as an older kernel would."""

NEVER = {
    # No socket, of whichever family; that there is none makes sending and receiving pointless.
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
    # This one can open files and sockets without the calls that are filtered.
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # No other program.
    "execve": (59, 221), "execveat": (322, 281),
    # Nothing changes in a file system. Opening for writing is below.
    "creat": (85, None), "truncate": (76, 45), "mknod": (133, None), "mknodat": (259, 33),
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "unlink": (87, None),
    "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "link": (86, None), "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "open_by_handle_at": (304, 265),
    # Memory, semaphores and queues that processes share by number or name.
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190),
    "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # No look into other processes, and no hand on them.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "setpriority": (141, 140),
    "ioprio_set": (251, 30), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    # What only administrators need, and where kernels had their holes.
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "personality": (135, 92),
    "modify_ldt": (154, None), "iopl": (172, None), "ioperm": (173, None), "syslog": (103, 116),
    "quotactl": (179, 60), "swapon": (167, 224), "reboot": (169, 142), "acct": (163, 89),
}  # fmt: skip
"""Calls that neither a worker nor the process that forks workers needs, once it runs Python."""

NEVER_ALONE = {
    # No other process: what a worker starts, nobody would wait for, count or end.
    "fork": (57, None), "vfork": (58, None), "setsid": (112, 157), "setpgid": (109, 154),
    # Signals go to the process itself, which is how it aborts.
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
}  # fmt: skip
"""Calls that a worker does not need; the process that forks workers does."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CLONE_THREAD = 0x00010000
F_SETOWN, F_SETSIG, F_SETOWN_EX = 8, 10, 15


class Rule(NamedTuple):
    """Refuse a call, or only one whose `argument` compares with `value` as `test` says.

    `met` is what the test has to come to for the call to be refused. `error` 0 answers that it was
    done, without doing it.
    """

    number: int
    error: int = errno.EPERM
    argument: int = 0
    test: int = 0
    value: int = 0
    met: bool = True


def rules(own: int, *, alone: bool) -> Iterator[Rule]:
    """The rules for a machine, `own` being the place of its numbers; `alone` are a worker's."""

    def numbered(*calls: tuple[int | None, int | None]) -> Iterator[int]:
        return (number for call in calls if (number := call[own]) is not None)

    if not alone:
        yield from map(Rule, numbered(*NEVER.values()))
        for open_, flags in (((2, None), 1), ((257, 56), 2)):  # open, openat
            for number in numbered(open_):
                yield Rule(number, argument=flags, test=ANY_BIT, value=WRITING)
        # Its flags are in memory, where a filter cannot look. glibc then takes openat.
        yield Rule(437, errno.ENOSYS)  # openat2
        return
    yield from map(Rule, numbered(*NEVER_ALONE.values()))
    yield Rule((56, 220)[own], test=ANY_BIT, value=CLONE_THREAD, met=False)  # clone
    yield Rule(435, errno.ENOSYS)  # clone3, whose flags are in memory as well
    for number in numbered((62, 129), (234, 131)):  # kill, tgkill
        yield Rule(number, test=EQUAL, value=os.getpid(), met=False)
    # A file can be made to send signals to others when it becomes readable.
    for command in (F_SETOWN, F_SETSIG, F_SETOWN_EX):
        yield Rule((72, 25)[own], argument=1, test=EQUAL, value=command)  # fcntl
    for option in (system.PR_SET_PDEATHSIG, system.PR_SET_DUMPABLE):
        yield Rule((157, 167)[own], test=EQUAL, value=option)  # prctl: as it is, it stays
    # Of oneself only; other processes of the user have limits, too.
    yield Rule((302, 261)[own], test=EQUAL, value=0, met=False)  # prlimit64
    # ONNX's threads want to choose their processors, and complain when they may not.
    yield Rule((203, 122)[own], error=0)  # sched_setaffinity


def assemble(machine: int, given: Iterator[Rule]) -> bytes:
    """The program of a filter: an array of `struct sock_filter`, eight bytes an instruction."""
    program = bytearray()

    def add(code: int, value: int, then: int = 0, otherwise: int = 0) -> None:
        program.extend(struct.pack("=HBBI", code, then, otherwise, value))

    add(LOAD, MACHINE)
    add(EQUAL, machine, 1, 0)
    add(ANSWER, KILL)
    add(LOAD, NUMBER)
    add(AT_LEAST, X32, 0, 1)
    add(ANSWER, KILL)
    add(AT_LEAST, NEWEST + 1, 0, 1)
    add(ANSWER, ERRNO | errno.ENOSYS)
    for rule in given:
        if not rule.test:
            add(EQUAL, rule.number, 0, 1)
            add(ANSWER, ERRNO | rule.error)
            continue
        add(EQUAL, rule.number, 0, 4)
        add(LOAD, ARGUMENTS + ARGUMENT_BYTES * rule.argument)
        add(rule.test, rule.value, *((0, 1) if rule.met else (1, 0)))
        add(ANSWER, ERRNO | rule.error)
        add(LOAD, NUMBER)
    add(ANSWER, ALLOW)
    return bytes(program)


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(*, alone: bool) -> None:
    """Filter this thread's calls and those of all that it starts, for good.

    Twice in a worker: `alone` adds what the process that forks workers cannot do without. Raises
    OSError where the system has no such filters, or this module not the numbers of its calls.
    """
    machine = platform.machine()
    if machine not in MACHINES or sys.maxsize < 2**32:  # a 32-bit Python on a 64-bit kernel
        raise OSError(errno.ENOSYS, f"no list of system calls for {machine}")
    word, own = MACHINES[machine]
    program = assemble(word, rules(own, alone=alone))
    # prctl and not seccomp(2), which older units of systemd do not let through.
    handed = _Program(len(program) // 8, program)
    system.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(handed))
