"""Nobody waits because logs or lines on stdout are not read: lines are dropped, and counted.

Both streams are pipes that are full from the start.
"""

from __future__ import annotations

import fcntl
import os
import subprocess

from scripts.lab.torture.attacks._common import beside, scraped, together
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

CALLERS = 4
REQUESTS = 2_200  # of each caller: more lines than may wait for a reader
SLOWEST = 3.0  # seconds: far more than any of these takes, far less than a stalled one
DROPPED = "tsheadroom_lines_dropped_total[('stream', '{}')]"


def attack(bench: Bench) -> Verdict:
    """Send junk, each of which is a line on both, and honest turns beside."""
    figures: dict[str, object] = {}
    well = True
    for name in ("stderr", "stdout"):
        reads, writes = os.pipe()
        fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
        if name == "stderr":
            target = bench.daemon("-v", stderr=writes, stdout=subprocess.DEVNULL)
        else:
            target = bench.daemon("-v", stdout=writes)
        with beside(bench, target, 2, 1_000, 0.1) as served:
            slowest = max(together(lambda _: _junk(target), range(CALLERS)))  # noqa: B023
        dropped = int(scraped(target)[DROPPED.format(name)])
        code = target.stop()
        os.close(reads)
        os.close(writes)
        figures[f"{name}: slowest, s"] = round(slowest, 2)
        figures[f"{name}: lines dropped"] = dropped
        figures[f"{name}: exit status"] = code
        figures |= {f"{name}: {key}": value for key, value in served.figures().items()}
        well &= slowest < SLOWEST and dropped > 0 and served.well and not code
    return Verdict(well, figures)


def _junk(target: Target) -> float:
    """How long the slowest took, in seconds; infinite if one was not answered."""
    line, slowest = target.line(), 0.0
    name = "x" * 128
    body = b'{"metadata":{"provider":"%s","model":"%s"},"request_body":' % ((name.encode(),) * 2)
    for _ in range(REQUESTS):
        try:
            reply = line.ask(body)
        except OSError:
            return float("inf")
        slowest = max(slowest, reply.seconds)
    line.close()
    return slowest
