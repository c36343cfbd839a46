"""Which waiting job a free slot takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tsheadroom.workers.queues import LIGHT_BYTES, Affinity, Job, Queues, Waiter


@pytest.fixture
def waiters() -> Iterator[list[Waiter]]:
    """Eight light jobs; those with even numbers wait for slot 0, the others for slot 1."""
    loop = asyncio.new_event_loop()
    yield [
        Waiter(Job(f"{number}", b"{}"), loop.create_future(), number, number % 2)
        for number in range(8)
    ]
    loop.close()


def queued(waiters: list[Waiter]) -> Queues:
    queues = Queues(2)
    for waiter in waiters:
        queues.wait_for_slot(waiter)
    return queues


def drained(queues: Queues, slot: int, stuck: tuple[int, ...] = ()) -> list[int]:
    taken = iter(lambda: queues.take(slot, stuck), None)
    return [waiter.number for waiter in taken]


def test_a_slot_takes_what_waits_for_it_in_order_of_arrival(waiters: list[Waiter]) -> None:
    queues = queued(waiters[::-1])
    assert drained(queues, 0) == [0, 2, 4, 6]
    assert (queues.count, queues.length(0), queues.length(1)) == (4, 0, 4)


def test_the_common_queue_is_merged_by_arrival(waiters: list[Waiter]) -> None:
    queues = queued(waiters[:4])
    for waiter in waiters[4:]:
        queues.wait_for_any(waiter)
    assert drained(queues, 1) == [1, 3, 4, 5, 6, 7]
    assert drained(queues, 0) == [0, 2]


def test_a_busy_slot_does_its_own_jobs_before_it_helps_another(waiters: list[Waiter]) -> None:
    queues = queued(waiters)
    for waiter in waiters:
        assert queues.release(waiter)
    assert drained(queues, 1) == [1, 3, 5, 7, 0, 2, 4, 6]
    assert queues.count == queues.bytes == 0


def test_the_jobs_of_a_stuck_slot_are_taken_in_turn(waiters: list[Waiter]) -> None:
    queues = queued(waiters)
    for waiter in waiters[:6]:
        queues.release(waiter)
    assert drained(queues, 1, stuck=(0,)) == [0, 1, 2, 3, 4, 5, 7]
    assert drained(queues, 0) == [6]


def test_only_released_jobs_leave_their_slot(waiters: list[Waiter]) -> None:
    queues = queued(waiters)
    queues.release(waiters[4])
    assert drained(queues, 1, stuck=(0,)) == [1, 3, 4, 5, 7]


def test_the_jobs_of_a_slot_that_is_down_are_everybodys(waiters: list[Waiter]) -> None:
    queues = queued(waiters)
    queues.release_all(0)
    assert drained(queues, 1) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_a_job_that_was_taken_or_removed_waits_no_more(waiters: list[Waiter]) -> None:
    queues = queued(waiters[:3])
    assert queues.take(0) is waiters[0]
    assert not queues.remove(waiters[0])
    assert not queues.release(waiters[0])
    assert queues.remove(waiters[2])
    assert queues.take_all() == [waiters[1]]
    assert not queues.remove(waiters[1])
    assert queues.count == queues.bytes == 0


def test_a_heavy_job_goes_last_wherever_it_waits(waiters: list[Waiter]) -> None:
    first = waiters[0]
    heavy = Waiter(Job("heavy", b" " * (LIGHT_BYTES + 1)), first.future, -1, 0)
    queues = queued([heavy, *waiters])
    assert drained(queues, 0) == [0, 2, 4, 6, -1]


def test_a_dropped_conversation_has_no_slot_until_it_is_held_again() -> None:
    affinity = Affinity(2)
    affinity.set("a", 1)
    affinity.drop("a", 0)  # slot 0 held it earlier
    assert (affinity.get("a"), affinity.is_dropped("a"), affinity.load) == (1, False, [0, 1])
    affinity.drop("a", 1)
    affinity.drop("a", 1)
    assert (affinity.get("a"), affinity.is_dropped("a"), affinity.load) == (-1, True, [0, 0])
    affinity.set("a", 0)
    assert (affinity.get("a"), affinity.is_dropped("a"), affinity.load) == (0, False, [1, 0])
    assert not affinity.is_dropped("never seen")


def test_only_the_latest_conversations_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsheadroom.workers.queues.REMEMBERED", 3)
    affinity = Affinity(1)
    for key in "abcde":
        affinity.set(key, 0)
        affinity.drop("b", 0)
    assert [affinity.get(key) for key in "abcde"] == [-1, -1, 0, 0, 0]
    assert not affinity.is_dropped("b")
    assert affinity.load == [3]
