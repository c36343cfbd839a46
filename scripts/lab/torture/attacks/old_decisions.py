"""What is deleted because it is old is gone: no byte of it stays in a file of the state directory.

Neither in free pages nor in SQLite's log. Younger decisions are still there.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

TALKS, TURNS = 10, 4
AGE_SECONDS = 31 * 86_400
SWEPT_SECONDS = 15.0
END = 40  # bytes of a form that are looked for


def attack(bench: Bench) -> Verdict:
    """Make decisions older than they are, and start the daemon, which then deletes them."""
    target = bench.daemon(pool=1)
    for _ in range(TALKS):
        talk = _places.Talk(bench, target.connect)
        for _ in range(TURNS):
            talk.turn()
    target.stop()
    with closing(sqlite3.connect(target.store, isolation_level=None)) as store:
        store.execute("PRAGMA secure_delete=ON")
        rows = store.execute("SELECT digests, forms FROM turn").fetchall()
        store.execute("UPDATE turn SET at = at - ?", (AGE_SECONDS,))
    wanted = [digests for digests, _ in rows] + [forms[-END:] for _, forms in rows if forms]
    found = _found(target, wanted)
    target.start()
    target.wait_ready()
    young = _places.Talk(bench, target.connect)
    formed = young.turn()
    swept = _places.until(lambda: not _found(target, wanted), SWEPT_SECONDS)
    left = _found(target, wanted)
    _places.restart(target)
    young.turn()
    figures = {"pieces": len(wanted), "found before": found, "found after": left}
    well = found == len(wanted) and not left and formed and not young.broken
    return Verdict(well, {**figures, "gone after, s": swept, "younger broken": young.broken})


def _found(target: Target, wanted: list[bytes]) -> int:
    held = b"".join(path.read_bytes() for path in target.state.glob("conversations*"))
    return sum(piece in held for piece in wanted)
