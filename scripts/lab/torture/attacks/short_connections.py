"""Two thousand short connections over the tailnet leave nothing behind.

No descriptor, no thread, little memory, and all are answered.
"""

from __future__ import annotations

import concurrent.futures

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

CONNECTIONS, AT_ONCE = 2_000, 8
WARM_UP = 200  # connections after which Go has the threads that it wants
MORE_DESCRIPTORS, MORE_THREADS, MORE_MIB = 4, 8, 40
CLOSED_SECONDS = 10.0


def attack(bench: Bench) -> Verdict:
    """Open, ask, close."""
    target = bench.daemon(pool=1, tailnet=True)

    def ask(_: int) -> bool:
        line = target.line()
        try:
            return line.ask(path="/livez", method="GET").status == 200
        except OSError:
            return False
        finally:
            line.close()

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as callers:
        list(callers.map(ask, range(WARM_UP)))
        before = target.footprint()
        answered = sum(callers.map(ask, range(CONNECTIONS)))
    _places.until(lambda: target.footprint().descriptors <= before.descriptors, CLOSED_SECONDS)
    after = target.footprint()
    more = {
        "more descriptors": after.descriptors - before.descriptors,
        "more threads": after.threads - before.threads,
        "more memory, MiB": round(after.rss - before.rss),
    }
    allowed = (MORE_DESCRIPTORS, MORE_THREADS, MORE_MIB)
    well = all(got <= most for got, most in zip(more.values(), allowed, strict=True))
    return Verdict(well and answered == CONNECTIONS, {"answered": answered, **more})
