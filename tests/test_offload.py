"""Where work is done: small here, large in threads that no other kind of work can fill."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tsheadroom import offload as offload_module
from tsheadroom.offload import HUGE_BYTES, LARGE_BYTES, offload, offload_decoding


def place() -> str:
    return threading.current_thread().name


async def test_small_work_is_done_here() -> None:
    assert await offload(LARGE_BYTES - 1, place) == place()
    assert await offload_decoding(LARGE_BYTES - 1, place) == place()


async def test_each_kind_of_large_work_has_threads_of_its_own() -> None:
    names = [
        await offload(LARGE_BYTES, place),
        await offload(HUGE_BYTES, place),
        await offload_decoding(HUGE_BYTES, place),
    ]
    assert [name.partition("_")[0] for name in names] == ["large", "huge", "decode"]


async def test_other_work_goes_on_while_huge_work_and_decoding_are_stuck() -> None:
    free = threading.Event()
    try:
        stuck = [
            asyncio.create_task(offload(HUGE_BYTES, free.wait, 60)),
            *(asyncio.create_task(offload_decoding(HUGE_BYTES, free.wait, 60)) for _ in range(5)),
        ]
        await asyncio.sleep(0)
        assert await offload(LARGE_BYTES, place) != place()
        assert await asyncio.to_thread(place) != place()
        assert not any(task.done() for task in stuck)
    finally:
        free.set()
    assert all(await asyncio.gather(*stuck))


@pytest.mark.parametrize("size", [0, LARGE_BYTES, HUGE_BYTES])
async def test_an_error_comes_back(size: int) -> None:
    def fails() -> None:
        raise KeyError(size)

    with pytest.raises(KeyError, match=str(size)):
        await offload(size, fails)
    assert offload_module.is_large(size) is (size >= LARGE_BYTES)
