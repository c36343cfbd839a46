"""With all workers stopped each turn is answered within the deadline, with what is known.

When they go on, new outputs get a form again.
"""

from __future__ import annotations

from scripts.lab.torture import processes
from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

STOPPED_SECONDS = 8.0


def attack(bench: Bench) -> Verdict:
    """Stop them while conversations go on."""
    return _places.workers_held_up(
        bench, lambda target: processes.stopped(target.children()), STOPPED_SECONDS
    )
