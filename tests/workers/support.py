"""What the tests of workers share: jobs, misbehaving children, a look at what is left behind."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tsheadroom.settings import Settings
from tsheadroom.workers import Job, Pool

HERE = Path(__file__).parent
STANDIN = str(HERE / "standin.py")

PATIENCE = 120.0
"""Seconds until a test counts as hung: twice what a worker's start may take."""

MakePool = Callable[..., Pool]


def bad_child(*how: str) -> list[str]:
    """The command line of a child that misbehaves."""
    return [sys.executable, str(HERE / "bad_child.py"), *how]


def item(text: str, *, context: bool = False, digest: str = "") -> dict[str, Any]:
    return {
        "digest": digest or hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32],
        "role": "user",
        "context": context,
        "parts": [{"kind": "text", "slot": ["content"], "text": text}],
    }


def job_config(**changes: Any) -> dict[str, Any]:
    """A job's `config` as the daemon sends it: every setting, with these changes."""
    return {**msgspec.to_builtins(Settings()), **changes}


def job(
    *texts: str,
    key: str = "c",
    model: str = "m",
    context: int = 0,
    whole: bool = False,
    place: int = 0,
    **more: Any,
) -> Job:
    payload = {
        "conversation": key,
        "base": 0,
        "prefix": "",
        "frozen": 0,
        "messages": [item(text) for text in texts],
        "model": model,
        "config": {},
        **more,
    }
    return Job(key, json.dumps(payload).encode(), context, whole, place)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process brings about; the limit is for a hung test only."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (the event is in another process)
            await asyncio.sleep(0.005)


def parents() -> dict[int, int]:
    """Each process's parent, dead processes that nobody waited for included."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(stat.parent.name)] = int(fields[1])
    return found


def children() -> set[int]:
    """Every child process of this one."""
    return {pid for pid, parent in parents().items() if parent == os.getpid()}


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def started(pool: Pool) -> Pool:
    await pool.start()
    await until(lambda: pool.stats.warm == pool.stats.slots)
    return pool
