"""Workers forked from one warm process: whose children they are, and what outlives what."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers.support import (
    PATIENCE,
    STANDIN,
    MakePool,
    children,
    descriptors,
    job,
    started,
    until,
)
from tsheadroom.workers import WorkerFailed
from tsheadroom.workers import forkserver as forkserver_module

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forking is for Linux")

ROOT = Path(__file__).parents[2]


async def test_workers_are_this_process_s_own_children(make_pool: MakePool) -> None:
    pool = await started(make_pool(size=2))
    server, *workers = pool.pids
    assert len(workers) == 2
    await until(lambda: children() == {server, *workers})
    assert {os.getpgid(pid) for pid in pool.pids} == set(pool.pids)


async def test_a_worker_has_no_descriptor_of_another(make_pool: MakePool) -> None:
    pool = await started(make_pool(size=3))
    replies = await asyncio.gather(*(pool.submit(job("a", key=k, model="pipes")) for k in "abc"))
    assert {reply.slot for reply in replies} == {0, 1, 2}
    pipes = [set(reply.notes["pipes"]) for reply in replies]
    assert all(len(own) == 3 for own in pipes)
    assert len(set.union(*pipes)) == 9


async def test_workers_outlive_the_fork_server(make_pool: MakePool) -> None:
    pool = await started(make_pool(size=2))
    server, *workers = pool.pids
    os.kill(server, signal.SIGKILL)
    await until(lambda: pool.pids[0] not in (server, *workers))
    assert pool.pids[1:] == workers
    assert {(await pool.submit(job("a", key=key))).notes["pid"] for key in "ab"} == set(workers)
    assert pool.stats.restarts == 0
    os.kill(workers[0], signal.SIGKILL)
    await until(lambda: workers[0] not in pool.pids and pool.stats.warm == 2)
    assert (await pool.submit(job("b"))).forms
    await until(lambda: children() == set(pool.pids))


async def test_a_stuck_fork_server_is_replaced(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await started(make_pool())
    server, worker = pool.pids
    os.kill(server, signal.SIGSTOP)
    # Only the one that never answers has so little time.
    monkeypatch.setattr(forkserver_module, "FORK_SECONDS", 0.1)
    os.kill(worker, signal.SIGKILL)
    await until(lambda: server not in pool.pids)
    monkeypatch.setattr(forkserver_module, "FORK_SECONDS", PATIENCE)
    await until(lambda: pool.ready and worker not in pool.pids and server not in pool.pids)
    await until(lambda: children() == set(pool.pids))


async def test_a_worker_that_is_forked_while_the_pool_closes_is_waited_for(
    make_pool: MakePool,
) -> None:
    pool = await started(make_pool())
    server = pool.pids[0]
    assert pool._launcher is not None
    os.kill(server, signal.SIGSTOP)  # it forks when the pool is closing already
    launching = asyncio.create_task(pool._launcher.launch())
    await asyncio.sleep(0)
    launching.cancel()
    closing = asyncio.create_task(pool.close(grace=PATIENCE))
    await until(lambda: children() == {server})
    os.kill(server, signal.SIGCONT)
    await closing
    assert children() == set()


async def test_threads_forbid_forking(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pool = await started(make_pool(size=2, options={"threads": True}))
    assert len(pool.pids) == 2  # no fork server
    assert (await pool.submit(job("a"))).forms
    told = [r for r in caplog.records if "one by one" in r.getMessage()]
    assert len(told) == 1
    assert "2 threads" in told[0].getMessage()


async def test_a_system_without_these_calls_starts_workers_by_exec(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsheadroom.child.system.LINUX", False)
    monkeypatch.delattr(os, "pidfd_open")
    pool = await started(make_pool())
    assert len(pool.pids) == 1
    worker = pool.pids[0]
    with pytest.raises(WorkerFailed):
        await pool.submit(job("a", model="crash"))
    await until(lambda: pool.ready and worker not in pool.pids)
    assert (await pool.submit(job("a"))).forms
    await pool.close()
    await until(lambda: children() == set())


@pytest.mark.parametrize("fork", [True, False])
async def test_broken_headroom_is_said_plainly(make_pool: MakePool, fork: bool) -> None:
    pool = make_pool(fork=fork, options={"broken": True})
    await pool.start()
    await until(lambda: bool(pool.failure))
    assert "Headroom does not load in" in pool.failure
    assert "no Headroom here" in pool.failure


@pytest.mark.parametrize("fork", [True, False])
async def test_children_die_with_the_daemon(tmp_path: Path, fork: bool) -> None:
    script = f"""
import asyncio
from tsheadroom.workers import Pool
async def main():
    pool = Pool(size=2, pipelines={STANDIN!r}, fork={fork})
    await pool.start()
    while pool.stats.warm < 2:
        await asyncio.sleep(0.01)
    print(*pool.pids, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    daemon = subprocess.Popen(  # noqa: ASYNC220 (it prints one line)
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert daemon.stdout is not None
    pids = [int(pid) for pid in daemon.stdout.readline().split()]
    assert len(pids) == (3 if fork else 2)
    # A stopped child reads no end of file: it must be killed.
    os.kill(pids[-1], signal.SIGSTOP)
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    await until(lambda: all(_over(pid) for pid in pids))


def _over(pid: int) -> bool:
    """Whether it has ended; if this process adopted it (others' pools live here), wait for it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return not Path(f"/proc/{pid}").exists()


async def test_nothing_is_left_after_many_fork_servers(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsheadroom.workers.forking.backoff", lambda failures: 0.0)
    pool = await started(make_pool())
    await pool.submit(job("a"))
    before = descriptors()
    for _ in range(8):
        server = pool.pids[0]
        os.kill(server, signal.SIGKILL)
        await until(lambda: len(pool.pids) == 2 and pool.pids[0] != server)  # noqa: B023
    await until(lambda: descriptors() <= before)  # each server that leaves one adds to them
    await until(lambda: children() == set(pool.pids))


def test_a_foreign_interpreter_needs_nothing_of_ours(tmp_path: Path) -> None:
    """As with --python: no package of ours, none of our dependencies, started elsewhere."""
    script = ROOT / "tsheadroom" / "child" / "main.py"
    arguments = f'{{"pipelines": "{STANDIN}"}}'
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", str(script), arguments],
        input=b'{"id":1,"payload":{"conversation":"c","messages":[],"model":"m"}}\n',
        capture_output=True,
        cwd=tmp_path,
        check=False,
        timeout=PATIENCE,
    )
    ready, reply = done.stdout.splitlines()
    assert b'"ready": true' in ready
    assert b'"ok":true' in reply
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


async def test_a_fork_server_that_keeps_dying_is_started_ever_later(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []

    def at_once(failures: int) -> float:
        waited.append(failures)
        return 0.0

    monkeypatch.setattr("tsheadroom.workers.forking.backoff", at_once)
    pool = await started(make_pool())
    for _ in range(3):
        server = pool.pids[0]
        os.kill(server, signal.SIGKILL)
        await until(lambda gone=server: len(pool.pids) == 2 and pool.pids[0] != gone)  # type: ignore[misc]
    assert waited == [1, 2, 3]
    monkeypatch.setattr("tsheadroom.workers.forking.STEADY_SECONDS", 0.0)
    server = pool.pids[0]
    os.kill(server, signal.SIGKILL)
    await until(lambda: len(pool.pids) == 2 and pool.pids[0] != server)
    assert waited == [1, 2, 3]  # it had lived for long enough
