"""A spoilt file at start is set aside: the daemon starts, says so, and begins it anew.

The pages but the roots, the first page, a file that is no database, one cut off, an empty one:
conversations go back to their originals once, and what is decided from then on is on disk.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

NOTICED_SECONDS = 5.0
TALKS, TURNS = 10, 3  # so many are not in the roots alone


def _all_but_roots(bench: Bench, path: Path) -> None:
    with closing(sqlite3.connect(path)) as store:
        roots = [row[0] for row in store.execute("SELECT rootpage FROM sqlite_master")]
    _places.spoil(bench, path, keep=[1, *roots])


def _first_page(bench: Bench, path: Path) -> None:
    _places.spoil(bench, path, keep=range(2, path.stat().st_size))


WAYS: dict[str, Callable[[Bench, Path], object]] = {
    "all pages but the roots": _all_but_roots,
    "the first page": _first_page,
    "not a database": lambda bench, path: path.write_bytes(bench.random.randbytes(90_000)),
    "cut off": lambda bench, path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda bench, path: os.truncate(path, 0),
}


def attack(bench: Bench) -> Verdict:
    """Spoil the file in each way while the daemon is down."""
    target = bench.daemon(pool=1)
    talks = [_places.Talk(bench, target.connect) for _ in range(TALKS)]
    for talk in talks * TURNS:
        talk.turn()
    target.stop()
    seen = {way: _spoilt(bench, target, talks, WAYS[way]) for way in WAYS}
    broken = sum(talk.broken for talk in talks)
    well = all(one["said"] and one["decided"] <= one["on disk"] for one in seen.values())
    figures = {**seen, "prefixes broken": broken}
    return Verdict(well and not broken and "Traceback" not in target.log, figures)


def _spoilt(
    bench: Bench, target: Target, talks: list[_places.Talk], how: Callable[[Bench, Path], object]
) -> dict[str, Any]:
    how(bench, target.store)
    target.start()
    target.wait_ready()
    decided = 0
    for talk in talks:
        talk.forget()
        talk.turn()
    said = _places.until(lambda: _places.says_lost(target), NOTICED_SECONDS) is not None
    for talk in talks:
        decided += talk.turn()
    target.stop(signal.SIGKILL)
    with closing(sqlite3.connect(target.store)) as store:
        sound = store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = store.execute("SELECT count(*) FROM turn WHERE forms IS NOT NULL").fetchone()[0]
    return {"said": said, "decided": decided, "on disk": stored if sound else -1}
