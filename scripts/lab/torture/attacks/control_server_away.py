"""With the control server and DERP away, peers that know the node are served on.

When they are back, all is as before: a new peer is served, too.
"""

from __future__ import annotations

import time

from scripts.lab.daemon import HOST
from scripts.lab.torture import processes
from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

AWAY_SECONDS = 12.0
SLOWEST = 5.0  # seconds: what Aperture waits


def attack(bench: Bench) -> Verdict:
    """Stop the process that is both, and let conversations go on."""
    target = bench.daemon(tailnet=True)
    assert target.control
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    with bench.honest(target, 4, pause=0.2) as honest:
        with processes.stopped([target.control.pid]):
            end = time.monotonic() + AWAY_SECONDS
            while time.monotonic() < end:
                talk.turn()
                fresh = _places.Talk(bench, target.connect)
                fresh.turn()
                talk.slowest = max(talk.slowest, fresh.slowest)
                time.sleep(0.2)
        started = time.monotonic()
        new = bench.peer(target, "new")
        _places.Talk(bench, lambda: new.connect(HOST)).turn()
        served = round(time.monotonic() - started, 1)
        talk.turn()
    well = not talk.broken and not honest.breaks and talk.slowest < SLOWEST
    figures = {"a new peer is served after, s": served, **talk.figures(), **honest.figures()}
    return Verdict(well, figures)
