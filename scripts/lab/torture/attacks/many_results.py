"""A message of 5,000 tool results stalls nobody: no stall over 250 ms, others' answers are right.

Editing a message costs one pass over it, however many of its texts are edited.
"""

from __future__ import annotations

from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

RESULTS = 5_000
ROWS = 4
STALL_MS = 250  # five times what must hold: both cores are busy with the attack itself


def attack(bench: Bench) -> Verdict:
    """Send it, and look how long nobody else was served."""
    target = bench.daemon()
    call = bench.call(*(bench.rows(ROWS) for _ in range(RESULTS)), tool="api")
    with bench.honest(target, 2, pause=0.2) as honest, target.watched() as watch:
        reply = target.line().ask(call)
    figures = {"bytes": len(call), "answer, s": round(reply.seconds, 2), **watch.figures()}
    well = reply.status == 200 and not honest.breaks
    return Verdict(well and watch.stalled_ms < STALL_MS, {**figures, **honest.figures()})
