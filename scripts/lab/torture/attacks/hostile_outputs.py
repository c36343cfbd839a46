"""Outputs made to take long keep no worker from others, and their own conversation goes on.

Two callers send one after the other; small honest turns beside are all made shorter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from scripts.lab.torture.attacks._common import Talk, beside, together
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

CALLERS = 2
SECONDS = 6.0  # an answer's deadline, and what busy cores add


def attack(bench: Bench) -> Verdict:
    """Send each output in a conversation of its own that goes on."""
    target = bench.daemon()
    tables = [replace(bench, name=f"{bench.name} {number}") for number in range(CALLERS)]
    with beside(bench, target, 4, 1_000, 0.2) as served, target.watched() as watch:
        results = together(lambda own: _play(own, target), tables)
    figures = {name: " and ".join(result[name][0] for result in results) for name in results[0]} | {
        **watch.figures(),
        **served.figures(),
    }
    well = all(held for result in results for _, held in result.values())
    return Verdict(well and served.well, figures)


def _play(bench: Bench, target: Target) -> dict[str, tuple[str, bool]]:
    """By the output's name: the figures, and whether all held."""
    found: dict[str, tuple[str, bool]] = {}
    line = target.line()
    for name, make in OUTPUTS.items():
        talk = Talk(bench)
        talk.used(make(bench.salt()), "WebFetch", b'{"url":"%s"}' % bench.salt().encode())
        started = time.perf_counter()
        talk.turn(line)
        took = time.perf_counter() - started
        talk.rows()
        goes_on = talk.turn(line)
        held = goes_on and not talk.broken and took < SECONDS
        found[name] = f"{took:.2f} s" + ("" if goes_on else " and the next left alone"), held
    line.close()
    return found


def _numbered(salt: str) -> str:
    """A run of numbered lines that begins again further below."""
    body = "".join(f"{n:6}→line {salt} {n}\n" for n in range(20_000))
    return "".join(f"{n:6}→z{n}\n" for n in range(20_000)) + "---\n" + body


OUTPUTS: dict[str, Callable[[str], str]] = {
    "nearly a pointer, one line": lambda salt: salt + "[same output as " * 52_000,
    "nearly pointers, many lines": lambda salt: (
        salt + "\n[lines 1-2 unchanged: see Read a.py above" * 20_000
    ),
    "carriage returns": lambda salt: salt + "x" * 300_000 + "\ry" * 350_000,
    "equal lines": lambda salt: salt + "\n" + "aaaaaaaaaaaaaaaa\n" * 50_000,
    "seven lines in turn": lambda salt: "\n".join(f"a{salt} {n % 7}" for n in range(40_000)),
    "spaces": lambda salt: salt + " " * 800_000 + "x",
    "colours": lambda salt: salt + "\x1b[31m\x1b[" * 100_000,
    "brackets": lambda salt: "[" * 400_000 + salt + "]" * 400_000,
    "an array of numbers": lambda salt: "[\n" + "  1,\n" * 160_000 + f'  "{salt}"\n]',
    "an object of objects": lambda salt: '{\n"a":' * 400 + f'"{salt}"' + "\n}" * 400,
    "numbered twice": _numbered,
    "found lines": lambda salt: "".join(f"a/{salt}/b.py:{n}:x\n" for n in range(30_000)),
}
