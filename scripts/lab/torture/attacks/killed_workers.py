"""Workers that are killed again and again cost their callers nothing but an original.

All answers are right, within the deadline, and afterwards all workers are there again.
"""

from __future__ import annotations

import signal
import time

from scripts.lab.torture import processes
from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

KILLS = 20
EVERY_SECONDS = 0.4
DEADLINE = 2.0
SPARE = 1.0  # seconds on top: both cores start workers
AGAIN_SECONDS = 40.0  # the back-off between starts reaches ten


def attack(bench: Bench) -> Verdict:
    """Kill one or all of them, and their parent now and then."""
    target = bench.daemon("--deadline", f"{DEADLINE}s")
    with bench.honest(target, 8, pause=0.05) as honest:
        for number in range(KILLS):
            parent = target.fork_server()
            workers = [pid for pid in target.children() if pid != parent]
            if number % 5 == 4:
                processes.send(parent, signal.SIGKILL)
            for pid in workers if number % 3 == 2 else workers[:1]:
                processes.send(pid, signal.SIGKILL)
            time.sleep(EVERY_SECONDS)
        talk = _places.Talk(bench, target.connect)
        again = _places.until(talk.turn, AGAIN_SECONDS)
    well = again is not None and not honest.breaks and not talk.broken
    figures = {"kills": KILLS, "forms again after, s": again, **honest.figures()}
    return Verdict(well and honest.slowest < DEADLINE + SPARE, figures)
