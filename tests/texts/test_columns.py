"""What the lines of a log begin with is said once, and each line keeps its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.texts import columns

LOG = "\n".join(
    [
        "build\tSet up job\t2026-06-18T04:45:19.1Z Current runner version",
        "build\tSet up job\t2026-06-18T04:45:19.2Z ##[group]Runner Image",
        "build\tSet up job\t2026-06-18T04:45:19.3Z \ta line with a tab",
        "build\tRun tests\t2026-06-18T04:46:02.1Z ok",
        "build\tRun tests\t2026-06-18T04:46:02.2Z ok",
        "build\tRun tests\t",
        "done",
    ]
)


def test_columns_are_said_once() -> None:
    folded = columns.fold(LOG)
    assert folded.split("\n") == [
        "build\tSet up job",
        "\t2026-06-18T04:45:19.1Z Current runner version",
        "\t2026-06-18T04:45:19.2Z ##[group]Runner Image",
        "\t2026-06-18T04:45:19.3Z \ta line with a tab",
        "build\tRun tests",
        "\t2026-06-18T04:46:02.1Z ok",
        "\t2026-06-18T04:46:02.2Z ok",
        "\t",
        "done",
    ]
    assert columns.unfold(folded) == LOG


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one line",
        "a\tb\tc\na\tb\td",  # too few to pay
        "\tindented already\n" + LOG,
        "build\n\n" + "\n".join(f"line {at}" for at in range(9)),
    ],
)
def test_what_gains_nothing_or_is_not_certain_stays(text: str) -> None:
    assert columns.fold(text) == text


@given(st.lists(st.text("ab\t c", max_size=8), max_size=20).map("\n".join))
def test_it_comes_back(text: str) -> None:
    folded = columns.fold(text)
    assert folded == text or (len(folded) < len(text) and columns.unfold(folded) == text)
