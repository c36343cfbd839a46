"""Spoilt pages under a running daemon: the file is begun anew, and no answer is wrong.

What memory does not hold goes back to its originals, once. The file is set aside, health and
metrics say so, and what is decided from then on is durable again.
"""

from __future__ import annotations

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

TALKS, TURNS = 24, 2
MEMORY = "64KiB"  # less than the conversations take, so that they are read from the file
EMPTIED_SECONDS = 10.0  # SQLite's log, whose pages are in nobody's file yet
NOTICED_SECONDS = 5.0


def attack(bench: Bench) -> Verdict:
    """Overwrite the file while conversations rest, and go on with them."""
    target = bench.daemon("--decision-memory", MEMORY)
    talks = [_places.Talk(bench, target.connect) for _ in range(TALKS)]
    for _ in range(TURNS):
        for talk in talks:
            talk.turn()
    _places.until(lambda: _log_size(target) == 0, EMPTIED_SECONDS)
    pages = _places.spoil(bench, target.store)
    for talk in talks:
        talk.forget()
        talk.turn()
    noticed = _places.until(lambda: _places.says_lost(target), NOTICED_SECONDS)
    formed = [talk.turn() for talk in talks]
    aside = len(list(target.state.glob("conversations.spoilt-*.sqlite3")))
    kept = _places.durable(bench, target)
    broken = sum(talk.broken for talk in talks)
    well = noticed is not None and aside == 1 and kept and all(formed) and not broken
    figures = {"pages": pages, "noticed after, s": noticed, "set aside": aside}
    slowest = max(talk.slowest for talk in talks)
    more = {"forms afterwards": sum(formed), "prefixes broken": broken, "slowest turn, s": slowest}
    return Verdict(
        well and "Traceback" not in target.log, {**figures, "durable again": kept, **more}
    )


def _log_size(target: Target) -> int:
    return _places.with_log(target.store)[1].stat().st_size
