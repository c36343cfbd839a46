from __future__ import annotations

import asyncio
import gc
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tsheadroom import memory


class Clock:
    """Stands in for `time`, `asyncio` and malloc: CPU seconds of each nap, and when it trims."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, spent: list[float]) -> None:
        self.trims: list[int] = []
        self._spent = iter(spent)
        self._cpu = 0.0
        self._naps = 0
        monkeypatch.setattr(memory, "malloc_trim", lambda: self._trim)
        monkeypatch.setattr(time, "process_time", lambda: self._cpu)
        monkeypatch.setattr(asyncio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        assert seconds == memory.QUIET_S
        self._naps += 1
        self._cpu += next(self._spent)

    def _trim(self, pad: int) -> int:
        assert pad == 0
        self.trims.append(self._naps)
        return 1


@pytest.mark.parametrize(
    ("spent", "trims"),
    [
        pytest.param([0.0, 0.0, 0.0], [], id="nothing was done"),
        pytest.param([0.01, 0.0, 0.0], [], id="hardly anything was done"),
        pytest.param([0.25, 0.25, 0.001, 0.0, 0.0], [3], id="once it is quiet after work"),
        pytest.param([0.25, 0.0, 0.25, 0.0, 0.0], [2, 4], id="after each burst"),
        pytest.param([0.25] * 161, [80, 160], id="at last, where it is never quiet"),
    ],
)
async def test_memory_is_given_back(
    monkeypatch: pytest.MonkeyPatch, spent: list[float], trims: list[int]
) -> None:
    clock = Clock(monkeypatch, spent)
    with pytest.raises(RuntimeError):  # the naps have come to their end
        await memory.trim_for_ever()
    assert clock.trims == trims


# Takes and frees what a call of 1.5 MB does, and prints the pages that the kernel had to give.
_CALLS = """
import resource
from tsheadroom import memory

def call():
    return len([b"x" * (1 << 20) for _ in range(6)])

memory.keep_pages()
call()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    call()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_the_pages_of_one_call_are_kept_for_the_next() -> None:
    pages = subprocess.run(
        [sys.executable, "-c", _CALLS], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(pages.stdout) < 1000  # one call has 1,500


async def test_where_there_is_nobody_to_ask_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "malloc_trim", lambda: None)
    await memory.trim_for_ever()


def machine(root: Path, groups: str, **limits: str) -> int:
    """The limit where proc and sys say this."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, limit in limits.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_max", ".max")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(limit + "\n")
    return memory.memory_limit(root)


def test_the_smallest_limit_of_the_groups_above_counts(tmp_path: Path) -> None:
    limits = {"a__b__memory_max": "max", "a__memory_max": "300000000", "memory_max": "400000000"}
    assert machine(tmp_path, "0::/a/b\n", **limits) == 300_000_000


def test_a_container_sees_its_own_group_at_the_top(tmp_path: Path) -> None:
    assert machine(tmp_path, "0::/../outside\n", memory_max="200000000") == 200_000_000


def test_version_1_of_control_groups_is_read_too(tmp_path: Path) -> None:
    groups = "4:cpu,memory:/x\n3:cpuset:/\n0::/\n"
    assert machine(tmp_path, groups, **{"memory__x__memory.limit_in_bytes": "100000000"}) == 10**8


def test_without_a_limit_it_is_the_machines_memory(tmp_path: Path) -> None:
    whole = memory.memory_limit(tmp_path)
    assert whole > 1 << 28
    assert machine(tmp_path, "0::/\nnonsense\n", memory_max="max") == whole


async def test_a_full_collection_comes_when_little_is_alive_and_at_last_in_any_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collected: list[int] = []
    ticks = [0]
    alive = [memory._ALIVE - 1]
    monkeypatch.setattr(memory, "COLLECT_EVERY_S", 0.0)
    monkeypatch.setattr(gc, "get_objects", lambda generation: range(alive[0]))
    monkeypatch.setattr(gc, "collect", lambda: collected.append(ticks[0]))

    async def tick(_: float) -> None:
        ticks[0] += 1
        alive[0] = memory._ALIVE - 1 if ticks[0] < 3 else memory._ALIVE
        if ticks[0] > 3 + 2 * memory._PATIENCE:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", tick)
    with pytest.raises(asyncio.CancelledError):
        await memory.collect_for_ever()
    assert collected == [1, 2, 2 + memory._PATIENCE, 2 + 2 * memory._PATIENCE]


def test_what_is_settled_is_not_looked_at_again() -> None:
    thresholds = gc.get_threshold()
    try:
        memory.settle()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects(generation=2)) < 1000
        assert gc.get_threshold()[:2] == thresholds[:2]
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
