from __future__ import annotations

import asyncio
import platform

import pytest

from tsheadroom import memory


async def test_memory_is_given_back_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []
    monkeypatch.setattr(memory, "_malloc_trim", lambda: trims.append)
    monkeypatch.setattr(memory, "TRIM_EVERY_S", 0.001)
    task = asyncio.create_task(memory.trim_for_ever())
    async with asyncio.timeout(60):
        while len(trims) < 3:  # noqa: ASYNC110 - a count, not an event
            await asyncio.sleep(0.001)
    task.cancel()
    assert set(trims) == {0}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_glibc_can_be_asked() -> None:
    trim = memory._malloc_trim()
    assert trim is not None
    assert trim(0) in (0, 1)


async def test_where_there_is_nobody_to_ask_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_malloc_trim", lambda: None)
    await memory.trim_for_ever()
