"""Whatever providers and models are called, /metrics can be read and has no series twice.

Control characters, quotes, half surrogates, empty names, names that differ at their end alone, and
two thousand of them.
"""

from __future__ import annotations

from scripts.lab import traffic
from scripts.lab.torture.attacks._common import ask, scraped
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

FLOOD = 2_000
PAGE = 2_000_000  # bytes
NAMES = (
    "", " ", "unknown", "other", "q" * 128 + "1", "q" * 128 + "2", 'new\nline"quote\\', "\ud800",
    "\x00", "\x07\x1b[31mx", "\r", "\x85", "\u2028", "\u202e", "\u200b", "\ufeff", "\U0010ffff",
    "a\x1db", "a\x1eb", "\x0b", "\x0c", '"} 1\nforged{a="', "\\n", "\\", "{", "é", "日本", "%s",
    "#", "\x7f", "\x9b", "a" * 127 + "\ud83d\ude00", "a" * 127 + "\\", "a" * 127 + "\n",
)  # fmt: skip


def attack(bench: Bench) -> Verdict:
    """Send calls and bills with each of them, then very many others, and read the page."""
    target = bench.daemon()
    well = True
    for name in NAMES:
        for provider, model in ((name, "m"), ("p", name), (name, name)):
            for body in (_call(bench, provider, model), _bill(bench, provider, model)):
                well &= ask(target, body).status == 200
        scraped(target)
    line = target.line()
    for number in range(FLOOD):
        name = f"p{number}" + "x" * 100
        line.ask(_call(bench, name, f"m{number}"))
        line.ask(_bill(bench, name, f"m{number}"), "/bills")
    series = scraped(target)
    page = target.page("/metrics")[1]
    odd = sorted({c for c in page if not (c.isprintable() or c == "\n")})
    forged = [name[:80] for name in series if name.startswith("forged")]
    figures = {
        "names": len(NAMES) + FLOOD,
        "series": len(series),
        "bytes of /metrics": len(page.encode()),
        "characters that cannot be printed": [repr(character) for character in odd],
        "series that are none of ours": forged,
    }
    return Verdict(well and not odd and not forged and len(page) < PAGE, figures)


def _call(bench: Bench, provider: str, model: str) -> bytes:
    head = {"provider": provider, "model": model, "request_id": bench.salt(), "login_name": "x"}
    body = {"messages": [{"role": "user", "content": "x"}]}
    return traffic.dumps({"metadata": head, "request_body": body})


def _bill(bench: Bench, provider: str, model: str) -> bytes:
    cost = {"dollars": 1, "usage": {"output_tokens": 1}}
    head = {"provider": provider, "model": model, "request_id": bench.salt()}
    return traffic.dumps({"metadata": {**head, "estimated_cost": cost}, "request_body": None})
