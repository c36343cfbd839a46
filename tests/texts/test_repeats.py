"""Blocks that come again within one output are quoted, and come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.texts import repeats

WARNING = [
    "warning: using single-quoted strings to represent charlists is deprecated.",
    'Use ~c"" if you indeed want a charlist or use "" instead, as the manual says.',
    "     │",
]
LINES = st.sampled_from(
    [
        *WARNING,
        *(WARNING[0] + end for end in ("", " here", " there")),
        "warning: unused",
        "warning: unused variable",
        "  warning: unused variable",
        "─" * 50,
        "",
        "  }",
        "[3 lines again",
    ]
)


def test_a_warning_that_comes_again_is_quoted() -> None:
    text = "\n".join([*WARNING, "at a.ex:1", "", *WARNING, "at b.ex:2"])
    folded = repeats.fold(text)
    quotation = '[3 lines again, from "warning: using single-quoted strings to"]'
    assert folded.split("\n")[5:] == [quotation, "at b.ex:2"]
    assert repeats.unfold(folded) == text
    assert repeats.is_fold(quotation)


def test_a_line_means_itself_or_those_that_it_stands_for() -> None:
    again, more = '[3 lines again, from "warning: using"]', "[the line above 2 times more]"
    own = [[line] for line in WARNING]
    assert repeats.meanings([*WARNING, again, "x", more]) == [*own, WARNING, ["x"], ["x", "x"]]


@given(st.lists(LINES, max_size=40).map("\n".join))
def test_every_text_comes_back(text: str) -> None:
    folded = repeats.fold(text)
    assert repeats.unfold(folded) == text
    assert len(folded) <= len(text)


@pytest.mark.parametrize(
    "line",
    [
        '[3 lines again, from "warning: using"]',
        '[3 lines again, from #2 "warning: using"]',
        '[1 line again, from "warning: using"]',
        "[the line above 9 times more]",
    ],
)
def test_a_text_that_imitates_is_left_alone(line: str) -> None:
    text = "\n".join([*WARNING, line, *WARNING])
    assert repeats.is_fold(line)
    assert repeats.fold(text) == text


FIRST = ["same beginning of the line, that goes on here", "one more line of it", "x" * 90]
SECOND = ["same beginning of the line, that goes on there", "one line more of it", "y" * 90]


def test_a_quotation_means_the_first_line_that_begins_so() -> None:
    text = "\n".join([*FIRST, "--", *SECOND, "--", '[3 lines again, from "same beginning of"]'])
    assert repeats.unfold(text) == "\n".join([*FIRST, "--", *SECOND, "--", *FIRST])


def test_a_number_says_which_of_the_lines_that_begin_so() -> None:
    text = "\n".join([*FIRST, "a", *SECOND, "b", *SECOND, "c", *FIRST])
    folded = repeats.fold(text)
    assert folded.split("\n")[8:] == [
        '[3 lines again, from #2 "same beginning of the line, that goes on"]',
        "c",
        '[3 lines again, from "same beginning of the line, that goes on"]',
    ]
    assert repeats.unfold(folded) == text


@pytest.mark.parametrize("number", ["0", "3", "999999999", "9" * 5000])
def test_a_number_that_no_line_has_is_text(number: str) -> None:
    text = "\n".join([*FIRST, *SECOND, f'[3 lines again, from #{number} "same beginning"]'])
    assert repeats.unfold(text) == text


def test_only_lines_that_stand_in_the_text_are_counted() -> None:
    lines = [*FIRST, "--", *FIRST, "--", *SECOND, "--", *SECOND]
    folded = repeats.fold("\n".join(lines))
    assert folded.count(FIRST[0][:40]) == 4
    assert folded.endswith('[3 lines again, from #2 "same beginning of the line, that goes on"]')


def test_one_long_line_is_enough() -> None:
    line = "warning: " + "a long story, " * 12
    folded = repeats.fold("\n".join([line, "at a.ex:1", line, "at b.ex:2", WARNING[0]]))
    assert (
        folded.split("\n")[2] == '[1 line again, from "warning: a long story, a long story, a l"]'
    )


def test_the_longest_block_is_found() -> None:
    long = "warning: " + "the same " * 20
    text = "\n".join([long, "one", "--", long, "two", "three", "--", long, "two", "three"])
    lines = repeats.fold(text).split("\n")
    assert lines[3] == '[1 line again, from "warning: the same the same the same the"]'
    assert lines[-3:] == [lines[3], "two", "three"]  # what is quoted stands in the text itself
    text = "\n".join(
        [long, "one", "--", long + "!", "two", "three", "--", long + "!", "two", "three"]
    )
    assert repeats.fold(text).endswith(
        '[3 lines again, from #2 "warning: the same the same the same the"]'
    )


def test_a_line_again_and_again_is_counted() -> None:
    text = "\n".join(["start", *["waiting for the server"] * 40, "done"])
    assert repeats.fold(text).split("\n") == [
        "start",
        "waiting for the server",
        "[the line above 39 times more]",
        "done",
    ]
    assert repeats.unfold(repeats.fold(text)) == text


@pytest.mark.parametrize(
    "lines",
    [
        ["the very same line of a log that says nothing"] * 15_000,
        [str(at) for at in range(10_000)] * 2,
        [f"the same beginning {at}" for at in range(10_000)] * 2,
        ["the same beginning of forty characters  " + str(at) for at in range(10_000)] * 2,
        [str(at % 9) for at in range(20_000)],
    ],
    ids=["equal", "short", "alike", "alike and long", "in turn"],
)
def test_a_long_output_is_no_trap(lines: list[str]) -> None:
    """None of them takes time that grows with the square of its lines; two of them did."""
    text = "\n".join(lines)
    assert repeats.unfold(repeats.fold(text)) == text


@pytest.mark.parametrize(
    "lines",
    [
        ["x", "[the line above 999999999 times more]"],
        [
            "a line to be quoted",
            *(f'[{2**at} lines again, from "a line to be"]' for at in range(40)),
        ],
    ],
)
def test_nothing_stands_for_more_lines_than_were_ever_folded(lines: list[str]) -> None:
    assert sum(map(len, repeats.meanings(lines))) <= repeats.MAX_LINES
    assert len(repeats.meanings(lines)) == len(lines)
