"""A bill of any amounts spoils no sum and no scrape: only honest ones count.

Amounts that no request can have are counted as refused; what else such a bill says still counts.
"""

from __future__ import annotations

import math

from scripts.lab.torture.attacks._common import ask, scraped
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

HONEST = b"1.5"
AMOUNTS = (
    b"9223372036854775807", b"1" + b"0" * 25, b"1" + b"0" * 400, b"9" * 5_000, b"9" * 1_000_000,
    b"1e308", b"1e999", b"-1e999", b"-3", b"-0.0", b"1e-400", b"NaN", b"Infinity", b"-Infinity",
    b"null", b"true", b'"5"', b'"NaN"', b"[]", b"{}", b"[1]", b'{"a":1}', b"1" + b"0" * 9 + b".5",
    b"0x10", b"1_000", b"+1", b".5", b"\xff", b"[" * 5_000, b'"\\ud800"',
)  # fmt: skip


def attack(bench: Bench) -> Verdict:
    """Send each amount in each place, to both paths, between honest bills."""
    target = bench.daemon()
    well = True
    honest = 0
    for amount in AMOUNTS:
        for cost in _costs(amount):
            for path in ("/bills", "/"):
                well &= ask(target, _event(bench, cost), path).status == 200
        cost = b'{"dollars":%s,"usage":{"output_tokens":5}}' % HONEST
        well &= ask(target, _event(bench, cost, b"honest"), "/bills").status == 200
        honest += 1
        series = scraped(target)
    ours = {name: value for name, value in series.items() if "'honest'" in name}
    dollars = sum(value for name, value in ours.items() if "billed_dollars_total" in name)
    tokens = sum(value for name, value in ours.items() if "billed_output_tokens_total" in name)
    odd = [name for name, value in series.items() if not math.isfinite(value) and "le" not in name]
    billed = [value for name, value in series.items() if "billed" in name and "_total" in name]
    refused = series["tsheadroom_billed_amounts_refused_total[]"]
    figures = {
        "bills": 6 * len(AMOUNTS) + honest,
        "amounts refused": int(refused),
        "dollars of honest bills": dollars,
        "of which": honest * float(HONEST),
        "largest sum": max(billed),
        "sums that are no numbers": odd,
    }
    exact = dollars == honest * float(HONEST) and tokens == 5 * honest
    bounded = min(billed) >= 0 and max(billed) < 1e12 and refused > 0
    return Verdict(well and exact and bounded and not odd, figures)


def _costs(amount: bytes) -> list[bytes]:
    return [
        b'{"dollars":1,"usage":{"output_tokens":%s,"input_tokens":2}}' % amount,
        b'{"dollars":%s,"usage":{"output_tokens":3}}' % amount,
        b'{"dollars":1,"usage":%s}' % amount,
    ]


def _event(bench: Bench, cost: bytes, provider: bytes = b"odd") -> bytes:
    head = b'"provider":"%s","model":"m","request_id":"%s"' % (provider, bench.salt().encode())
    return b'{"metadata":{%s,"estimated_cost":%s},"request_body":null}' % (head, cost)
