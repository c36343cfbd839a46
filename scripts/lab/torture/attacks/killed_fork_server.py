"""Without the process that makes workers, those that there are go on, and it comes again.

A worker that dies then is replaced.
"""

from __future__ import annotations

import signal
from functools import partial

from scripts.lab.torture import processes
from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict, skipped

KILLS = 3
AGAIN = 30.0  # seconds


def attack(bench: Bench) -> Verdict:
    """Kill it, look whether conversations go on, kill a worker, and wait for another one."""
    target = bench.daemon()
    if target.fork_server() is None:
        return skipped("here workers are started one by one")
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    waited = []
    went_on = True
    with bench.honest(target, 4, pause=0.1) as honest:
        for _ in range(KILLS):
            parent, children = target.fork_server(), set(target.children())
            processes.send(parent, signal.SIGKILL)
            went_on = went_on and talk.turn()
            processes.send(min(children - {parent}), signal.SIGKILL)
            waited.append(_places.until(partial(_whole, target, parent, len(children)), AGAIN))
    formed = _places.until(talk.turn, AGAIN)
    well = (
        None not in waited
        and went_on
        and formed is not None
        and not talk.broken
        and not honest.breaks
    )
    return Verdict(
        well,
        {"whole again after, s": waited, "went on": went_on, **talk.figures(), **honest.figures()},
    )


def _whole(target: Target, before: int | None, children: int) -> bool:
    """True if there is another fork server than before, and as many workers as there were."""
    return target.fork_server() != before and len(target.children()) == children
