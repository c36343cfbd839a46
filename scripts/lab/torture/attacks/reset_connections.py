"""A peer that connects over the tailnet and resets at once ends nothing but that connection.

A health check does so. The daemon lives on, and another peer is served all the time.
"""

from __future__ import annotations

import os
import subprocess

from scripts.lab.daemon import HOST
from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict
from tests.tailnet import private

RESETS = 1_000
SECONDS = 30
LAST = 2_000  # characters of a log
MORE = 10  # descriptors afterwards
CLOSED_SECONDS = 10.0


def attack(bench: Bench) -> Verdict:
    """Let it reset a thousand connections while honest callers work."""
    target = bench.daemon(tailnet=True)
    assert target.control
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    before = target.footprint()
    words = [target.control.url, str(bench.folder / "resetter"), f"{HOST}:80", str(RESETS)]
    with bench.honest(target, 4, pause=0.1) as honest:
        resets = _reset(words)
    if not target.running:
        return Verdict(False, {"resets": resets, "runs": False, "log": target.log[-LAST:]})
    talk.turn()
    closed = _places.until(
        lambda: target.footprint().descriptors <= before.descriptors + MORE, CLOSED_SECONDS
    )
    figures = {"resets": resets, "runs": True, "closed again after, s": closed}
    well = resets > RESETS // 2 and closed is not None
    right = not talk.broken and not honest.breaks
    return Verdict(well and right, {**figures, **honest.figures()})


def _reset(words: list[str]) -> int:
    """Let the peer do its work. How many connections it says to have reset."""
    import hatch_build  # it needs hatchling, which only this needs here

    hatch_build.build_resetter()
    environment = {**os.environ, **private.NODE_ENVIRONMENT}
    with subprocess.Popen(
        [hatch_build.RESETTER, *words], env=environment, stdout=subprocess.PIPE
    ) as peer:
        try:
            return int(peer.communicate(timeout=SECONDS)[0] or 0)
        except subprocess.TimeoutExpired:
            peer.kill()
            return 0
