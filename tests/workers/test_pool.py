"""Which worker gets a call, who waits, and who is told at once that nobody comes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.workers.support import PATIENCE, MakePool, children, job, started, until
from tsheadroom.child.held import BYTES_A_CONVERSATION, HELD_BYTES
from tsheadroom.workers import (
    Guilt,
    NoWorker,
    Pool,
    PoolBusy,
    PoolClosed,
    Reply,
    UnknownBase,
    WorkerFailed,
)
from tsheadroom.workers import launch as launch_module
from tsheadroom.workers import pool as pool_module
from tsheadroom.workers import slot as slot_module
from tsheadroom.workers.launch import backoff
from tsheadroom.workers.queues import LIGHT_BYTES

DIGESTS = (b"first", b"second", b"third")


async def test_a_call_is_answered(make_pool: MakePool) -> None:
    pool = await started(make_pool())
    reply = await pool.submit(job("hello"))
    assert reply.forms[0].edits[0].text == "HELLO"
    assert (reply.forms[0].item, reply.slot, reply.cold_first_call) == (0, 0, True)
    assert pool.headroom_version == "0.0-standin"
    assert (await pool.submit(job("more"))).cold_first_call is False
    assert pool.stats.cold_starts == 1


async def test_no_worker_is_told_at_once(make_pool: MakePool) -> None:
    with pytest.raises(NoWorker):
        make_pool("slow").submit(job("a"))


async def test_a_job_waits_for_workers_that_are_starting(make_pool: MakePool) -> None:
    pool = make_pool("slow")
    await pool.start()
    early = [pool.submit(job(key)) for key in "abc"]
    assert not pool.ready
    assert [reply.slot for reply in await asyncio.gather(*early)] == [0, 0, 0]


async def answer_within_the_cap(pool: Pool) -> Reply:
    """An answer; a busy machine may let some calls miss a cap that is short."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await until(lambda: pool.ready)
            try:
                return await pool.submit(job("a"))
            except WorkerFailed as error:
                if error.error_type != "cap":
                    raise


async def test_a_hung_call_ends_at_the_hard_cap(make_pool: MakePool) -> None:
    pool = await started(make_pool(max_compress=0.3))
    pid = pool.pids[-1]
    for model in ("hang", "spin"):
        with pytest.raises(WorkerFailed, match=r"0\.3 s") as caught:
            await pool.submit(job("a", model=model))
        assert (caught.value.error_type, caught.value.killed) == ("cap", True)
        await until(lambda: pool.ready)
    assert pid not in children()
    assert (await answer_within_the_cap(pool)).forms


@pytest.mark.parametrize("fork", [True, False])
async def test_a_crash_fails_its_call_only(make_pool: MakePool, fork: bool) -> None:
    pool = await started(make_pool(size=2, fork=fork))
    calls = [pool.submit(job("a", key=key)) for key in "xyz"]
    crash = pool.submit(job("a", key="bad", model="crash"))
    with pytest.raises(WorkerFailed, match="SIGABRT") as caught:
        await crash
    assert caught.value.killed
    assert all(reply.forms for reply in await asyncio.gather(*calls))
    await until(lambda: pool.stats.warm == 2)
    assert (await pool.submit(job("a", key="bad"))).forms


async def test_who_waits_behind_a_crash_is_served_by_the_next_worker(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_module, "REPLACE_PATIENCE", 600.0)
    pool = await started(make_pool())
    crash = pool.submit(job("a", model="crash"))
    behind = [pool.submit(job("b")) for _ in range(5)]
    with pytest.raises(WorkerFailed):
        await crash
    assert all(reply.forms for reply in await asyncio.gather(*behind))


async def test_a_child_that_eats_memory_fails_its_call_and_is_replaced(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "MEMORY_LIMIT", 256 * 1024 * 1024)
    pool = await started(make_pool())
    pid = pool.pids[-1]
    with pytest.raises(WorkerFailed) as caught:
        await pool.submit(job("a", model="eat"))
    assert (caught.value.error_type, caught.value.killed) == ("MemoryError", True)
    await until(lambda: pool.ready and pool.pids[-1] != pid)


async def test_a_child_that_has_grown_is_replaced_after_its_answer(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "RSS_LIMIT", 128 * 1024 * 1024)
    pool = await started(make_pool())
    pid = pool.pids[-1]
    assert (await pool.submit(job("a"))).forms
    assert pool.pids[-1] == pid
    assert (await pool.submit(job("a", model="grow"))).forms
    await until(lambda: pool.ready and pool.pids[-1] != pid)


@pytest.mark.parametrize(
    ("model", "kind"),
    [("raise", "ValueError"), ("deep", "RecursionError"), ("egress", "OfflineEgressBlocked")],
)
async def test_an_exception_is_an_answer(make_pool: MakePool, model: str, kind: str) -> None:
    pool = await started(make_pool())
    with pytest.raises(WorkerFailed) as caught:
        await pool.submit(job("a", model=model))
    assert (caught.value.error_type, caught.value.killed) == (kind, False)
    await until(lambda: pool.ready)
    assert (await pool.submit(job("a"))).forms


async def test_prints_and_reads_of_a_library_do_not_reach_the_protocol(
    make_pool: MakePool,
) -> None:
    pool = await started(make_pool())
    assert (await pool.submit(job("a", model="print"))).forms
    assert (await pool.submit(job("b"))).forms
    assert pool.stats.restarts == 0


async def test_affinity_keeps_a_conversation_in_one_slot(make_pool: MakePool) -> None:
    pool = await started(make_pool(size=3))
    slots_of: dict[str, set[int]] = {}
    for _ in range(4):
        for key in "abcdef":
            slots_of.setdefault(key, set()).add((await pool.submit(job("a", key=key))).slot)
    assert all(len(slots) == 1 for slots in slots_of.values())
    assert {slot for slots in slots_of.values() for slot in slots} == {0, 1, 2}
    assert (pool.stats.hits, pool.stats.spills) == (24, 0)


async def test_a_slow_conversation_does_not_hold_up_others(make_pool: MakePool) -> None:
    pool = await started(make_pool(size=2))
    first = (await pool.submit(job("a", key="slow"))).slot
    await pool.submit(job("a", key="other"))
    third = (await pool.submit(job("a", key="third"))).slot
    assert third == first  # two slots: it shares one with the slow one
    slow = pool.submit(job("a", key="slow", model="hang"))
    reply = await pool.submit(job("a", key="third", context=100_000))
    assert reply.slot != first
    assert pool.stats.spills == 1
    assert not slow.done()
    # That slot holds it now.
    assert (await pool.submit(job("a", key="third", context=100_000))).slot == reply.slot
    assert pool.stats.spills == 1


async def test_a_second_waiting_call_of_a_small_conversation_spills_at_once(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pool_module, "SPILL_FLOOR", 600.0)
    pool = await started(make_pool(size=2))
    first = (await pool.submit(job("a"))).slot
    go = tmp_path / "go"
    slow = pool.submit(job("a", model=f"until:{go}"))
    waits = pool.submit(job("a"))
    assert (await pool.submit(job("a"))).slot != first
    assert not waits.done()
    go.touch()
    assert (await waits).slot == first
    assert (await slow).slot == first


async def test_a_long_conversation_waits_rather_than_moves(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "SPILL_FLOOR", 600.0)
    pool = await started(make_pool(size=2))
    first = (await pool.submit(job("a"))).slot
    calls = [pool.submit(job("a", model="sleep:0.1", context=10**9)) for _ in range(4)]
    assert {reply.slot for reply in await asyncio.gather(*calls)} == {first}


async def test_without_affinity_any_free_worker_serves(make_pool: MakePool, tmp_path: Path) -> None:
    pool = await started(make_pool(size=2, affinity=False))
    first = (await pool.submit(job("a"))).slot
    blocked, elsewhere = [
        pool.submit(job("a", model=f"until:{tmp_path / name}")) for name in ("first", "elsewhere")
    ]
    waiting = [pool.submit(job("a")) for _ in range(2)]
    assert pool.stats.waiting == 2
    (tmp_path / "elsewhere").touch()
    slots = [reply.slot for reply in await asyncio.gather(elsewhere, *waiting)]
    assert slots == [1 - first] * 3
    assert not blocked.done()
    (tmp_path / "first").touch()
    assert (await blocked).slot == first


async def test_a_full_queue_refuses_at_once(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "WAITING_PER_SLOT", 2)
    pool = await started(make_pool())
    calls = [pool.submit(job("a", model="sleep:0.2")) for _ in range(3)]
    with pytest.raises(PoolBusy):
        pool.submit(job("a"))
    await asyncio.gather(*calls)
    assert (await pool.submit(job("a"))).forms


async def test_waiting_bytes_are_bounded(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "WAITING_BYTES", 5000)
    pool = await started(make_pool())
    slow = pool.submit(job("a", model="sleep:0.2"))
    waits = pool.submit(job("x" * 4000))
    with pytest.raises(PoolBusy):
        pool.submit(job("x" * 4000))
    await asyncio.gather(slow, waits)
    assert (await pool.submit(job("x" * 4000))).forms


async def test_a_cancelled_call_that_waits_is_dropped(make_pool: MakePool, tmp_path: Path) -> None:
    pool = await started(make_pool())
    go = tmp_path / "go"
    slow = pool.submit(job("a", model=f"until:{go}"))
    dropped = pool.submit(job("a", key="dropped"))
    kept = pool.submit(job("a"))
    dropped.cancel()
    await asyncio.sleep(0)
    assert pool.stats.waiting == 1
    go.touch()
    await slow
    await kept
    assert pool.stats.hits == 2


async def test_a_cancelled_call_that_was_sent_runs_on(make_pool: MakePool) -> None:
    pool = await started(make_pool())
    before = pool.pids
    call = pool.submit(job("a", model="sleep:0.2"))
    call.cancel()
    assert pool.stats.busy == 1
    reply = await pool.submit(job("b"))
    assert reply.cold_first_call is False
    assert pool.pids == before


async def test_closing_fails_everybody_at_once(make_pool: MakePool) -> None:
    pool = await started(make_pool())
    calls = [pool.submit(job("a", model="hang")), *(pool.submit(job("a")) for _ in range(3))]
    pids = set(pool.pids)
    closing = asyncio.create_task(pool.close(grace=0.2))
    await asyncio.sleep(0)
    assert all(isinstance(call.exception(), PoolClosed) for call in calls)
    with pytest.raises(PoolClosed):
        pool.submit(job("a"))
    await closing
    assert not pids & children()


async def test_closing_ends_children_gently(make_pool: MakePool, tmp_path: Path) -> None:
    pool = await started(make_pool("ends-well", str(tmp_path), size=2))
    pids = set(pool.pids)
    await pool.close(grace=PATIENCE)
    assert not pids & children()
    assert {int(path.name) for path in tmp_path.iterdir()} == pids


async def test_closing_kills_a_child_that_stays(make_pool: MakePool) -> None:
    pool = await started(make_pool("ignores-the-end"))
    pids = set(pool.pids)
    await pool.close(grace=0.1)
    assert not pids & children()


@pytest.mark.parametrize("hang", [True, False])
@pytest.mark.parametrize("fork", [True, False])
async def test_closing_while_starting_leaves_nothing(
    make_pool: MakePool, fork: bool, hang: bool
) -> None:
    pool = make_pool(size=3, fork=fork, options={"hang": hang})
    await pool.start()
    await until(lambda: bool(children()))
    # One that hangs never gets ready; the others may be anywhere on their way.
    await pool.close(grace=0.2 if hang else PATIENCE)
    await until(lambda: children() == set())


async def test_the_last_workers_death_fails_who_waits(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await started(make_pool("stays"))
    monkeypatch.setattr(slot_module, "REPLACE_PATIENCE", 0.2)
    last = pool.submit(job("a", last=True))
    await last
    stuck = pool.submit(job("a"))  # the child does not read any more
    waits = pool.submit(job("a"))

    async def refuse() -> None:
        await asyncio.sleep(600)

    monkeypatch.setattr(pool._launcher, "launch", refuse)
    os.kill(pool.pids[0], signal.SIGKILL)
    with pytest.raises(WorkerFailed):
        await stuck
    with pytest.raises(NoWorker):
        await waits
    with pytest.raises(NoWorker):
        pool.submit(job("a"))


async def test_a_slow_call_is_logged(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(slot_module, "SLOW_CALL", 0.1)
    pool = await started(make_pool())
    await pool.submit(job("a", model="sleep:0.15"))
    monkeypatch.setattr(slot_module, "SLOW_CALL", 600.0)
    await pool.submit(job("a"))
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("slow call")]
    found = re.fullmatch(r"slow call slot=0 seconds=(\d+\.\d) cold=true", line)
    assert found
    assert float(found[1]) >= 0.1


async def test_a_delta_continues_what_the_child_holds(make_pool: MakePool) -> None:
    from tests.workers.support import item
    from tsheadroom.child.protocol import chain, form_token

    pool = await started(make_pool())
    reply = await pool.submit(job("ABC", "def"))
    token = form_token((e.slot, e.text) for e in reply.forms[0].edits)
    prefix = chain(chain(b"", item("ABC")["digest"]), item("def")["digest"], token).hex()
    reply = await pool.submit(job("ghi", base=2, prefix=prefix))
    assert (reply.forms[0].item, reply.notes["length"]) == (2, 3)
    with pytest.raises(UnknownBase):
        await pool.submit(job("ghi", base=2, prefix=prefix))


async def test_who_asks_again_for_a_lost_conversation_has_its_old_place(
    make_pool: MakePool, tmp_path: Path
) -> None:
    pool = await started(make_pool())
    done: list[str] = []

    def submit(key: str, **more: Any) -> asyncio.Future[Reply]:
        answer = pool.submit(job("a", key=key, **more))
        answer.add_done_callback(lambda _: done.append(key))
        return answer

    with pytest.raises(UnknownBase) as caught:
        await submit("lost", base=1)
    go = tmp_path / "go"
    answers = [submit("first", model=f"until:{go}"), submit("second"), submit("third")]
    answers.append(submit("lost", whole=True, place=caught.value.place))
    go.touch()
    await asyncio.gather(*answers)
    assert done == ["lost", "first", "lost", "second", "third"]


async def test_what_no_worker_holds_is_told_without_asking_one(make_pool: MakePool) -> None:
    pool = await started(make_pool())
    await pool.submit(job("a", key="old"))
    await pool.submit(job("b" * (HELD_BYTES - BYTES_A_CONVERSATION), key="large"))
    with pytest.raises(UnknownBase):
        pool.submit(job("c", key="old", base=1))
    again = pool.submit(job("c", key="old", whole=True))
    waits = pool.submit(job("d", key="large", base=1))  # it will have to go for the other one
    assert (await again).forms
    with pytest.raises(UnknownBase, match="no worker") as caught:
        await waits
    assert caught.value.place == 4
    await pool.submit(job("d", key="old"))  # it is held again


async def test_what_is_sent_anew_while_it_is_dropped_is_held_again(make_pool: MakePool) -> None:
    pool = await started(make_pool())
    await pool.submit(job("a", key="old"))
    large = pool.submit(job("b" * (HELD_BYTES - BYTES_A_CONVERSATION), key="large"))
    await pool.submit(job("c", key="old", whole=True))  # waits for its room
    await large
    assert not pool._affinity.is_dropped("old")
    assert pool._affinity.is_dropped("large")


async def test_a_whole_conversation_goes_to_any_free_worker(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pool_module, "SPILL_FLOOR", 600.0)
    pool = await started(make_pool(size=2))
    go = tmp_path / "go"
    busy = pool.submit(job("a", model=f"until:{go}"))
    other = await pool.submit(job("a", context=10**9, whole=True))
    go.touch()
    assert other.slot != (await busy).slot
    assert pool.stats.spills == 0


async def test_the_same_failure_is_told_once(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_module, "BACKOFF_LAST", 0.01)
    monkeypatch.setattr(pool_module, "SAME_FAILURE_SECONDS", 3600.0)
    pool = make_pool("exit", size=3)
    await pool.start()
    await until(lambda: pool.stats.restarts >= 6)
    told = [r for r in caplog.records if "does not start" in r.getMessage()]
    assert len(told) == 1
    assert "no Headroom here" in told[0].getMessage()


def test_backoff_doubles_up_to_its_limit() -> None:
    assert [backoff(n) for n in (1, 2, 3, 4)] == [0.2, 0.4, 0.8, 1.6]
    assert backoff(1000) == 10.0


async def test_a_shutdown_says_nothing_against_the_items_of_a_call(make_pool: MakePool) -> None:
    pool = await started(make_pool())
    blamed: list[Sequence[bytes]] = []
    hanging = replace(job("a", model="hang"), digests=DIGESTS, blame=blamed.append)
    answer = pool.submit(hanging)
    await until(lambda: pool.stats.busy == 1)
    await pool.close(grace=0.0)
    assert blamed == []
    with pytest.raises(PoolClosed):
        await answer


async def test_a_crash_convicts_the_item_that_the_child_was_at(make_pool: MakePool) -> None:
    pool = await started(make_pool())
    blamed: list[Sequence[bytes]] = []
    for model, guilty in (("crash", 1), ("crash later", 2)):
        call = replace(job("old", "b", "c", model=model, frozen=1), first=1)
        with pytest.raises(WorkerFailed) as caught:
            await pool.submit(replace(call, digests=DIGESTS, blame=blamed.append))
        assert (caught.value.item, caught.value.guilt) == (guilty, Guilt.CONVICTED)
        assert blamed.pop() == [DIGESTS[guilty]]
        await until(lambda: pool.stats.warm == 1)


async def test_an_item_over_budget_is_convicted_and_the_worker_stays(make_pool: MakePool) -> None:
    pool = await started(make_pool())
    pids, blamed = pool.pids, list[Sequence[bytes]]()
    reply = await pool.submit(
        replace(job("a", "b", model="spin"), digests=DIGESTS, blame=blamed.append)
    )
    assert (reply.forms, reply.convicted) == ([], [0, 1])
    assert blamed == [[DIGESTS[0], DIGESTS[1]]]
    assert pool.pids == pids


async def test_native_code_that_does_not_end_ends_the_worker(make_pool: MakePool) -> None:
    pool = await started(make_pool())
    blamed: list[Sequence[bytes]] = []
    with pytest.raises(WorkerFailed, match="SIGVTALRM"):
        await pool.submit(replace(job("a", model="native"), digests=DIGESTS, blame=blamed.append))
    assert blamed == [[DIGESTS[0]]]


async def test_a_call_without_cpu_time_convicts_nothing_at_the_cap(make_pool: MakePool) -> None:
    pool = await started(make_pool(max_compress=0.3))
    blamed: list[Sequence[bytes]] = []
    with pytest.raises(WorkerFailed) as caught:
        await pool.submit(replace(job("a", model="hang"), digests=DIGESTS, blame=blamed.append))
    assert (caught.value.error_type, caught.value.item) == ("cap", 0)
    assert blamed == []


async def test_the_third_kill_from_outside_convicts(make_pool: MakePool) -> None:
    pool = await started(make_pool())
    blamed: list[Sequence[bytes]] = []
    for _ in range(3):
        assert blamed == []
        await until(lambda: pool.ready)
        call = replace(job("a", model="killed"), digests=DIGESTS, blame=blamed.append)
        with pytest.raises(WorkerFailed, match="SIGKILL"):
            await pool.submit(call)
    assert blamed == [[DIGESTS[0]]]


async def test_light_jobs_go_before_heavy_ones(make_pool: MakePool, tmp_path: Path) -> None:
    pool = await started(make_pool())
    gate = tmp_path / "gate"
    done: list[str] = []

    def submit(key: str, text: str, model: str = "m") -> asyncio.Future[Reply]:
        answer = pool.submit(job(text, key=key, model=model))
        answer.add_done_callback(lambda _: done.append(key))
        return answer

    answers = [submit("first", "a", f"until:{gate}")]
    answers += [submit("heavy", "b" * LIGHT_BYTES), submit("one", "c"), submit("two", "d")]
    gate.touch()
    await asyncio.gather(*answers)
    assert done == ["first", "one", "two", "heavy"]


async def test_a_worn_worker_is_replaced_after_its_answer(make_pool: MakePool) -> None:
    pool = await started(make_pool())
    pid = pool.pids[-1]
    assert (await pool.submit(job("a", model="wear"))).forms
    assert (await pool.submit(job("a"))).forms
    assert pool.pids[-1] != pid
