"""Uploads that never end hold little memory, and none of it for ever.

Forty callers each send all but the end of 50 MB. The daemon stays under its budget for bodies, and
of sixteen callers with 1 MB each beside none is refused.
"""

from __future__ import annotations

import contextlib

from scripts.lab.torture import wire
from scripts.lab.torture.attacks._common import beside, outcomes
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

CALLERS = 40
BODY = 50_000_000
PIECE = b"x" * 1_000_000
MORE_MIB = 600  # a budget of 512 MiB, and what the honest ones take


def attack(bench: Bench) -> Verdict:
    """Begin the uploads one after the other and keep them open."""
    target = bench.daemon()
    head = wire.request(headers={"Content-Length": str(BODY + 1)})
    with (
        contextlib.ExitStack() as held,
        beside(bench, target) as served,
        target.watched() as watch,
    ):
        before = target.footprint()
        for _ in range(CALLERS):
            upload = held.enter_context(target.connect())
            upload.settimeout(1)  # one that is not read any more is held back, as it should be
            with contextlib.suppress(OSError):
                upload.sendall(head)
                for _ in range(BODY // len(PIECE)):
                    upload.sendall(PIECE)
    held_back = watch.rss - before.rss
    figures = {
        "more memory, MiB": round(held_back),
        "outcomes": outcomes(target),
        **watch.figures(),
        **served.figures(),
    }
    return Verdict(held_back < MORE_MIB and served.well, figures)
