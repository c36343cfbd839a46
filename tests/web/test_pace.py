"""A transfer keeps its pace or ends. The time here is the event loop's, and the test moves it."""

from __future__ import annotations

import asyncio

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
    async with Pace() as pace:
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
    async with Pace() as pace:
        pace.stop()
        await clock.skip(100.0)
        assert pace.behind() < 0
        pace.go()
        assert pace.behind() == 0
        await clock.skip(PATIENCE_SECONDS - 0.1)
        assert pace.behind() == pytest.approx(PATIENCE_SECONDS - 0.1)


async def ended(clock: Clock) -> None:
    async with Pace() as pace:
        pace.end()
        pace.moved(BYTES_A_SECOND)
        pace.go()
        await clock.skip(0.0)


async def test_it_can_be_ended_at_once_and_nothing_takes_that_back(clock: Clock) -> None:
    with pytest.raises(TooSlow):
        await ended(clock)


async def test_other_ends_are_not_changed() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Pace():
            raise ZeroDivisionError


async def test_once_left_it_ends_nothing(clock: Clock) -> None:
    async with Pace() as pace:
        pass
    pace.end()
    await clock.skip(2 * PATIENCE_SECONDS)
