"""Blocks that come again within one output are quoted, and come back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.texts import repeats

WARNING = [
    "warning: using single-quoted strings to represent charlists is deprecated.",
    'Use ~c"" if you indeed want a charlist or use "" instead, as the manual says.',
    "     │",
]
LINES = st.sampled_from([*WARNING, "", "  }", "error: no such file", "[3 lines again"])


def test_a_warning_that_comes_again_is_quoted() -> None:
    text = "\n".join([*WARNING, "at a.ex:1", "", *WARNING, "at b.ex:2"])
    folded = repeats.fold(text)
    quotation = '[3 lines again, from "warning: using single-quoted strings to"]'
    assert folded.split("\n")[5:] == [quotation, "at b.ex:2"]
    assert repeats.unfold(folded) == text
    assert repeats.is_fold(quotation)


@given(st.lists(LINES, max_size=40).map("\n".join))
def test_every_text_comes_back(text: str) -> None:
    folded = repeats.fold(text)
    assert repeats.unfold(folded) == text
    assert len(folded) <= len(text)


def test_a_text_that_imitates_is_left_alone() -> None:
    text = "\n".join([*WARNING, '[3 lines again, from "warning: using"]', *WARNING])
    assert repeats.fold(text) == text


def test_a_quotation_means_the_first_line_that_begins_so() -> None:
    first = ["same beginning of the line, that goes on here", "one more line of it", "x" * 60]
    second = ["same beginning of the line, that goes on there", "one more line of it", "x" * 60]
    text = "\n".join([*first, "--", *second, "--", *second])
    assert repeats.unfold(repeats.fold(text)) == text


def test_a_line_again_and_again_is_counted() -> None:
    text = "\n".join(["start", *["waiting for the server"] * 40, "done"])
    assert repeats.fold(text).split("\n") == [
        "start",
        "waiting for the server",
        "[the line above 39 times more]",
        "done",
    ]
    assert repeats.unfold(repeats.fold(text)) == text


def test_a_long_output_of_one_line_is_quick() -> None:
    text = "\n".join(["the very same line of a log that says nothing"] * 15_000)
    assert repeats.unfold(repeats.fold(text)) == text
