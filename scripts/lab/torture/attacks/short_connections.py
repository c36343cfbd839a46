"""Two thousand short connections over the tailnet leave nothing behind, and all are answered.

No descriptor, no thread, little memory. The daemon closes each, and SIGTERM ends it as always.
"""

from __future__ import annotations

import concurrent.futures
import time

from scripts.lab.torture import wire
from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

CONNECTIONS, AT_ONCE = 2_000, 8
WARM_UP = 200  # connections after which Go has the threads that it wants
MORE_DESCRIPTORS, MORE_THREADS, MORE_MIB = 4, 8, 40
CLOSED_SECONDS = 10.0
ENDED_SECONDS = 8.0  # a busy machine


def attack(bench: Bench) -> Verdict:
    """Open, ask, close."""
    target = bench.daemon(pool=1, tailnet=True)

    raw = wire.request(path="/livez", method="GET", headers={"Connection": "close"})

    def ask(_: int) -> bool:
        try:
            with target.connect() as connection:
                connection.sendall(raw)
                with connection.makefile("rb") as answer:
                    return answer.read().startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as callers:
        list(callers.map(ask, range(WARM_UP)))
        before, began = target.footprint(), time.monotonic()
        answered = sum(callers.map(ask, range(CONNECTIONS)))
    seconds = round(time.monotonic() - began, 1)
    _places.until(lambda: target.footprint().descriptors <= before.descriptors, CLOSED_SECONDS)
    after = target.footprint()
    more = {
        "more descriptors": after.descriptors - before.descriptors,
        "more threads": after.threads - before.threads,
        "more memory, MiB": round(after.rss - before.rss),
    }
    started = time.monotonic()
    code = target.stop()
    took = round(time.monotonic() - started, 1)
    allowed = (MORE_DESCRIPTORS, MORE_THREADS, MORE_MIB)
    well = all(got <= most for got, most in zip(more.values(), allowed, strict=True))
    figures = {
        "answered": answered,
        "in, s": seconds,
        **more,
        "exit code": code,
        "ended after, s": took,
    }
    ended = code == 0 and took < ENDED_SECONDS
    return Verdict(well and answered == CONNECTIONS and ended, figures)
