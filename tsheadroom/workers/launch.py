"""Starting a worker by exec: the plain way, on any system and with Headroom's text model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tsheadroom.child import environment

from .errors import SpawnFailed
from .worker import Spawned

CHILD = Path(__file__).parents[1] / "child" / "main.py"

MEMORY_LIMIT = 1024 * 1024 * 1024
"""Bytes. Private memory of one worker: eight times what a warm one with full caches has, and two of
them cannot take a small machine down. An allocation beyond it fails the call."""

MODEL_MEMORY = 512 * 1024 * 1024
"""What Headroom's text model comes to on top of that, in memory that counts: 480 MiB measured with
a model of its size and operators, after texts of 1500 words."""


BACKOFF_FIRST = 0.2
BACKOFF_LAST = 10.0
"""Seconds, as in the Go daemon: a broken interpreter costs little, a repaired one is found soon."""


def backoff(failures: int) -> float:
    """Seconds to wait after so many failed starts in a row."""
    return float(min(BACKOFF_FIRST * 2 ** min(failures - 1, 16), BACKOFF_LAST))


@dataclass(frozen=True, slots=True)
class WorkerProgram:
    """What to run as a worker.

    `memory` is in bytes; `options` are the settings that a worker prepares for when it starts.
    `pipelines` is the path of a module in the place of the child's compression, `command` a command
    line in the place of the child (tests).
    """

    python: str = ""
    memory: int = MEMORY_LIMIT
    options: dict[str, Any] = field(default_factory=dict)
    pipelines: str = ""
    command: Sequence[str] = ()

    def argv(self, *, fork_server: bool) -> list[str]:
        """The command line of a worker, or of a process that forks workers."""
        if self.command:
            return list(self.command)
        arguments = {
            "parent": os.getpid(),
            "memory": self.memory,
            "fork_server": fork_server,
            "options": self.options,
            "pipelines": self.pipelines,
        }
        spelled = msgspec.json.encode(arguments).decode()
        return [self.python or sys.executable, "-B", str(CHILD), spelled]


class Launcher(Protocol):
    """A way to start workers."""

    async def launch(self) -> Spawned:
        """A new process, not yet ready. Raises SpawnFailed where none could be started."""

    async def close(self, grace: float) -> None:
        """Release what the launcher itself holds; its workers are not touched."""


class ExecLauncher:
    """Starts each worker as a process of its own."""

    def __init__(self, program: WorkerProgram) -> None:
        self._program = program

    async def launch(self) -> Spawned:
        """A new process, not yet ready. Raises SpawnFailed where it could not be started."""
        return execute(self._program.argv(fork_server=False))

    async def close(self, grace: float) -> None:
        """Nothing to release."""


class Pipes:
    """Three pipes: the ends for a child, and those that the daemon keeps.

    Raises SpawnFailed where there are no descriptors left.
    """

    def __init__(self) -> None:
        made: list[int] = []
        try:
            for _ in range(3):
                made += os.pipe()
        except OSError as error:
            for fd in made:
                os.close(fd)
            raise SpawnFailed(f"no pipes for a worker: {error}") from error
        self.child_stdin, self.stdin = made[0:2]
        self.stdout, self.child_stdout = made[2:4]
        self.stderr, self.child_stderr = made[4:6]

    def close_child_ends(self) -> None:
        """To be called once the child has them, or will not get them."""
        for fd in (self.child_stdin, self.child_stdout, self.child_stderr):
            os.close(fd)

    def close_own_ends(self) -> None:
        """To be called when no child came of it."""
        for fd in (self.stdin, self.stdout, self.stderr):
            os.close(fd)


def execute(argv: Sequence[str]) -> Spawned:
    """Start a command with three pipes.

    Called on the loop's thread: a child that asked to die with its parent dies with the thread
    that started it. No code runs between fork and exec, other threads may hold locks then.
    """
    pipes = Pipes()
    try:
        pid = start(argv, pipes.child_stdin, pipes.child_stdout, pipes.child_stderr)
    except BaseException:
        pipes.close_own_ends()
        raise
    finally:
        pipes.close_child_ends()
    return Spawned(pid, pipes.stdin, pipes.stdout, pipes.stderr)


def start(argv: Sequence[str], stdin: int, stdout: int, stderr: int) -> int:
    """Exec a command in a process group of its own and in the offline environment; its pid."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment.of_child(os.environ),
            process_group=0,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SpawnFailed(f"cannot run {argv[0]} ({error}); name another with --python") from error
    # The Reaper waits for the pid; Popen must not do so when it is collected.
    process.returncode = 0
    return process.pid
