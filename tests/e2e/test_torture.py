"""Faults while honest callers work: no answer is wrong, no prefix changes, no word goes astray."""

from __future__ import annotations

from pathlib import Path

from scripts.lab import traffic
from scripts.lab.torture.campaign import fixed
from scripts.lab.torture.conversations import traces
from scripts.lab.torture.faults import FAULTS

SEED, TURNS, FAULTS_MADE = 11, 300, 40


def test_three_hundred_turns_and_forty_faults(tmp_path: Path) -> None:
    act = fixed(SEED, tmp_path, traces(traffic.DATA), TURNS, FAULTS_MADE)
    tally = act.tally
    assert (tally.wrong, tally.broken, tally.leaked) == (0, 0, 0), "\n".join(tally.kept)
    assert len(act.made) == FAULTS_MADE
    assert {line.rpartition(" at ")[0] for line in act.made} == set(FAULTS)
    # Otherwise there was nothing to break.
    assert tally.answered > TURNS / 2
    assert tally.forms > 10
