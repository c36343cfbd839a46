"""SIGTERM ends a daemon with a thousand open connections as it ends an idle one: in time, with 0.

The network stack resets each of them when it is closed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import time

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

CONNECTIONS, AT_ONCE = 900, 16
DRAIN = 2.0
SPARE = 8.0  # seconds on top: workers, the store, the node, a busy machine


def attack(bench: Bench) -> Verdict:
    """Open them, ask on each, and end it."""
    target = bench.daemon("--drain", f"{DRAIN}s", pool=1, tailnet=True)
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    with contextlib.ExitStack() as held:
        lines = [target.line() for _ in range(CONNECTIONS)]
        for line in lines:
            held.callback(line.close)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as callers:
            asked = callers.map(lambda line: line.ask(path="/livez", method="GET").status, lines)
            answered = sum(status == 200 for status in asked)
        started = time.monotonic()
        code = target.stop()
        took = round(time.monotonic() - started, 1)
    figures = {"open": answered, "exit code": code, "ended after, s": took}
    well = answered == CONNECTIONS and code == 0 and took < DRAIN + SPARE
    return Verdict(well, {**figures, "said at the end": target.log.strip().splitlines()[-2:]})
