"""After a restart a caller on the tailnet has an answer within two seconds, in half of all in one.

No prefix is changed, also where the daemon was killed. `scripts/bench --restart` does more of it.
"""

from __future__ import annotations

from scripts.lab import restart, traffic
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.conversations import traces
from scripts.lab.torture.verdict import Verdict

RESTARTS = 6
WORST_SECONDS, USUAL_SECONDS = 2.0, 1.0
BUSY = 2.0  # times as long: this machine may have other work


def attack(bench: Bench) -> Verdict:
    """Restart it in turns by SIGTERM and by SIGKILL, while a conversation goes on."""
    del bench
    _, found = restart.run(traces(traffic.DATA), RESTARTS, ())
    rows = found["rows"]
    broken = sum(row["broken prefixes"] for row in rows)
    slowest = max(row["worst s"] for row in rows)
    usual = max(row["first answer p50 s"] for row in rows)
    figures = {row.pop("ended by"): row for row in rows}
    more = {"slowest first answer, s": slowest, "prefixes broken": broken}
    in_time = slowest < WORST_SECONDS * BUSY and usual < USUAL_SECONDS * BUSY
    return Verdict(not broken and in_time, {**more, **figures})
