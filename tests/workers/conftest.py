"""Pools of real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.workers.support import STANDIN, MakePool, bad_child, children, until
from tsheadroom.workers import Pool


@pytest.fixture
async def make_pool() -> AsyncIterator[MakePool]:
    """Pools of stand-in children, forked unless told otherwise; closed at the end."""
    pools: list[Pool] = []
    before = children()

    def make(*how: str, size: int = 1, **options: Any) -> Pool:
        if how:
            options["command"] = bad_child(*how)
        else:
            options.setdefault("pipelines", STANDIN)
        pool = Pool(size=size, **options)
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        await pool.close(grace=0.2)
    # What a killed child leaves is waited for while the loop runs; the next test looks for it.
    await until(lambda: children() <= before)
