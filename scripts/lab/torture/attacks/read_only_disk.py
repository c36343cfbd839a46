"""On a disk that may only be read, answers stay right; a start ends with a sentence and no trace.

When it can be written again, what is decided is durable.
"""

from __future__ import annotations

import time

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict, skipped

SECONDS = 4.0
START_SECONDS = 20.0


def attack(bench: Bench) -> Verdict:
    """Lay a mount that cannot be written over the state directory, also at start."""
    target = bench.daemon()
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    over = ("--bind", "-o", "ro", str(target.state))
    with bench.honest(target, 4, pause=0.1) as honest, _places.mounted(target.state, *over) as may:
        end = time.monotonic() + SECONDS
        while may and time.monotonic() < end:
            talk.turn()
    if not may:
        return skipped("this user may not mount anything")
    kept = _places.durable(bench, target)
    target.stop()
    with _places.mounted(target.state, *over):
        logged = len(target.log)
        target.start()
        _places.until(lambda: not target.running, START_SECONDS)
        code = target.stop()
    said = target.log[logged:].strip().splitlines()
    refused = code > 0 and "cannot write to the state directory" in "".join(said[-1:])
    figures = {"durable again": kept, "exit code at start": code, "said": said[-1:]}
    well = kept and refused and not talk.broken and not honest.breaks
    return Verdict(well, {**figures, **talk.figures(), **honest.figures()})
