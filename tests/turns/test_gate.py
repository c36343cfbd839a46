from __future__ import annotations

import asyncio

from tsheadroom.turns.gate import Gate

PATIENCE = 60.0  # seconds until a test counts as hung


async def test_a_burst_enters_a_few_at_a_time_in_order_and_others_get_their_turn() -> None:
    gate, seen = Gate(2), list[str]()

    async def request(number: int) -> None:
        entry = await gate.enter(PATIENCE)
        seen.append(f"in {number}")
        entry.leave()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.append(f"out {number}")

    await asyncio.gather(*(request(number) for number in range(9)))
    assert [line for line in seen if line.startswith("in")] == [f"in {n}" for n in range(9)]
    for number in range(4):  # answered while later ones still wait
        assert seen.index(f"out {number}") < seen.index("in 8")


async def test_whoever_waits_too_long_is_told_and_holds_no_place() -> None:
    gate = Gate(1)
    first = await gate.enter(PATIENCE)
    assert not (await gate.enter(0.01)).inside
    first.leave()
    first.leave()
    second = await gate.enter(PATIENCE)
    assert not (await gate.enter(0.01)).inside
    second.leave()
