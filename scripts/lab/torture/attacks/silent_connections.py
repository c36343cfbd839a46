"""A peer that opens connections and says nothing keeps nobody out, however many it opens.

Neither another peer nor itself: the silent ones make room, and those in use do not.
"""

from __future__ import annotations

import contextlib

from scripts.lab.daemon import HOST
from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

MOST = 64  # connections
SILENT = 3 * MOST
SLOWEST = 4.0  # seconds
ASKED = 10


def attack(bench: Bench) -> Verdict:
    """Open them, three times as many as there may be, while another peer goes on and comes anew."""
    target = bench.daemon("--max-connections", str(MOST), tailnet=True)
    other = bench.peer(target, "other")
    kept = _places.Talk(bench, lambda: other.connect(HOST))
    kept.turn()
    slowest = 0.0
    with contextlib.ExitStack() as held:
        for number in range(SILENT):
            held.enter_context(target.connect())
            if number % (SILENT // ASKED) == 0:
                kept.turn()
                for connect in (lambda: other.connect(HOST), target.connect):
                    fresh = _places.Talk(bench, connect)
                    fresh.turn()
                    slowest = max(slowest, fresh.slowest)
        descriptors = target.footprint().descriptors
    well = not kept.broken and max(slowest, kept.slowest) < SLOWEST
    figures = {"silent connections": SILENT, "descriptors": descriptors}
    return Verdict(well, {**figures, "slowest new one, s": round(slowest, 2), **kept.figures()})
