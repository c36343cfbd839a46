"""Of two equal conversations of one login, the one that missed no answer keeps its forms.

Their session ids differ. The other one did not read its answer to the end, so that its provider has
the original: it goes on with that. (Of a caller that leaves before its request was read, nothing is
known.)
"""

from __future__ import annotations

from dataclasses import replace

from scripts.lab.torture import wire
from scripts.lab.torture.attacks._common import Talk
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

ROUNDS = 10


def attack(bench: Bench) -> Verdict:
    """Play both again and again: the one that hangs up comes first, or last."""
    target = bench.daemon()
    figures = {"pairs": 2 * ROUNDS}
    broken = 0
    for first in (True, False):
        lost, formed = 0, 0
        for number in range(ROUNDS):
            wrong, wrongly_formed = _pair(bench, target, number, hangs_up_first=first)
            lost += wrong
            formed += wrongly_formed
        when = "first" if first else "last"
        figures[f"forms lost, hung up {when}"] = lost
        figures[f"forms where the provider has the original, hung up {when}"] = formed
        broken += lost + formed
    return Verdict(not broken, figures)


def _pair(bench: Bench, target: Target, number: int, *, hangs_up_first: bool) -> tuple[bool, bool]:
    """Whether the one that took its answer lost its forms, and whether the other one got some."""
    name = f"{bench.name} {number} {hangs_up_first}"
    taking, missing = (Talk(replace(bench, name=name)) for _ in range(2))
    for talk, session in ((taking, "a"), (missing, "b")):
        talk.session = f"{session} {name}"
        talk.login = "same@example.com"
        talk.rows()
    line = target.line()
    for hangs_up in (hangs_up_first, not hangs_up_first):
        if hangs_up:
            line.close()
            line.hang_up(wire.request(missing.call()), after=40)
            missing.missed()
        else:
            taking.turn(line)
    for talk in (taking, missing):
        talk.items.append(talk.said("ok", "assistant"))
        talk.items.append(talk.said(f"next {talk.session}"))
        talk.turn(line)
    return bool(taking.broken), bool(missing.broken)
