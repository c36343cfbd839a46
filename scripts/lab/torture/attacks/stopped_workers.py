"""With all workers stopped each turn is answered within the deadline, with what is known.

When they go on, new outputs get a form again.
"""

from __future__ import annotations

import time

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

STOPPED_SECONDS = 8.0
DEADLINE = 2.0
SPARE = 0.5  # seconds on top: a busy machine
AGAIN_SECONDS = 30.0


def attack(bench: Bench) -> Verdict:
    """Stop them while conversations go on."""
    target = bench.daemon("--deadline", f"{DEADLINE}s")
    talk = _places.Talk(bench, target.connect)
    known = talk.turn()
    with bench.honest(target, 6, pause=0.1) as honest:
        with _places.stopped(target.children()), target.watched() as watch:
            end = time.monotonic() + STOPPED_SECONDS
            while time.monotonic() < end:
                talk.turn()
        again = _places.until(talk.turn, AGAIN_SECONDS)
    slowest = max(talk.slowest, honest.slowest)
    well = known and again is not None and not talk.broken and not honest.breaks
    figures = {"forms again after, s": again, "slowest, s": round(slowest, 2)}
    report = {**figures, **watch.figures(), **honest.figures()}
    return Verdict(well and slowest < DEADLINE + SPARE, report)
