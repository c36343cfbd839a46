"""Names and ids of a megabyte each leave nothing behind that is as long.

Three hundred calls and a hundred bills have them, in all members that the daemon reads.
"""

from __future__ import annotations

import random

from scripts.lab import traffic
from scripts.lab.torture.attacks._common import scraped
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

CALLS, BILLS = 300, 100
LONG = 500_000
MORE_MIB = 60.0  # the allocator keeps some of what bodies of 2 MB took
PAGE = 2_000_000  # bytes
NAMES = ("provider", "model", "login_name", "session_id", "request_id")


def attack(bench: Bench) -> Verdict:
    """Send them one after the other."""
    target = bench.daemon()
    line = target.line()
    for _ in range(10):  # what one such body takes is there from now on
        line.ask(_call(bench.random))
    before = target.footprint()
    well = True
    for _ in range(CALLS):
        well &= line.ask(_call(bench.random)).status == 200
    for _ in range(BILLS):
        well &= line.ask(_bill(bench.random), "/bills").status == 200
    more = target.footprint().rss - before.rss
    page = len(target.page("/metrics")[1])
    figures = {
        "more memory, MiB": round(more),
        "bytes of /metrics": page,
        "series": len(scraped(target)),
    }
    return Verdict(well and more < MORE_MIB and page < PAGE, figures)


def _head(source: random.Random) -> dict[str, object]:
    return {name: f"{source.getrandbits(64):x}" + name[0] * LONG for name in NAMES}


def _call(source: random.Random) -> bytes:
    body = {"model": "m" * LONG, "messages": [{"role": "user", "content": "x"}]}
    return traffic.dumps({"metadata": _head(source), "request_body": body})


def _bill(source: random.Random) -> bytes:
    cost = {"dollars": 1, "usage": {"output_tokens": 5}, "cost_basis": "b" * LONG}
    head = {**_head(source), "estimated_cost": cost}
    return traffic.dumps({"metadata": head, "request_body": None})
