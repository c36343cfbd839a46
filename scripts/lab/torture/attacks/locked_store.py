"""With the file locked by another process, each turn is answered within the deadline.

What is known goes out in its form meanwhile, and new outputs get one again when the lock is gone.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import Any

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

LOCKED_SECONDS = 10.0
FREE_SECONDS = 10.0


def attack(bench: Bench) -> Verdict:
    """Hold SQLite's write lock while conversations go on."""
    target = bench.daemon("--deadline", f"{_places.DEADLINE}s")
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    with bench.honest(target, 4, pause=0.2) as honest:
        with closing(sqlite3.connect(target.store, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            end = time.monotonic() + LOCKED_SECONDS
            while time.monotonic() < end:
                talk.turn()
                time.sleep(0.1)
            locked = talk.figures()
            shell.execute("ROLLBACK")
        free = _places.until(talk.turn, FREE_SECONDS)
    slowest = max(talk.slowest, honest.slowest)
    figures: dict[str, Any] = {"while locked": locked, "forms again after, s": free}
    well = free is not None and not talk.broken and not honest.breaks
    in_time = slowest < _places.DEADLINE + _places.SPARE
    return Verdict(well and in_time, {**figures, "slowest, s": slowest, **honest.figures()})
