"""Bodies are compared byte for byte, and only strings that are values may differ."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.lab.torture.bodies import Differs, Edit, edits, member

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def spelled(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def changed(value: Any, path: tuple[str | int, ...] = ()) -> tuple[Any, list[Edit]]:
    """The value with an "x" at each of its strings, and these edits in their order."""
    if isinstance(value, str):
        return value + "x", [Edit(path, value, value + "x")]
    found: list[Edit] = []
    if isinstance(value, list):
        new: Any = [changed(inner, (*path, at)) for at, inner in enumerate(value)]
        for _, more in new:
            found += more
        return [inner for inner, _ in new], found
    if isinstance(value, dict):
        # A name as it is spelled: what an edit is reported by needs no more.
        new = {k: changed(v, (*path, spelled(k).decode()[1:-1])) for k, v in value.items()}
        for _, more in new.values():
            found += more
        return {key: inner for key, (inner, _) in new.items()}, found
    return value, []


@given(VALUES)
def test_each_changed_string_is_found_where_it_stands(value: Any) -> None:
    new, expected = changed(value)
    assert edits(spelled(value), spelled(new)) == expected
    assert edits(spelled(value), spelled(value)) == []


@pytest.mark.parametrize(
    "forwarded",
    [
        b'{"a": "x","b":[1, "y"]}',  # a space
        b'{"a":"x","b":[2, "y"]}',  # a number
        b'{"a":"x","b":[1, "y", "z"]}',
        b'{"c":"x","b":[1, "y"]}',  # a name
        b'{"a":"x"}',
        b'{"a":"x","b":[1, "y"]',
    ],
)
def test_whatever_else_differs_is_refused(forwarded: bytes) -> None:
    with pytest.raises(Differs):
        edits(b'{"a":"x","b":[1, "y"]}', forwarded)


def test_a_string_in_another_spelling_is_an_edit() -> None:
    assert edits(b'["\\u0041"]', b'["A"]') == [Edit((0,), "A", "A")]


def test_depth_and_repeated_names_are_no_matter() -> None:
    deep = b"[" * 50_000 + b'"x"' + b"]" * 50_000
    [edit] = edits(deep, deep.replace(b"x", b"y"))
    assert len(edit.path) == 50_000
    twice = b'{"a":"1","a":"2"}'
    assert edits(twice, twice.replace(b"2", b"3")) == [Edit(("a",), "2", "3")]


@given(st.dictionaries(st.text("abc", min_size=1), VALUES, max_size=5), st.text("abc", min_size=1))
def test_a_member_is_found_as_it_is_spelled(value: dict[str, Any], name: str) -> None:
    found = member(spelled(value), name.encode())
    assert found == (spelled(value[name]) if name in value else None)


def test_of_two_members_with_one_name_the_last_counts() -> None:
    assert member(b'{"a": 1, "b": {"a": 2}, "a": [3] }', b"a") == b"[3]"


def test_what_is_not_utf8_may_go_out_as_every_reader_takes_it() -> None:
    before = b'{"a":"caf\xe9","b":"x\xed\xa0\xbd","c":"y"}'
    assert (
        edits(before, '{"a":"caf\N{REPLACEMENT CHARACTER}","b":"x\\ud83d","c":"y"}'.encode()) == []
    )
    [edit] = edits(before, b'{"a":"cafe","b":"x\xed\xa0\xbd","c":"y"}')
    assert edit.path == ("a",)
