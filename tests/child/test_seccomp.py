"""The filter of system calls, in processes of its own: what it refuses, what it lets through."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
from typing import Any

import pytest

from tsheadroom.child import seccomp

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in seccomp.MACHINES,
    reason="filters are known for Linux on x86_64 and aarch64",
)

FILTERED = """
import ctypes, errno, json, os, platform, resource, sys, threading
from tsheadroom.child import seccomp, system
system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
seccomp.install(alone=False)
if ALONE:
    seccomp.install(alone=True)
libc = ctypes.CDLL(None, use_errno=True)
own = seccomp.MACHINES[platform.machine()][1]
def call(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments or [0] * 6))
    return ctypes.get_errno()
def each(table):
    return {name: call(calls[own]) for name, calls in table.items() if calls[own] is not None}
"""


def filtered(script: str, *, alone: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a script whose calls are filtered, as those of a worker or of a process that forks."""
    return subprocess.run(
        [sys.executable, "-c", FILTERED.replace("ALONE", str(alone)) + script],
        check=False,
        capture_output=True,
        text=True,
    )


def said(script: str, *, alone: bool = True) -> Any:
    done = filtered(f"{script}\nprint(json.dumps(said))", alone=alone)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_call_of_the_list_is_refused() -> None:
    refused = said("said = [each(seccomp.NEVER), each(seccomp.NEVER_ALONE)]")
    assert {"socket", "execve", "ptrace", "unlinkat", "setsid"} <= {*refused[0], *refused[1]}
    assert {error for table in refused for error in table.values()} == {1}  # EPERM


def test_a_process_that_forks_workers_forks_and_starts_no_program() -> None:
    assert said(
        """
pid = os.fork()
if not pid:
    os.setpgid(0, 0)
    os._exit(7)
said = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), call(seccomp.NEVER["execve"][own])]
""",
        alone=False,
    ) == [7, 1]


def test_a_worker_starts_threads_and_no_process() -> None:
    assert said(
        """
said = []
thread = threading.Thread(target=said.append, args=("thread",))
thread.start()
thread.join()
for start in (os.fork, lambda: os.posix_spawn(sys.executable, [sys.executable], {})):
    try:
        start()
    except PermissionError:
        said.append("refused")
"""
    ) == ["thread", "refused", "refused"]


def test_files_are_opened_for_reading_only() -> None:
    assert said(
        """
said = []
for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_RDONLY | os.O_CREAT,
              os.O_TMPFILE | os.O_RDWR, os.O_RDONLY):
    try:
        os.close(os.open("/dev/null" if flags != os.O_TMPFILE | os.O_RDWR else "/tmp", flags))
        said.append("opened")
    except PermissionError:
        said.append("refused")
said.append(call(437) == errno.ENOSYS)  # openat2
"""
    ) == ["refused"] * 5 + ["opened", True]


def test_limits_and_signals_are_its_own_affair_only() -> None:
    assert (
        said(
            """
said = []
parent = os.getppid()
os.kill(os.getpid(), 0)
resource.prlimit(0, resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
reading, _ = os.pipe()
import fcntl
for attempt in (
    lambda: os.kill(parent, 0),
    lambda: os.killpg(os.getpgid(parent), 0),
    lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE),
    lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
    lambda: fcntl.fcntl(reading, fcntl.F_SETOWN, parent),
):
    try:
        attempt()
        said.append("done")
    except PermissionError:
        said.append("refused")
"""
        )
        == ["refused"] * 5
    )


def test_another_process_s_processors_stay_as_they_are() -> None:
    assert said(
        """
before = os.sched_getaffinity(0)
os.sched_setaffinity(0, [min(before)])
said = before == os.sched_getaffinity(0)
"""
    )


def test_calls_newer_than_the_list_do_not_exist() -> None:
    assert said("said = [call(seccomp.NEWEST + 1), call(9999)]") == [38, 38]  # ENOSYS


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x32 is x86_64's")
def test_a_call_by_another_numbering_ends_the_process() -> None:
    done = filtered("call(seccomp.X32 | 39)\nprint('alive')")
    assert (done.returncode, done.stdout) == (-signal.SIGSYS, "")


def test_a_process_still_aborts() -> None:
    assert filtered("os.abort()").returncode == -signal.SIGABRT


def test_a_machine_without_a_list_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="no list of system calls for riscv64"):
        seccomp.install(alone=False)


@pytest.mark.parametrize("own", [0, 1])
def test_no_number_is_listed_twice(own: int) -> None:
    listed = [calls[own] for calls in (*seccomp.NEVER.values(), *seccomp.NEVER_ALONE.values())]
    numbers = [number for number in listed if number is not None]
    assert len(numbers) == len(set(numbers))
    assert max(numbers) <= seccomp.NEWEST
