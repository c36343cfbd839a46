"""The grammar of pointers, their proof, and the way back to the original."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.texts.test_numbering import STYLES, WORDS, view
from tsheadroom.texts import numbering, pointers, repeats
from tsheadroom.texts.pointers import Pointer, parse, render

NAMES = st.from_regex(r"(your )?[A-Z][a-z]{1,8}( #[1-9])? [a-z./ \"]{1,20}", fullmatch=True)
POSITIVE = st.integers(1, 10**6)


@given(POSITIVE, st.none() | POSITIVE, st.none() | POSITIVE, NAMES, st.sampled_from(STYLES))
def test_what_is_rendered_is_read_back(
    count: int, here: int | None, there: int | None, name: str, separator: str
) -> None:
    pointer = Pointer(count, here, there, name, separator if here else "→")
    line = render(pointer)
    assert parse(line) == pointer
    assert pointers.imitated(f"some text\n{line}\n")


def test_the_whole_output_has_a_form_of_its_own() -> None:
    pointer = Pointer(None, None, None, 'Bash "npm test"')
    assert parse(render(pointer)) == pointer
    assert pointers.imitated(render(pointer))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        f"[lines 1-{'9' * 5000} unchanged: see Read a above]",
        "[lines 5-4 unchanged: see Read a above]",
        "[3 lines unchanged: see lines 1-4 of Read a above]",
        "[same output as lines 1-4 of Read a above]",
        "[03 lines unchanged: see lines 1-3 of Read a above]",
        " [3 lines unchanged: see lines 1-3 of Read a above]",
        "[3 lines unchanged: see lines 1-3 of Read a above] ",
        "[3 lines unchanged: see lines 1-3 of Read a]",
    ],
)
def test_anything_else_is_no_pointer(line: str) -> None:
    assert parse(line) is None


SOURCE = [f"line {at}" for at in range(30)]
ORIGINAL = "\n".join(f"{at:>6}→{line}" for at, line in enumerate(["new", *SOURCE], 1))
NAME = "your Write a.py"
NEW = "1→new\n[lines 2-31 unchanged: see lines 1-30 of your Write a.py above]"


def edit(**changes: Any) -> dict[str, Any]:
    pointer = {"item": 0, "slot": ["input", "content"], "call": "c", "first": 0, "count": 30}
    pointer |= {"of": 1, "name": NAME}
    pointer |= {key: value for key, value in changes.items() if key in pointer}
    text = changes.get("text", NEW)
    return {"slot": [0], "text": text, "pointers": [pointer], "transforms": ["gutter", "fold"]}


def lookup(item: int, slot: list[Any], call: str) -> str | None:
    return "\n".join(SOURCE) if (item, slot, call) == (0, ["input", "content"], "c") else None


def test_a_true_pointer_is_verified() -> None:
    assert pointers.verify(edit(), ORIGINAL, lookup)


@pytest.mark.parametrize(
    "changes",
    [
        {"item": 1},
        {"slot": ["input", "other"]},
        {"call": "d"},
        {"first": 1},
        {"first": -1},
        {"count": 29},
        {"count": 31},
        {"count": 0},
        {"of": 0},
        {"of": -1},
        {"name": "your Write b.py"},
        {"text": "1→new\n[lines 2-31 unchanged: see lines 1-30 of your Write b.py above]"},
        {"text": "1→new"},
        {"text": NEW + "\n[same output as Read a.py above]"},
    ],
)
def test_a_false_one_is_not(changes: dict[str, Any]) -> None:
    assert not pointers.verify(edit(**changes), ORIGINAL, lookup)


def test_a_changed_target_ends_it() -> None:
    def changed(item: int, slot: list[Any], call: str) -> str | None:
        text = lookup(item, slot, call)
        return text and text.replace("line 7", "line seven")

    assert not pointers.verify(edit(), ORIGINAL, changed)


def test_a_pointer_among_the_targets_lines_ends_it() -> None:
    pointer = "[3 lines unchanged: see lines 1-3 of Read z above]"
    lines = [*SOURCE[:10], pointer, *SOURCE[10:29]]
    original = "\n".join(f"{at:>6}→{line}" for at, line in enumerate(["new", *lines], 1))
    assert not pointers.verify(edit(), original, lambda *_: "\n".join(lines))


def items(*texts: str) -> list[dict[str, Any]]:
    """Reads of a.py, b.py ... with these outputs, as forwarded."""
    made: list[dict[str, Any]] = []
    for at, text in enumerate(texts):
        use = {"kind": "tool_use", "call": f"c{at}", "name": "Read"}
        result = {"kind": "tool_result", "slot": [0], "call": f"c{at}", "text": text}
        made += [
            {"parts": [use | {"input": {"file_path": f"/{'abcdef'[at]}.py"}}]},
            {"parts": [result]},
        ]
    return made


def test_a_pointer_alone_finds_its_target() -> None:
    text = "\n".join(f"{at}→{line}" for at, line in enumerate(SOURCE, 1))
    sent = items(text, "1→x\n[lines 2-21 unchanged: see lines 5-24 of Read a.py above]")
    want = ["1→x", *(f"{at}→{line}" for at, line in enumerate(SOURCE[4:24], 2))]
    assert pointers.expand(sent, 3, "c1") == "\n".join(want)


@pytest.mark.parametrize(
    ("separator", "line"),
    [
        ("→", "[lines 12-31 unchanged: see lines 2-21 of Read a.py above]"),
        ("\t", "[lines 12 to 31 unchanged: see lines 2-21 of Read a.py above]"),
        (": ", "[lines 12..31 unchanged: see lines 2-21 of Read a.py above]"),
        (":", "[lines 12:31 unchanged: see lines 2-21 of Read a.py above]"),
        ("| ", "[lines 12|31 unchanged: see lines 2-21 of Read a.py above]"),
    ],
)
def test_the_spelling_says_what_follows_a_number(separator: str, line: str) -> None:
    sent = items(view(SOURCE, separator), line)
    assert pointers.imitated(line)
    assert pointers.expand(sent, 3, "c1") == view(SOURCE[1:21], separator, 12)


@given(
    st.lists(WORDS, min_size=3, max_size=40),
    st.sampled_from(STYLES),
    st.integers(1, 10**6),
    st.lists(st.integers(1, 12), max_size=12),
    st.booleans(),
)
def test_folded_lines_come_back_among_others(
    lines: list[str], separator: str, first: int, sizes: list[int], sparse: bool
) -> None:
    """Every second piece of a view is a pointer, to a text with other numbers."""
    original = view(lines, separator, first)
    here = numbering.read(numbering.sparse(original) if sparse else original)
    ends = [end for end in accumulate(sizes) if end < len(lines)] + [len(lines)]
    out: list[str] = []
    for at, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        pointer = Pointer(end - start, first + start, 500 + start, "Read a.py", separator)
        out += [render(pointer)] if at % 2 else here.framed(start, end)
    sent = items(view(lines, ": ", 500), "\n".join(out))
    assert pointers.expand(sent, 3, "c1", ["sparse", "fold"] if sparse else ["fold"]) == original


@pytest.mark.parametrize(
    "line",
    [
        "[lines 2-21 unchanged: see lines 5-24 of Read z.py above]",
        "[lines 2-21 unchanged: see lines 500-519 of Read a.py above]",
        "[lines 2-21 unchanged: see lines 5-24 of Read #3 a.py above]",
        "[same output as Read b.py above]",
    ],
)
def test_one_that_leads_nowhere_says_so(line: str) -> None:
    sent = items("\n".join(SOURCE), line)
    assert pointers.expand(sent, 3, "c1") is None


def test_a_pointer_leads_to_the_output_of_the_call_that_it_names() -> None:
    """Not to another one with that id: before the call, or of a call that had the id first."""
    text = "\n".join(SOURCE)
    first, orphan = items("the other text", "orphan")[:2], items("orphan")[1:]
    sent = [*orphan, *items(text), *items("", "[same output as Read a.py above]")[2:]]
    assert pointers.expand(sent, 4, "c1") == text
    sent = [*first, *items(text), *items("", "[same output as Read #1 a.py above]")[2:]]
    assert pointers.expand(sent, 5, "c1") == "the other text"


def test_of_two_calls_with_one_id_the_one_that_wrote_is_meant() -> None:
    def write(path: str, text: str) -> dict[str, Any]:
        inputs = {"file_path": path, "content": text}
        return {"kind": "tool_use", "call": "w", "name": "Write", "input": inputs}

    text = "\n".join(SOURCE)
    line = "[30 lines unchanged: see lines 1-30 of your Write y.py above]"
    uses = [{"parts": [write("/x.py", "other")]}, {"parts": [write("/y.py", text)]}]
    assert pointers.expand([*uses, *items(line)], 3, "c0") == text


def test_json_in_a_wrapper_is_compared_without_its_layout() -> None:
    """What is left is one line in a string, which is no payload of its own any more."""
    laid_out = json.dumps({"rows": [{"id": at} for at in range(20)]}, indent=2)
    minified = json.dumps(json.loads(laid_out), separators=(",", ":"))
    pointer = {"item": 0, "slot": [0], "call": "c", "first": 0, "count": 1, "of": 0, "name": NAME}
    said = {
        "text": json.dumps({"output": f"[same output as {NAME} above]"}),
        "pointers": [pointer],
        "transforms": ["json", "fold"],
    }
    original = json.dumps({"output": laid_out})
    assert pointers.verify(said, original, lambda *_: minified)
    assert not pointers.verify(said, original, lambda *_: minified + " ")


WARNING = "warning: a quick brown fox jumps over the lazy dog"
AGAIN = '[3 lines again, from "warning: a quick brown fox jumps over th"]'


def log(when: str, *more: str) -> list[str]:
    """Lines of which the first three come again. What they say at their ends is not quoted."""
    block = [f"{WARNING} {when}", f"  {WARNING}, {WARNING}", "ok"]
    return [*block, *SOURCE, *block, *SOURCE[8::-1], *more]


def test_a_line_that_stands_for_others_means_those_of_its_own_text() -> None:
    there = repeats.fold("\n".join(log("by night")))
    assert there.split("\n")[33] == AGAIN
    sent = items(there, "new\n[41 lines unchanged: see lines 3-43 of Read a.py above]")
    assert pointers.expand(sent, 3, "c1") == "\n".join(["new", *log("by night")[2:]])


@pytest.mark.parametrize(("when", "same"), [("by night", True), ("by day", False)])
def test_equal_lines_that_stand_for_others_are_compared_by_these(when: str, same: bool) -> None:
    there = repeats.fold("\n".join(log("by night")))
    pointer = {"item": 0, "slot": [0], "call": "c", "first": 2, "count": 41, "of": 2, "name": "a"}
    said = {
        "text": "\n".join(
            [*log(when)[:2], "[41 lines unchanged: see lines 3-43 of a above]", "new"]
        ),
        "pointers": [pointer],
        "transforms": ["repeat", "fold"],
    }
    assert pointers.verify(said, "\n".join(log(when, "new")), lambda *_: there) is same


def test_what_only_begins_like_a_pointer_is_no_trap() -> None:
    assert not pointers.imitated("[same output as " * 100_000)
    assert not pointers.imitated("[same output as above]\n[same output as\n above]")
    assert pointers.imitated("[same output as " * 100_000 + "x above]")
