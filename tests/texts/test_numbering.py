"""Line numbers are found in every style, thinned out and put back to the letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.texts import numbering

STYLES = ["→", "\t", ": ", ":", "| "]
BODIES = st.text("ab →\t1:|\r", max_size=9)
WORDS = st.text("ab.{}\r", min_size=1, max_size=9)  # nothing that may be taken for a number
ODD = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", " ", "     "]),
    st.integers(0, 35) | st.sampled_from(["", "07", "00012", "9" * 12]),
    st.sampled_from([*STYLES, "", "|", " "]),
    BODIES,
)


def view(lines: list[str], separator: str, first: int = 1) -> str:
    """These lines with the numbers that a tool prints before them."""
    return "\n".join(
        f"{numbering.label(at, separator)}{separator}{line}" for at, line in enumerate(lines, first)
    )


def padded(lines: list[str], first: int = 1, separator: str = "→") -> str:
    return "\n".join(f"{at:>6}{separator}{line}" for at, line in enumerate(lines, first))


@pytest.mark.parametrize("separator", STYLES)
@given(st.lists(WORDS, min_size=3, max_size=30), st.integers(1, 10**7))
def test_numbers_of_every_style_are_read(separator: str, lines: list[str], first: int) -> None:
    found = numbering.read(view(lines, separator, first))
    assert found.bodies == lines
    assert found.numbers == list(range(first, first + len(lines)))
    assert found.separators == [separator]


def test_what_each_client_prints_is_read() -> None:
    opencode = "<path>/a/b.ts</path>\n<type>file</type>\n<content>1: {\n2: \n3:   a\n4: }\n\n(End)"
    found = numbering.read(opencode)
    assert found.numbers == [0, 0, 0, 2, 3, 4, 0, 0]
    assert found.bodies[3:6] == ["", "  a", "}"]
    editor = "[File: /x (9 lines total)]\r\n1:def f():\r\n2:    pass\r\n3:\r\n(6 more lines below)"
    found = numbering.read(editor)
    assert found.numbers == [0, 1, 2, 3, 0]
    assert found.bodies[1:4] == ["def f():\r", "    pass\r", "\r"]
    older = numbering.read("<file>\n00009| a\n00010| b\n00011| c\n</file>")
    assert (older.numbers, older.bodies[1]) == ([0, 9, 10, 11, 0], "a")


@pytest.mark.parametrize(
    "text",
    [
        "     3→a\n     5→b\n     7→c\n    10\tx",
        "1→a\n2\tb\n3: c\n4| d",
        "1→a\n02→b\n3→c",
        "1| a\n2| b\n3| c",
        "  1: a\n  2: b\n  3: c",
        "8→a\nb\n\nd\n12→e",  # the third has the number 10, which would be shown
        "1→a\nb\nc\n3→d",
        "12:30:01 a\n12:30:02 b\n12:30:03 c",
    ],
)
def test_anything_else_is_text(text: str) -> None:
    assert not numbering.read(text).numbered
    assert numbering.strip_padding(text) == numbering.sparse(text) == text


def test_every_tenth_number_stays() -> None:
    lines = [f"line {at}" for at in range(7, 24)]
    assert numbering.sparse("head\n" + view(lines, "→", 7) + "\nend").split("\n") == [
        "head",
        "7→line 7",
        *lines[1:3],
        "10→line 10",
        *lines[4:13],
        "20→line 20",
        *lines[14:16],
        "23→line 23",
        "end",
    ]
    assert numbering.sparse(view(lines[:4], "| ", 5)).split("\n")[:3] == [
        "00005| line 7",
        "line 8",
        "line 9",
    ]


@pytest.mark.parametrize("separator", STYLES)
@given(st.lists(WORDS, min_size=3, max_size=60), st.integers(1, 10**6))
def test_a_view_with_few_numbers_has_all_of_them(
    separator: str, lines: list[str], first: int
) -> None:
    text = view(lines, separator, first)
    short = numbering.sparse(text)
    assert len(short) < len(text) or len(lines) == 3
    assert numbering.dense(short) == text
    many, few = numbering.read(text), numbering.read(short)
    assert (few.bodies, few.numbers, few.starts) == (many.bodies, many.numbers, many.starts)


def test_an_indentation_that_is_not_certain_stays_behind_its_number() -> None:
    inner = ["  if a:", "    b"] * 20
    for separator in (":", ": "):  # of which the second is found in both
        assert numbering.sparse(view(inner, separator)) == view(inner, separator)
        shown = numbering.sparse(view(["def f():", *inner, "", *inner], separator)).split("\n")
        assert shown[1:9] == inner[:8]


@given(
    st.lists(WORDS, min_size=3, max_size=60),
    st.integers(1, 99),
    st.sampled_from(STYLES),
    st.sets(st.integers(0, 59)),
)
def test_more_numbers_than_every_tenth_are_read_alike(
    lines: list[str], first: int, separator: str, shown: set[int]
) -> None:
    """Some lines show their number because a pointer stood for them."""
    text = view(lines, separator, first)
    some = numbering.sparse(text).split("\n")
    for at in shown & set(range(len(lines))):
        some[at] = text.split("\n")[at]
    assert numbering.read("\n".join(some)).bodies == lines
    assert numbering.dense("\n".join(some)) == text


@given(st.lists(ODD, max_size=40).map("\n".join))
def test_whatever_looks_like_numbers_comes_back(text: str) -> None:
    short = numbering.sparse(text)
    assert short == text or (len(short) < len(text) and numbering.dense(short) == text)
    bare = numbering.strip_padding(text)
    assert bare == text or (len(bare) < len(text) and numbering.add_padding(bare) == text)


@given(st.lists(BODIES, min_size=3, max_size=40), st.integers(1, 10**6), st.sampled_from("→\t"))
def test_a_padded_view_loses_padding_then_numbers(
    lines: list[str], first: int, separator: str
) -> None:
    text = padded(lines, first, separator)
    bare = numbering.strip_padding(text)
    short = numbering.sparse(bare)
    assert numbering.add_padding(numbering.dense(short)) == text


@given(st.lists(ODD, max_size=40).map("\n".join))
def test_an_index_sees_through_all_that_is_read(text: str) -> None:
    found = numbering.read(text)
    assert numbering.loose(text) == [numbering.loose(body)[0] for body in found.bodies]


@given(st.lists(st.text("ab→\t 0123456789", max_size=12), max_size=12).map("\n".join))
def test_padding_comes_back(text: str) -> None:
    short = numbering.strip_padding(text)
    assert short == text or (len(short) < len(text) and numbering.add_padding(short) == text)


@given(st.integers(1, 99_000), st.lists(st.text("ab →\t1", max_size=9), min_size=3, max_size=30))
def test_a_readings_padding_goes_and_comes_back(first: int, lines: list[str]) -> None:
    text = padded(lines, first)
    short = numbering.strip_padding(text)
    assert numbering.add_padding(short) == text
    assert short == stripped(lines, first)
    assert numbering.read(short).bodies == lines


def stripped(lines: list[str], first: int = 1) -> str:
    """A view as it stands after `strip_padding`: only the first number tells of the arrows."""
    return view(lines[:1], "→", first) + "\n" + view(lines[1:], "\t", first + 1)


def test_only_what_tools_right_align_is_padded() -> None:
    found = "12:foo\n13:bar\n14:baz\n" + view(["a", "b", "c"], ": ")
    text = padded(["a", "b", "c"]) + "\n" + found
    short = numbering.strip_padding(text)
    assert short == stripped(["a", "b", "c"]) + "\n" + found
    assert numbering.add_padding(short) == text


def test_arrows_and_tabs_are_one_segment() -> None:
    """So they come back from a fold: numbers of a pointer's lines have arrows."""
    lines = ["a", "b", "c", "d", "e", "f"]
    shown = stripped(lines).split("\n")
    shown[3:5] = view(lines[3:5], "→", 4).split("\n")
    found = numbering.read("\n".join(shown))
    assert (found.bodies, found.separators) == (lines, ["→"])
    assert numbering.add_padding("\n".join(shown)) == padded(lines)


def test_aligned_tabs_stay_tabs() -> None:
    text = padded(["a", "b", "c"], 7, "\t")
    assert numbering.strip_padding(text) == view(["a", "b", "c"], "\t", 7)
    assert numbering.add_padding(view(["a", "b", "c"], "\t", 7)) == text
