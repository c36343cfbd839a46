"""Every attack says what must hold, and can be named on the command line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from scripts.lab.torture import report
from scripts.lab.torture.attacks import attacks
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.main import FAULTS, FUZZ, parse
from scripts.lab.torture.verdict import Verdict, skipped


def test_every_attack_says_what_must_hold() -> None:
    known = attacks()
    assert known
    for attack in known.values():
        assert attack.holds.endswith("."), attack.name
    assert not {FAULTS, FUZZ} & known.keys()


def test_each_name_can_be_chosen() -> None:
    names = [FAULTS, FUZZ, *attacks()]
    words = [word for name in names for word in ("--only", name)]
    assert parse(words).only == names
    with pytest.raises(SystemExit):
        parse(["--only", "nothing"])


def test_a_bench_gives_the_same_for_the_same_seed(tmp_path: Path) -> None:
    with contextlib.ExitStack() as parts:
        one, two, three = (Bench("x", seed, tmp_path, parts) for seed in (1, 1, 2))
    assert one.call(one.rows(3)) == two.call(two.rows(3)) != three.call(three.rows(3))


def test_what_is_broken_is_said_with_the_seed() -> None:
    said = report.summary(7, ["fuzz"], 3, Path("kept"))
    assert "1 of 3 are broken" in said
    assert "--seed 7 --only fuzz" in said
    assert "all 3 hold" in report.summary(7, [], 3, Path("kept"))


def test_figures_and_reasons_are_printed() -> None:
    lines = report.lines("x", Verdict(False, {"n": 1, "by": {"a": 2}, "at": ["there"]}))
    assert lines.split("\n") == ["BROKEN  x", "    n: 1", "    by: a 2", "    at:", "        there"]
    assert report.lines("x", skipped("no netem")) == "skipped x: no netem"
