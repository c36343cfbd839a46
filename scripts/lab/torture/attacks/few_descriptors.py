"""Without free descriptors open connections are served right, and nothing is busy with trying.

Workers that die meanwhile, and callers that wait at the door, are served when there are some again.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import time

from scripts.lab.torture import processes
from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

SECONDS = 4.0
SPARE = 2  # descriptors
WAITING = 20  # callers
BUSY = 0.7  # of one core, at most, while nothing can be taken
AGAIN_SECONDS = 30.0
MORE = 8  # descriptors afterwards


def attack(bench: Bench) -> Verdict:
    """Take them away, kill the workers, and let callers come."""
    target = bench.daemon()
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    before = target.footprint()
    with contextlib.ExitStack() as parts:
        limit = before.descriptors + SPARE
        with processes.limited(target.pid, resource.RLIMIT_NOFILE, limit):
            lines = [target.line() for _ in range(WAITING)]
            for line in lines:
                parts.callback(line.close)
            doors = [parts.enter_context(target.connect()) for _ in range(WAITING)]
            talk.turn()
            for pid in target.workers():
                processes.send(pid, signal.SIGKILL)
            cpu, started = target.usage().daemon_cpu, time.monotonic()
            while time.monotonic() < started + SECONDS:
                talk.turn()
                time.sleep(0.2)
            busy = (target.usage().daemon_cpu - cpu) / 1e3 / (time.monotonic() - started)
        for door in doors:
            door.close()
        again = _places.until(talk.turn, AGAIN_SECONDS)
        served = sum(line.ask(path="/livez", method="GET").status == 200 for line in lines)
    kept = _places.until(
        lambda: target.footprint().descriptors <= before.descriptors + MORE, AGAIN_SECONDS
    )
    figures = {"busy": round(busy, 2), "forms again after, s": again, "served": served}
    well = again is not None and kept is not None and served == WAITING and busy < BUSY
    more = target.footprint().descriptors - before.descriptors
    return Verdict(well and not talk.broken, {**figures, "more after": more, **talk.figures()})
