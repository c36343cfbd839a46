"""Workers that get a tenth of the time they need keep no turn beyond the deadline.

What is known goes out in its form, and nothing else is held up.
"""

from __future__ import annotations

import time

from scripts.lab.torture import processes
from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

SLOW_SECONDS = 10.0
STOPPED, RUNNING = 0.18, 0.02  # seconds, in turns


def attack(bench: Bench) -> Verdict:
    """Stop them most of the time."""
    return _places.workers_held_up(
        bench, lambda target: _places.meanwhile(lambda: _slow(target)), SLOW_SECONDS
    )


def _slow(target: Target) -> None:
    with processes.stopped(target.workers()):
        time.sleep(STOPPED)
    time.sleep(RUNNING)
