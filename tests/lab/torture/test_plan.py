"""The plan of faults: the same for a seed, one at a time, each kind before one comes again."""

from __future__ import annotations

from itertools import islice, pairwise

from hypothesis import given
from hypothesis import strategies as st

from scripts.lab.torture.plan import steps

NAMES = ["a", "b", "c", "d", "e"]


@given(st.integers(), st.floats(2, 100))
def test_faults_do_not_overlap_and_all_kinds_come_up(seed: int, every: float) -> None:
    found = list(islice(steps(seed, NAMES, every), 20))
    assert found == list(islice(steps(seed, NAMES, every), 20))
    assert all(step.begin < step.end for step in found)
    assert all(one.end <= two.begin for one, two in pairwise(found))
    for first in range(0, 20, len(NAMES)):
        assert {step.fault for step in found[first : first + len(NAMES)]} == set(NAMES)


def test_another_seed_brings_another_plan() -> None:
    one, two = (list(islice(steps(seed, NAMES, 10), 20)) for seed in (1, 2))
    assert one != two
