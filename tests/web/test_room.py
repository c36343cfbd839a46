"""The memory of all bodies: never over its limit, never lost, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsheadroom.web import room as room_module
from tsheadroom.web.pace import TooSlow
from tsheadroom.web.room import BodyShare, NoRoom, Room

MIB = 1 << 20
LIMIT = 128 * MIB
FOR_EVER = 3600.0


@pytest.fixture
def room() -> Room:
    return Room(LIMIT, FOR_EVER)


async def settled() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def taking(share: BodyShare, size: int) -> asyncio.Task[None]:
    """A body that waits for room."""
    task = asyncio.create_task(share.take(size))
    await settled()
    assert not task.done()
    return task


def filled(room: Room, size: int) -> BodyShare:
    """A body of this size that is worked on."""
    share = room.share()
    assert share.try_take(size)
    share.settle()
    return share


async def test_what_is_taken_comes_back(room: Room) -> None:
    share = room.share()
    await share.take(3 * MIB)
    share.give(MIB)
    assert (room.taken, share.held) == (2 * MIB, 2 * MIB)
    share.close()
    share.close()
    assert room.taken == 0


async def test_who_finds_no_room_waits_until_some_comes_free(room: Room) -> None:
    first = filled(room, room.large)
    second = room.share()
    task = await taking(second, room.small + 1)
    first.close()
    await task
    assert (room.taken, room.waiting) == (room.small + 1, 0)


async def test_who_waits_too_long_in_all_gets_none(room: Room) -> None:
    filled(room, room.large)
    room.patience = 0.0
    with pytest.raises(NoRoom):
        await room.share().take(room.small + 1)
    assert (room.taken, room.waiting) == (room.large, 0)


async def test_who_leaves_while_waiting_keeps_no_place(room: Room) -> None:
    first = filled(room, room.large)
    share = room.share()
    task = await taking(share, room.small + 1)
    task.cancel()
    await settled()
    share.close()
    assert (room.taken, room.waiting) == (room.large, 0)
    first.close()
    assert room.taken == 0


async def test_small_bodies_do_not_wait_for_large_ones(room: Room) -> None:
    filled(room, room.large)
    await taking(room.share(), room.small + 1)
    await asyncio.gather(*(room.share().take(room.small) for _ in range(2)))
    assert room.taken == LIMIT


async def test_a_large_body_that_shrank_counts_as_large_until_its_end(room: Room) -> None:
    for _ in range(4):
        share = room.share()
        await share.take(room.small + MIB)
        share.give(room.small)
        await share.take(room.small - MIB)
        assert room.taken == room.small
        share.close()
    filled(room, room.large)
    assert not room.share().try_take(room.small + 1)


async def test_what_a_small_body_may_still_need_is_kept_from_those_that_came_later(
    room: Room,
) -> None:
    oldest, younger = room.share(), room.share()
    assert oldest.try_take(room.small - MIB)
    filled(room, room.large)
    while room.taken < LIMIT - 2 * MIB:
        filled(room, MIB)
    assert younger.try_take(MIB)
    assert not younger.try_take(MIB)
    assert oldest.try_take(MIB)


async def test_the_oldest_comes_first(room: Room) -> None:
    full = filled(room, room.large)
    order: list[int] = []
    shares = [room.share() for _ in range(3)]

    async def ask(number: int) -> None:
        await shares[number].take(room.small + MIB)
        order.append(number)

    tasks = [asyncio.create_task(ask(number)) for number in (2, 0, 1)]
    await settled()
    full.close()
    for number in range(3):
        await settled()
        shares[number].close()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]


async def test_a_waiting_large_body_makes_way_for_a_small_one(room: Room) -> None:
    filled(room, room.large)
    wants_more = room.share()
    assert wants_more.try_take(room.small)
    task = await taking(wants_more, MIB)
    while room.taken < LIMIT:
        filled(room, min(room.small, LIMIT - room.taken))
    small = room.share()
    waiting = asyncio.create_task(small.take(MIB))
    with pytest.raises(NoRoom):
        await task
    wants_more.close()
    await waiting
    assert small.held == MIB


async def test_a_body_that_stands_still_makes_way(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "CROWDED_SECONDS", 0.0)

    async def stalled() -> None:
        share = room.share()
        try:
            with share.paced():
                await share.take(room.large)
                await asyncio.sleep(FOR_EVER)
        finally:
            share.close()

    task = asyncio.create_task(stalled())
    await settled()
    other = room.share()
    await other.take(room.small + 1)
    with pytest.raises(TooSlow):
        await task
    assert room.taken == other.held


async def test_a_small_body_that_stands_still_does_not_make_way_for_a_large_one(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "CROWDED_SECONDS", 0.0)
    full = filled(room, room.large)
    small = room.share()
    with small.paced():
        await small.take(MIB)
        task = await taking(room.share(), room.small + 1)
        assert not small.makes_way(large=True)
        assert small.makes_way(large=False)
        full.close()
        await task


async def test_the_largest_body_passes_a_room_that_is_smaller() -> None:
    room = Room(8 * MIB, FOR_EVER)
    share = room.share()
    await share.take(room_module.MAX_BODY)
    await share.take((room_module.COST - 1) * room_module.MAX_BODY)
    assert share.held == room.most < 8 * MIB
    share.close()
    assert room.taken == 0


STEPS = st.lists(st.integers(0, 60 * MIB), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(
    bodies=st.lists(STEPS, min_size=1, max_size=12),
    limit=st.sampled_from([8 * MIB, LIMIT, 512 * MIB]),
    seed=st.integers(0, 1000),
)
def test_bodies_that_grow_at_once_all_come_to_an_end(
    bodies: list[list[int]], limit: int, seed: int
) -> None:
    """Whatever they want, and in whichever order: nothing is over the limit, nothing is lost.

    Nobody is ended here, so that they end says that none waits for another without end.
    """
    choose = random.Random(seed)

    async def body(room: Room, steps: list[int]) -> None:
        share = room.share()
        try:
            for size in steps:
                await share.take(size)
                assert 0 <= share.held <= room.most
                assert room.taken <= room.limit
                for _ in range(choose.randrange(4)):
                    await asyncio.sleep(0)
                share.give(size // choose.randint(2, 9))
            share.settle()
            await asyncio.sleep(0)
        finally:
            share.close()

    async def run() -> None:
        room = Room(limit, FOR_EVER)
        tasks = [asyncio.create_task(body(room, steps)) for steps in bodies]
        for task in choose.sample(tasks, choose.randrange(len(tasks) + 1) // 3):
            asyncio.get_running_loop().call_later(choose.random() / 1000, task.cancel)
        async with asyncio.timeout(60):
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        # A large one that waits may have made way for a small one.
        assert {type(end) for end in ends} <= {type(None), asyncio.CancelledError, NoRoom}
        assert (room.taken, room.waiting) == (0, 0)

    asyncio.run(run())
