"""What the campaign prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.lab.torture.verdict import Verdict


def lines(name: str, verdict: Verdict) -> str:
    """A line for the verdict, and one for each figure."""
    if verdict.why:
        return f"skipped {name}: {verdict.why}"
    rows = [f"{'holds  ' if verdict.holds else 'BROKEN '} {name}"]
    for key, value in verdict.figures.items():
        if isinstance(value, list | tuple):
            rows += [f"    {key}:", *(f"        {row}" for row in value)]
        elif isinstance(value, dict):
            rows += [f"    {key}: " + (", ".join(f"{k} {v}" for k, v in value.items()) or "none")]
        else:
            rows.append(f"    {key}: {value}")
    return "\n".join(rows)


def summary(seed: int, broken: Sequence[str], count: int, folder: Path) -> str:
    """The last line: what was broken, and how it can be run again."""
    if not broken:
        return f"all {count} hold, seed {seed}"
    again = " ".join(f"--only {name}" for name in broken)
    return (
        f"{len(broken)} of {count} are broken; again: "
        f"scripts/torture --seed {seed} {again}; what was sent is in {folder}"
    )
