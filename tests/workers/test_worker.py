"""One child at a time: whatever it does, the call ends and the child is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.workers.support import (
    PATIENCE,
    MakePool,
    children,
    descriptors,
    job,
    parents,
    started,
    until,
)
from tsheadroom import lines as lines_module
from tsheadroom.workers import NoWorker, Pool, UnknownBase, WorkerFailed
from tsheadroom.workers import worker as process_module

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")


async def replaced(pool: Pool, pid: int) -> None:
    await until(lambda: pool.stats.warm == pool.stats.slots and pid not in pool.pids)


@pytest.mark.parametrize("how", ["rubbish", "wrong-id", "two-lines", "half", "endless"])
async def test_a_child_that_breaks_the_protocol_is_replaced(
    make_pool: MakePool, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "MAX_REPLY", 1_000_000)
    pool = await started(make_pool(how))
    pid = pool.pids[0]
    with pytest.raises(WorkerFailed) as caught:
        await pool.submit(job("a"))
    assert caught.value.killed
    await replaced(pool, pid)
    assert pool.stats.restarts == 1
    assert pid not in children()


async def test_an_error_answer_replaces_the_child_and_names_the_error(make_pool: MakePool) -> None:
    pool = await started(make_pool("fails"))
    pid = pool.pids[0]
    with pytest.raises(WorkerFailed, match=r"answered Whatever at a\.py:1$") as caught:
        await pool.submit(job("a"))
    assert (caught.value.error_type, caught.value.killed) == ("Whatever", False)
    await replaced(pool, pid)


async def test_what_a_child_says_of_an_error_is_a_name_and_places(make_pool: MakePool) -> None:
    pool = await started(make_pool("fails-in-words"))
    with pytest.raises(WorkerFailed, match=r"answered unknown$") as caught:
        await pool.submit(job("a"))
    assert caught.value.error_type == "unknown"


async def test_unknown_base_says_nothing_against_the_child(make_pool: MakePool) -> None:
    pool = await started(make_pool("unknown"))
    before = pool.pids
    for _ in range(3):
        with pytest.raises(UnknownBase):
            await pool.submit(job("a"))
    assert pool.pids == before


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("exit", "no Headroom here"),
        ("greets", "not a ready line"),
        ("not-ready", "not a ready line"),
        ("endless-greeting", "too long a line"),
        ("dies-idle", "exit code 1"),
        ("unasked", "nobody asked for"),
        ("closes", "SIGKILL"),
    ],
)
async def test_a_child_that_does_not_start_is_told_and_tried_again(
    make_pool: MakePool, how: str, reason: str
) -> None:
    pool = make_pool(how)
    await pool.start()
    await until(lambda: reason in pool.failure)
    await until(lambda: pool.stats.restarts >= 1)


async def test_a_child_that_says_nothing_is_told_and_tried_again(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "READY_SECONDS", 0.1)
    pool = make_pool("mute")
    await pool.start()
    await until(lambda: "not ready within 0.1 s" in pool.failure)
    await until(lambda: pool.stats.restarts >= 1)


async def test_a_missing_interpreter_is_named(make_pool: MakePool) -> None:
    pool = make_pool(python="/nowhere/python", fork=False)
    await pool.start()
    await until(lambda: bool(pool.failure))
    assert "/nowhere/python" in pool.failure
    assert "--python" in pool.failure
    with pytest.raises(NoWorker, match="/nowhere/python"):
        pool.submit(job("a"))


async def test_a_late_success_is_found(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool("once", str(tmp_path / "seen"))
    await pool.start()
    await until(lambda: pool.ready)
    assert pool.failure == ""
    assert pool.headroom_version == "bad"


async def test_a_large_request_arrives_whole_while_the_loop_runs(make_pool: MakePool) -> None:
    pool = await started(make_pool("echo"))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    big = job("x" * 20_000_000)
    reply = await pool.submit(big)
    counting.cancel()
    assert reply.notes["bytes"] > 20_000_000
    # The pipe takes 1 MiB at a time at best: the loop had a turn after each piece.
    assert turns >= 19


async def test_a_large_reply_arrives_whole(make_pool: MakePool) -> None:
    pool = await started(make_pool("long"))
    reply = await pool.submit(job("a"))
    assert [form.item for form in reply.forms] == list(range(60))
    assert all(len(form.edits[0].text) == 100_000 for form in reply.forms)
    assert reply.slot == 0


async def test_a_long_broken_reply_is_noticed(make_pool: MakePool) -> None:
    pool = await started(make_pool("long-rubbish"))
    pid = pool.pids[0]
    with pytest.raises(WorkerFailed, match="a broken line"):
        await pool.submit(job("a"))
    await replaced(pool, pid)


async def grandchild_of(pid: int) -> int:
    """The one process that the child has started; /proc names each process's parent."""

    def found() -> list[int]:
        return [number for number, parent in parents().items() if parent == pid]

    await until(lambda: len(found()) == 1)
    return found()[0]


async def test_a_killed_child_takes_its_own_children_with_it(make_pool: MakePool) -> None:
    pool = await started(make_pool("grandchild", fork=False))
    pid = pool.pids[0]
    grandchild = await grandchild_of(pid)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pid not in pool.pids)
    await until(lambda: not Path(f"/proc/{grandchild}").exists())


async def test_stderr_is_bounded(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("DEBUG", "tsheadroom.workers.stderr")
    monkeypatch.setattr(lines_module, "WINDOW_SECONDS", 600.0)
    pool = await started(make_pool("chatters"))
    await pool.submit(job("a"))
    await pool.close(grace=PATIENCE)  # all that the child wrote has been read then
    lines = [r for r in caplog.records if "stderr: tsheadroom.child: line" in r.getMessage()]
    assert len(lines) == lines_module.LINES_A_WINDOW
    assert all(len(record.getMessage()) < 1100 for record in lines)
    assert "150 more lines not logged" in caplog.text


async def test_what_a_child_prints_of_its_work_is_not_logged(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    pool = await started(make_pool("quotes"))
    with pytest.raises(WorkerFailed, match=r"exit code 1: headroom\.BadOutputError$"):
        await pool.submit(job("a"))
    await pool.close(grace=PATIENCE)
    said = [r.getMessage() for r in caplog.records]
    assert not [line for line in said if "SECRET" in line]
    assert [line.partition("stderr: ")[2] for line in said if "stderr: " in line] == [
        f"{Path(__file__).with_name('bad_child.py')}:3",
        "headroom.BadOutputError",
        "4 more lines not logged",
    ]


async def test_no_descriptor_and_no_process_is_left_after_many_restarts(
    make_pool: MakePool,
) -> None:
    pool = await started(make_pool())
    before = descriptors()
    for _ in range(30):
        pid = pool.pids[-1]
        with pytest.raises(WorkerFailed):
            await pool.submit(job("a", model="crash"))
        await replaced(pool, pid)
    await until(lambda: descriptors() <= before)  # each restart that leaks one adds to them
    await until(lambda: children() == set(pool.pids))
    await pool.close()
    await until(lambda: children() == set())
