"""No answer depends on what another login has sent: not on its texts, not on its conversations.

A login's answers are compared with those of a daemon that nobody else uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from scripts.lab.torture.attacks._common import Talk
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict
from scripts.lab.torture.wire import Line

ROUNDS = 3


def attack(bench: Bench) -> Verdict:
    """The owner sends all to one of two daemons; then the other login sends the same to both."""
    shared, alone = bench.daemon(pool=1), bench.daemon(pool=1)
    differing: list[str] = []
    asked = 0
    for name, output in OUTPUTS.items():
        for number in range(ROUNDS):
            own = replace(bench, name=f"{bench.name} {name} {number}")
            owner = _talk(own, "owner@example.com", output)
            for _ in range(3):
                for call in owner:
                    shared.line().ask(call)
            spy = _talk(own, "spy@example.com", output)
            if not number:
                spy = spy[1:]  # it begins where the owner was
            asked += len(spy)
            differing += [name] * (_answers(shared.line(), spy) != _answers(alone.line(), spy))
    figures = {"answers compared": asked, "that differ": len(differing), "with": differing[:5]}
    return Verdict(not differing, figures)


def _talk(bench: Bench, login: str, output: Callable[[Bench], str]) -> list[bytes]:
    """The calls of a conversation, which is the same for each login."""
    talk = Talk(replace(bench), login)
    calls = []
    text = output(talk.bench)
    for tool in ("api", "Bash"):
        talk.used(text, tool)
        calls.append(talk.call())
        talk.rows()
        calls.append(talk.call())
    return calls


def _answers(line: Line, calls: list[bytes]) -> list[bytes]:
    return [line.ask(call).body for call in calls]


def _view(bench: Bench) -> str:
    return "".join(f"{n:6}→line {bench.salt()}\n" for n in range(300))


OUTPUTS: dict[str, Callable[[Bench], str]] = {
    "rows": lambda bench: bench.rows(200),
    "a view of a file": _view,
    "equal lines": lambda bench: f"line {bench.salt()}\n" * 400,
    "found lines": lambda bench: "".join(f"a/b.py:{n}:{bench.salt()}\n" for n in range(300)),
    "hostile": lambda bench: bench.salt() + "[same output as " * 20_000,
    "deep": lambda bench: "[" * 5_000 + bench.salt() + "]" * 5_000,
}
