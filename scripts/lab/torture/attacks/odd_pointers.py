"""No line that looks like a pointer, and no nested input, ends a worker or stops its conversation.

Each stays in its conversation, so that whatever reads it does so on every later turn.
"""

from __future__ import annotations

from collections.abc import Iterator

from scripts.lab.torture.attacks._common import Talk, nested
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

TURNS = 3  # after the odd one

LINES = (
    "[lines {} unchanged: see Read a.py above]",
    "[lines 1-{} unchanged: see Read a.py above]",
    "[lines {}-2 unchanged: see Read a.py above]",
    "[same output as {} above]",
    "[{} lines unchanged]",
)
NUMBERS = ("1" * 5_000, "9" * 100_000, "-" * 5_000, "1-" * 5_000, "\u0661" * 5_000, "1" * 4_301)
DEPTHS = (300, 600, 900, 960, 980, 990, 1_000, 1_100, 5_000)


def attack(bench: Bench) -> Verdict:
    """Put each into a conversation that goes on."""
    target = bench.daemon()
    workers = target.workers()
    line = target.line()
    stopped: list[str] = []
    broken = 0
    names = []
    for name, output, given in _odd(bench):
        names.append(name)
        talk = Talk(bench)
        talk.rows()
        talk.turn(line)
        talk.used(output, "Read", given)
        talk.turn(line)
        for _ in range(TURNS):
            talk.rows()
            if not talk.turn(line):
                stopped.append(name)
        broken += talk.broken
    replaced = len(set(workers) - set(target.workers()))
    figures = {
        "conversations": len(names),
        "turns that were left alone": len(stopped),
        "they are those after": sorted(set(stopped)),
        "prefixes broken": broken,
        "workers replaced": replaced,
    }
    return Verdict(not (stopped or broken or replaced), figures)


def _odd(bench: Bench) -> Iterator[tuple[str, str, bytes]]:
    """Yield a name, an output, and the input of the tool that it came from."""
    for line in LINES:
        for number in NUMBERS:
            text = line.format(number) + "\n" + f"{bench.salt()}\n" * 20
            yield f"{line}, {number[:2]}... of {len(number)}", text, b'{"file_path":"/a"}'
    for depth in DEPTHS:
        yield f"input {depth} deep", bench.rows(30), nested(depth)
        yield f"output {depth} deep", nested(depth).decode(), b'{"file_path":"/a"}'
        yield f"arrays {depth} deep", "[\n" * depth + "]" * depth, b"{}"
