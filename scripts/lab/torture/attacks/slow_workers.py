"""Workers that get a tenth of the time they need keep no turn beyond the deadline.

What is known goes out in its form, and nothing else is held up.
"""

from __future__ import annotations

import time

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

SLOW_SECONDS = 10.0
STOPPED, RUNNING = 0.18, 0.02  # seconds, in turns
DEADLINE = 2.0
SPARE = 0.5  # seconds on top: a busy machine
AGAIN_SECONDS = 30.0


def attack(bench: Bench) -> Verdict:
    """Stop them most of the time."""
    target = bench.daemon("--deadline", f"{DEADLINE}s")
    talk = _places.Talk(bench, target.connect)
    known = talk.turn()
    with bench.honest(target, 6, pause=0.1) as honest:
        with _places.meanwhile(lambda: _slow(target)):
            end = time.monotonic() + SLOW_SECONDS
            while time.monotonic() < end:
                talk.turn()
        again = _places.until(talk.turn, AGAIN_SECONDS)
    slowest = max(talk.slowest, honest.slowest)
    well = known and again is not None and not talk.broken and not honest.breaks
    figures = {"forms again after, s": again, "slowest, s": round(slowest, 2)}
    report = {**figures, "formed": talk.formed, "turns": talk.turns, **honest.figures()}
    return Verdict(well and slowest < DEADLINE + SPARE, report)


def _slow(target: Target) -> None:
    with _places.stopped(target.workers()):
        time.sleep(STOPPED)
    time.sleep(RUNNING)
