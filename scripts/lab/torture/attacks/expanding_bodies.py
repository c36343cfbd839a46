"""Small bodies that decode to 48 MiB each take no more memory than bodies may, and refuse nobody.

Sixty of them come at once, 5 KB each on the wire. Sixteen callers with 1 MB each work beside, and
none of theirs finds no room.
"""

from __future__ import annotations

import zstandard

from scripts.lab.torture.attacks._common import ask, beside, outcomes, together
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

BODIES = 60
BODY = 48 << 20
MORE_MIB = 700  # a budget of 512 MiB, and what the honest ones are held with


def attack(bench: Bench) -> Verdict:
    """Send all at once, and look at the most memory there ever is."""
    target = bench.daemon()
    large = bench.messages([{"role": "user", "content": "a" * BODY}])
    coded = zstandard.ZstdCompressor(level=3).compress(large)
    with beside(bench, target) as served, target.watched() as watch:
        before = target.footprint()
        replies = together(
            lambda body: ask(target, body, headers={"Content-Encoding": "zstd"}), [coded] * BODIES
        )
    more = watch.rss - before.rss
    figures = {
        "bytes a body": len(coded),
        "more memory, MiB": round(more),
        "statuses": sorted({reply.status for reply in replies}),
        "slowest, s": round(max(reply.seconds for reply in replies), 1),
        "outcomes": outcomes(target),
        **watch.figures(),
        **served.figures(),
    }
    answered = all(reply.status == 200 for reply in replies)
    return Verdict(answered and more < MORE_MIB and served.well, figures)
