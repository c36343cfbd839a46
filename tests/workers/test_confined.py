"""What a worker that was taken over can still do, in a pool that is as the daemon has it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.child.test_landlock import missing
from tests.workers.support import HERE, MakePool, job, started, until
from tsheadroom.child import environment
from tsheadroom.workers import Pool, WorkerFailed
from tsheadroom.workers.launch import MEMORY_LIMIT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are confined on Linux")

INTRUDER = str(HERE / "intruder.py")

BY_LANDLOCK = {
    "reading the state directory",
    "the same by another root",
    "listing it",
    "reading /etc/passwd",
    "the same by /proc",
    "the daemon's environment",
    "the daemon's descriptors",
    "a sibling's memory",
}
"""What nothing else prevents where daemon and workers are root's, or the daemon is not hidden."""


@pytest.fixture
def told(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What an intruder is told of its surroundings: doors that are open to everybody else."""
    file = tmp_path / "conversations.sqlite3"
    file.write_text("secret")
    unix = str(tmp_path / "socket")
    with contextlib.ExitStack() as doors:
        server = doors.enter_context(socket.create_server(("127.0.0.1", 0)))
        local = doors.enter_context(socket.socket(socket.AF_UNIX))
        local.bind(unix)
        local.listen()
        yield {
            "pid": os.getpid(),
            "port": server.getsockname()[1],
            "unix": unix,
            "file": str(file),
            "folder": str(tmp_path),
            "memory": MEMORY_LIMIT,
        }
    assert file.read_text() == "secret"
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, "socket"]


async def intrude(pool: Pool, told: dict[str, Any]) -> dict[str, Any]:
    """What came of it."""
    told = {**told, "sibling": pool.pids[-1]}
    return (await pool.submit(job("a", config=told))).notes


@pytest.mark.parametrize("fork", [True, False])
async def test_nothing_that_it_tries_succeeds(
    make_pool: MakePool,
    told: dict[str, Any],
    fork: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    monkeypatch.setenv("OF_ANY_NAME", "secret")
    pool = await started(make_pool(size=2, fork=fork, pipelines=INTRUDER))
    (holds,) = set(re.findall(r"confined=(\S+)", caplog.text))
    notes = await intrude(pool, told)
    done = {name for name, outcome in notes["outcome"].items() if outcome == "done"}
    assert done <= (BY_LANDLOCK if missing() else set())
    refused = {outcome for outcome in notes["outcome"].values() if outcome != "done"}
    assert refused == {"PermissionError", "MemoryError", "ValueError"}  # two are about limits
    assert len(notes["outcome"]) > 30
    means = ["undumpable", "seccomp", "unprivileged", *([] if missing() else ["landlock"])]
    assert holds.split(",") == means
    given = environment.INHERITED | environment.OFFLINE.keys() | {"TIKTOKEN_CACHE_DIR"}
    assert {n for n in notes["environment"] if not n.startswith("LC_")} <= given
    assert "secret" not in " ".join(notes["environment"].values())
    pipes = [name for name in notes["descriptors"] if name.startswith("pipe:")]
    others = set(notes["descriptors"]) - set(pipes)
    assert len(set(pipes)) == 3
    assert others == {"/dev/null", *(name for name in others if name.endswith("/statm"))}
    assert pool.stats.restarts == 0


async def test_a_crash_leaves_no_core(
    make_pool: MakePool, told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pool = await started(make_pool(pipelines=INTRUDER))
    with pytest.raises(WorkerFailed, match="SIGSEGV"):
        await pool.submit(job("a", model="core", config=told))
    await until(lambda: pool.ready)
