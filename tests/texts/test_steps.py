"""The steps that child and daemon share: what may be undone comes back to the letter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.texts.test_repeats import WARNING
from tsheadroom.texts.steps import STEPS, repeat, undo


@given(st.text("ab→\t: 01{}[]\n\r\x1b", max_size=60))
def test_a_step_is_never_longer_and_comes_back(text: str) -> None:
    for step in STEPS.values():
        shorter = step.apply(text)
        assert len(shorter) <= len(text)
        assert step.undo is None or step.undo(shorter) == text or shorter == text


def test_steps_are_undone_last_first() -> None:
    lines = [*WARNING, "at a.ex:1", "", *WARNING, "at b.ex:2"]
    numbered = [f"{at:>6}→{line}" for at, line in enumerate(lines, 1)]
    text = "\n".join([*numbered, "--", *WARNING, "--", *WARNING])
    shorter = repeat(text, ["gutter", "repeat"])
    assert len(shorter) < len(repeat(text, ["gutter"])) < len(text)
    assert undo(shorter, ["repeat", "gutter"]) == text


def test_few_numbers_come_after_all_other_steps() -> None:
    lines = [f"line {at}" for at in range(1, 40)]
    text = "\n".join(f"{at:>6}→{line}" for at, line in enumerate(lines, 1))
    shorter = repeat(text, ["gutter", "sparse"])
    shown = shorter.split("\n")
    assert [shown[at] for at in (0, 1, 8, 9, 37, 38)] == [
        "1→line 1",
        *("line 2", "line 9", "10\tline 10", "line 38"),
        "39\tline 39",
    ]
    assert undo(shorter, ["sparse", "gutter"]) == text
    assert list(STEPS)[-1] == "sparse"


def test_names_of_other_transforms_are_passed_over() -> None:
    assert repeat("{\n}", ["fold", "smart_crusher"]) == "{\n}"
    assert undo("{}", ["json", "fold"]) == "{}"
