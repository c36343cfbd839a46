"""A transfer keeps its pace or ends. The time here is the event loop's, and the test moves it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tsheadroom.web.pace import BYTES_A_SECOND, PATIENCE_SECONDS, Pace, TooSlow


class Clock:
    """Skips time: what was to happen meanwhile happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: self._now)

    async def skip(self, seconds: float) -> None:
        self._now += seconds
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def transfer(clock: Clock, *steps: tuple[float, int]) -> None:
    """Bytes that come, each after some seconds."""
    with Pace() as pace:
        for seconds, size in steps:
            await clock.skip(seconds)
            pace.moved(size)


async def test_a_transfer_without_a_byte_ends(clock: Clock) -> None:
    await transfer(clock, (PATIENCE_SECONDS - 0.1, 0))
    with pytest.raises(TooSlow):
        await transfer(clock, (PATIENCE_SECONDS - 0.1, 0), (0.2, 0))


async def test_a_transfer_at_the_pace_goes_on_for_ever(clock: Clock) -> None:
    await transfer(clock, *[(1.0, BYTES_A_SECOND)] * 1000)


async def test_a_transfer_just_under_the_pace_ends(clock: Clock) -> None:
    slow = (1.0, BYTES_A_SECOND * 9 // 10)
    await transfer(clock, *[slow] * 50)
    with pytest.raises(TooSlow):
        await transfer(clock, *[slow] * 150)


async def test_a_body_of_single_bytes_ends(clock: Clock) -> None:
    with pytest.raises(TooSlow):
        await transfer(clock, *[(0.5, 1)] * 30)


async def test_much_at_once_is_no_credit_for_later(clock: Clock) -> None:
    with pytest.raises(TooSlow):
        await transfer(clock, (0.0, 1000 * BYTES_A_SECOND), (PATIENCE_SECONDS + 0.1, 0))


async def test_the_time_that_the_daemon_takes_does_not_count(clock: Clock) -> None:
    with Pace() as pace:
        pace.stop()
        await clock.skip(100.0)
        assert pace.behind() < 0
        pace.go()
        assert pace.behind() == 0
        await clock.skip(PATIENCE_SECONDS - 0.1)
        assert pace.behind() == pytest.approx(PATIENCE_SECONDS - 0.1)


async def ended(clock: Clock) -> None:
    with Pace() as pace:
        pace.end()
        pace.moved(BYTES_A_SECOND)
        pace.go()
        await clock.skip(0.0)


async def test_it_can_be_ended_at_once_and_nothing_takes_that_back(clock: Clock) -> None:
    with pytest.raises(TooSlow):
        await ended(clock)


async def test_other_ends_are_not_changed() -> None:
    with pytest.raises(ZeroDivisionError), Pace():
        raise ZeroDivisionError


async def test_once_left_it_ends_nothing(clock: Clock) -> None:
    with Pace() as pace:
        pass
    pace.end()
    await clock.skip(2 * PATIENCE_SECONDS)


async def test_a_cancellation_by_others_is_not_taken_for_slowness(clock: Clock) -> None:
    """Also if the transfer was late at the same moment."""
    inside = asyncio.Event()

    async def stalled() -> None:
        with Pace():
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stalled())
    await inside.wait()
    loop = asyncio.get_running_loop()
    loop.call_at(loop.time() + PATIENCE_SECONDS + 0.1, task.cancel)
    await clock.skip(PATIENCE_SECONDS + 0.1)
    assert task.cancelled()


async def test_who_was_too_slow_can_wait_again(clock: Clock) -> None:
    """Nothing of the cancellation is left behind."""
    with pytest.raises(TooSlow):
        await transfer(clock, (PATIENCE_SECONDS + 0.1, 0))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await transfer(clock, (1.0, 0))


async def stopped_until_a_byte_comes(clock: Clock) -> None:
    with Pace() as pace:
        pace.stop()
        await clock.skip(2 * PATIENCE_SECONDS)
        pace.moved(1)
        await clock.skip(PATIENCE_SECONDS + 0.1)


async def test_a_stopped_clock_that_a_byte_comes_for_goes_on(clock: Clock) -> None:
    with pytest.raises(TooSlow):
        await stopped_until_a_byte_comes(clock)


async def test_a_transfer_of_many_pieces_sets_few_timers(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    call_at, times = loop.call_at, list[float]()

    def counted(when: float, *rest: Any) -> asyncio.TimerHandle:
        times.append(when)
        return call_at(when, *rest)

    monkeypatch.setattr(loop, "call_at", counted)
    await transfer(clock, *[(0.01, BYTES_A_SECOND)] * 1000)
    assert len(times) <= 2
