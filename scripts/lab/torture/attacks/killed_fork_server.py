"""Without the process that makes workers, those that there are go on, and it comes again.

A worker that dies then is replaced.
"""

from __future__ import annotations

import signal

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict, skipped

KILLS = 3
AGAIN_SECONDS = 30.0


def attack(bench: Bench) -> Verdict:
    """Kill it, look whether conversations go on, kill a worker, and wait for another one."""
    target = bench.daemon()
    if target.fork_server() is None:
        return skipped("here workers are started one by one")
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    waited = []
    with bench.honest(target, 4, pause=0.1) as honest:
        for _ in range(KILLS):
            workers = set(target.workers())
            _places.send(target.fork_server(), signal.SIGKILL)
            talk.turn()
            victim = min(workers)
            _places.send(victim, signal.SIGKILL)

            def whole(known: set[int] = workers) -> bool:
                now = set(target.workers()) - {target.fork_server()}
                return len(now) == len(known) and bool(now - known)

            waited.append(_places.until(whole, AGAIN_SECONDS))
    formed = _places.until(talk.turn, AGAIN_SECONDS)
    well = None not in waited and formed is not None and not talk.broken and not honest.breaks
    return Verdict(well, {"whole again after, s": waited, **talk.figures(), **honest.figures()})
