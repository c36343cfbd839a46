"""Prints what came out, a row a client."""

from __future__ import annotations

from collections.abc import Mapping

from scripts.lab.clients.judge import Verdict

_COLUMNS = (
    "turns",
    "price",
    "tokens",
    "changed",
    "broken",
    "structure",
    "outputs",
    "shorter",
    "lost",
    "rewritten",
    "dangling",
    "failed",
    "ms",
)
_NOTE = """
price, tokens: in percent of no hook; the price at the client's own breakpoints
changed: requests in which something is forwarded otherwise than before
broken: thinking that came back behind another prefix, by the hook / by the client itself
structure: places that differ and are no tool's output; lost: outputs that do not come back
rewritten: texts of files that do not come back to the letter; dangling: pointers to nothing
failed: no answer of the hook, or none of the provider; ms: of a hook call, median / slowest"""


def show(verdicts: Mapping[str, Verdict]) -> None:
    """Print the table, and what went wrong."""
    width = max(map(len, verdicts), default=0) + 2
    print(" " * width + "".join(f"{name:>11}" for name in _COLUMNS))
    for name, verdict in verdicts.items():
        print(f"{name:{width}}" + "".join(f"{value:>11}" for value in _values(verdict)))
    print(_NOTE)
    for name, verdict in verdicts.items():
        for what in verdict.wrong:
            print(f"{name}: {what}")


def _values(verdict: Verdict) -> list[str]:
    shorter = sum(verdict.restored.values())
    return [
        str(verdict.turns),
        f"{verdict.price:.1f}",
        f"{verdict.tokens:.1f}",
        str(verdict.changed),
        f"{verdict.broken_by_hook} / {verdict.broken_by_client}",
        str(verdict.structure),
        str(verdict.outputs),
        str(shorter),
        str(verdict.restored.get("not restored", 0)),
        str(verdict.rewritten),
        str(verdict.dangling),
        str(verdict.failed + verdict.refused),
        f"{verdict.median_ms:.0f} / {verdict.slowest_ms:.0f}",
    ]
